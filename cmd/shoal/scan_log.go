package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"
	"time"

	"shoal/netio/lines"
	"shoal/netio/runner/probe"
)

// scanLog records how far a scan is, so that one that was cut off can be resumed. It is a file of lines, each a JSON object.
// The first describes the scan: targets, ports and seed. Each of the others has the members
//
//	from      number  every probe below this place of the order has its answer on standard output
//	answered  string  base64 (RFC 4648 section 4) of bits for the places from there on: those that have theirs too
//
// and the last one holds. A line is written, and on the disk (fsync), about every second and at the end, after the results
// that it counts were written to standard output. A last line that was cut off is taken away when the scan is resumed.
// A nil scanLog records nothing.
type scanLog struct {
	name    string
	file    *os.File
	written time.Time
	err     error
}

// scanLogHead is the first line.
type scanLogHead struct {
	Targets string `json:"targets"`
	Ports   string `json:"ports"`
	Seed    uint64 `json:"seed"`
}

// scanLogLine is another line.
type scanLogLine struct {
	From     uint64 `json:"from"`
	Answered []byte `json:"answered,omitempty"`
}

const scanLogEvery = time.Second

// openScanLog opens or creates the log of a scan; a nil name is none. Where the scan is resumed, s gets the seed, unless it
// was given, and what has been done.
func openScanLog(name *string, resume, seedGiven bool, s *probe.Scan) (*scanLog, error) {
	if name == nil {
		return nil, nil
	}
	f, err := os.OpenFile(*name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, usage("--job-log %s: %s", *name, rootCause(err))
	}
	l := &scanLog{name: *name, file: f}
	if err := l.load(resume, seedGiven, s); err != nil {
		_ = f.Close()
		return nil, err
	}
	return l, nil
}

func (l *scanLog) load(resume, seedGiven bool, s *probe.Scan) error {
	info, err := l.file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return usage("--job-log %s: the log of a scan has to be a file", l.name)
	}
	if err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return usage("--job-log %s: another run is writing it (%v)", l.name, err)
	}
	if info.Size() > 0 {
		if !resume {
			return usage("--job-log %s: there is a log already: go on with --resume, or remove it", l.name)
		}
		whole, err := l.read(seedGiven, s)
		if err != nil || whole > 0 {
			return err
		}
	}
	// New, or cut off before the first line was whole.
	return errors.Join(l.file.Truncate(0), l.append(scanLogHead{s.Targets, s.Ports, s.Seed}), syncFolder(l.name))
}

// read takes the log in and returns how many bytes of it are whole lines; the file ends there.
func (l *scanLog) read(seedGiven bool, s *probe.Scan) (int, error) {
	data, err := io.ReadAll(l.file)
	if err != nil {
		return 0, &jobLogError{l.name, err}
	}
	whole := bytes.LastIndexByte(data, '\n') + 1
	if whole == 0 && len(data) > 4096 {
		return 0, l.notOurs(1)
	}
	number := 0
	for line := range bytes.Lines(data[:whole]) {
		if number++; number == 1 {
			var head scanLogHead
			if json.Unmarshal(line, &head) != nil || head.Targets == "" {
				return 0, l.notOurs(number)
			}
			if !seedGiven {
				s.Seed = head.Seed
			}
			if head != (scanLogHead{s.Targets, s.Ports, s.Seed}) {
				return 0, usage("--job-log %s: it is of another scan: the targets are %.100s, the ports %.100s, the seed is %d",
					l.name, head.Targets, head.Ports, head.Seed)
			}
			continue
		}
		var at scanLogLine
		if json.Unmarshal(line, &at) != nil {
			return 0, l.notOurs(number)
		}
		s.From, s.Answered = at.From, at.Answered
	}
	if _, err := l.file.Seek(int64(whole), io.SeekStart); err != nil {
		return 0, &jobLogError{l.name, err}
	}
	if err := l.file.Truncate(int64(whole)); err != nil {
		return 0, &jobLogError{l.name, err}
	}
	return whole, nil
}

func (l *scanLog) notOurs(line int) error {
	return &lines.FileError{Name: l.name, Problems: []lines.Problem{{Line: line, Reason: "is no line of a scan's log: is this the right file?"}}}
}

// progress records how far the scan is, if that is due.
func (l *scanLog) progress(r *probe.Remote) error {
	if l == nil || time.Since(l.written) < scanLogEvery {
		return nil
	}
	return l.end(r)
}

// end records how far the scan is.
func (l *scanLog) end(r *probe.Remote) error {
	if l == nil {
		return nil
	}
	rest := r.Rest()
	return l.append(scanLogLine{rest.From, rest.Answered})
}

// append writes a line and has it on the disk. After an error nothing more is written.
func (l *scanLog) append(v any) error {
	if l.err != nil {
		return l.err
	}
	line, err := json.Marshal(v)
	if err == nil {
		_, err = l.file.Write(append(line, '\n'))
	}
	if err == nil {
		err = l.file.Sync()
	}
	l.written = time.Now()
	if err != nil {
		l.err = &jobLogError{l.name, fmt.Errorf("%w", err)}
	}
	return l.err
}

func (l *scanLog) close() {
	if l != nil {
		_ = l.file.Close()
	}
}
