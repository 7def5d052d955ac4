package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"unicode/utf8"

	"shoal/netio"
	"shoal/netio/lines"
)

// jobLog records how each task ended, so that a run which was cut off can be resumed. It is a file of lines, each a JSON
// object with these members:
//
//	task        string  what was sent: the host and the command, escaped as table.Key does
//	n           number  which task of this name it was in the commands file, from 1
//	subroutine  string  which subroutine got it
//	status      string  how it ended, as in the output; unwritten: it ended, but its result could not be printed
//	host        string  of the task, where it has one
//	command     string  likewise
//	attempt     number  how often it was sent
//	start       string  when it was sent last, RFC 3339 in UTC; "" if it was not
//	end         string  when its answer came
//
// The first line is an object with the member job alone: 32 hexadecimal digits that name the job, and with it its tasks at their
// gateway. A run that is resumed while the gateway remembers these gets the answers of tasks that the run before has sent;
// they do not run again.
//
// A task that is not valid UTF-8 stands in task_base64 instead. Of several lines for the same task, n and subroutine the
// last holds. A task is thus known by what it is, not by where it stands: lines of the commands file may be moved, added
// and taken away between two runs.
//
// A line is on the disk (fsync) before the run waits for more results. It comes after its result was written to standard
// output; only with --keep-order it may come before, since a result waits there for those of earlier tasks: where it cannot be
// written after all, a line unwritten follows.
// A last line that was cut off is taken away when the run is resumed.
type jobLog struct {
	name       string
	subroutine string
	file       *os.File
	regular    bool
	job        []byte            // what names it; nil: nothing, since it is not a regular file
	again      map[jobKey]uint32 // how often tasks have ended that are to run again
	seen       map[jobTask]int   // how many tasks of that name there were
	done       map[jobKey]uint8  // those that are not to be run; the place of their status in statusOrder
	expected   int               // how many of the input's tasks are among those
	resumed    bool              // there was something in it
	buf        []byte
	err        error
}

// jobLogFlags are those of the commands that can be resumed.
type jobLogFlags struct {
	JobLog       *string `help:"Record in this file how each task ended, on the disk as it happens." placeholder:"FILE"`
	Resume       bool    `help:"With --job-log: skip what the file says is done."`
	ResumeFailed bool    `help:"As --resume, but run those again that did not end with ok."`
}

// jobLogHelp is what --help says of it.
const jobLogHelp = `A job log is a JSON object a line: task, n (which of several equal tasks), subroutine, status, host, command, attempt, start,
end. --resume skips what is in it, but for tasks that were refused or cancelled; the input may have been edited.
The exit status is that of the whole job: a resumed run whose log has failures is not 0.`

func (f *jobLogFlags) check() error {
	switch {
	case f.JobLog == nil && (f.Resume || f.ResumeFailed):
		return usage("--resume and --resume-failed go with --job-log FILE")
	case f.JobLog != nil && (*f.JobLog == "" || *f.JobLog == "-"):
		return usage("--job-log %q: give the name of a file", *f.JobLog)
	}
	return nil
}

// open opens the job log of a subroutine; nil if none was asked for.
func (f *jobLogFlags) open(p *process, subroutine string) (*jobLog, error) {
	if f.JobLog == nil {
		return nil, nil
	}
	if p.stdout.is(*f.JobLog) {
		return nil, usage("--job-log %s: that is where standard output goes; give another file", *f.JobLog)
	}
	return openJobLog(*f.JobLog, subroutine, f.Resume || f.ResumeFailed, f.ResumeFailed)
}

// jobTask stands for a subroutine and a task, in little memory.
type jobTask [16]byte

type jobKey struct {
	task jobTask
	n    int
}

// jobLogError is why a job log cannot be used, or written any more.
type jobLogError struct {
	name string
	err  error
}

func (e *jobLogError) Error() string {
	return fmt.Sprintf("job log %s: %s; what is not in it runs again with --resume", e.name, rootCause(e.err))
}

func (e *jobLogError) Unwrap() error { return e.err }

// statusUnwritten stands in a job log alone.
const statusUnwritten = "unwritten"

// runsAgain says which statuses a resumed run does not take for an end: with --resume those of tasks that did not run, or
// were cancelled; with --resume-failed all but ok.
func runsAgain(status string, failed bool) bool {
	switch status {
	case netio.StatusBusy.String(), netio.StatusDraining.String(), netio.StatusCanceled.String(),
		netio.StatusUnknownSubroutine.String(), netio.StatusNotAllowed.String(), statusUnreachable, statusUnwritten:
		return true
	case statusOK:
		return false
	}
	return failed
}

// openJobLog opens or creates the log. One that has something in it is only used again when resume asks for it.
func openJobLog(name, subroutine string, resume, failed bool) (*jobLog, error) {
	l := &jobLog{name: name, subroutine: subroutine, seen: map[jobTask]int{}, done: map[jobKey]uint8{}, again: map[jobKey]uint32{}}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, usage("--job-log %s: %s", name, rootCause(err))
	}
	l.file = f
	if err := l.load(resume, failed); err != nil {
		_ = f.Close()
		return nil, err
	}
	return l, nil
}

func (l *jobLog) load(resume, failed bool) error {
	info, err := l.file.Stat()
	if err != nil {
		return &jobLogError{l.name, err}
	}
	if l.regular = info.Mode().IsRegular(); !l.regular {
		return nil
	}
	if err := syscall.Flock(int(l.file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		return usage("--job-log %s: another run is writing it (%v)", l.name, err)
	}
	if info.Size() > 0 && !resume {
		return usage("--job-log %s: there is a log already: go on with --resume, or remove it", l.name)
	}
	good, err := l.read(failed)
	if err == nil {
		err = l.file.Truncate(good)
	}
	if err == nil {
		_, err = l.file.Seek(good, io.SeekStart)
	}
	if err == nil && l.job == nil {
		l.job = make([]byte, 16)
		_, _ = rand.Read(l.job) // never fails; it ends the process instead
		_, err = fmt.Fprintf(l.file, jobLine, l.job)
	}
	if err == nil {
		err = syncFolder(l.name)
	}
	if _, exit := errors.AsType[*lines.FileError](err); err != nil && !exit {
		return &jobLogError{l.name, err}
	}
	return err
}

// syncFolder makes the file's name durable.
func syncFolder(name string) error {
	folder, err := os.Open(filepath.Dir(name))
	if err != nil {
		return err
	}
	return errors.Join(folder.Sync(), folder.Close())
}

// read takes in what was done, and returns where the last whole line ends. What follows it was cut off, if it can be.
func (l *jobLog) read(failed bool) (good int64, err error) {
	in := bufio.NewReaderSize(l.file, 64<<10)
	for number := 1; ; number++ {
		line, err := in.ReadBytes('\n')
		if len(line) == 0 && err == io.EOF {
			return good, nil
		}
		if err != nil && err != io.EOF {
			return 0, err
		}
		key, status, ok := l.parse(line)
		l.resumed = l.resumed || ok
		switch {
		case ok && runsAgain(status, failed):
			delete(l.done, key)
			if status != statusUnwritten { // else its gateway may still have the answer
				l.again[key]++
			}
		case ok:
			l.done[key] = uint8(statusPlace(status))
		case l.parseJob(line):
		case err == io.EOF && (good > 0 || beginsLog(line)):
			return good, nil
		default:
			return 0, &lines.FileError{Name: l.name, Problems: []lines.Problem{{Line: number,
				Reason: "is no line of a job log: is this the right file?"}}}
		}
		good += int64(len(line))
	}
}

// beginsLog reports whether all of a file may be what is left of a log's first line.
func beginsLog(line []byte) bool {
	for _, begin := range []string{`{"task`, `{"job":"`} {
		if n := min(len(line), len(begin)); string(line[:n]) == begin[:n] {
			return true
		}
	}
	return false
}

// jobLine is the first line of a log.
const jobLine = `{"job":"%x"}` + "\n"

// parseJob reads that line.
func (l *jobLog) parseJob(line []byte) bool {
	var job []byte
	if n, err := fmt.Sscanf(string(line), jobLine, &job); n != 1 || err != nil || len(job) != 16 || line[len(line)-1] != '\n' {
		return false
	}
	l.job = job
	return true
}

// key names a task of the job for its gateway; try counts how often this run has sent it.
func (l *jobLog) key(t task, try int) []byte {
	sent := jobKey{taskOf(l.subroutine, t.key), t.n}
	key := append(append([]byte(nil), l.job...), sent.task[:]...)
	for _, n := range []uint32{uint32(t.n), l.again[sent], uint32(try)} {
		key = append(key, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	return key
}

// parse reads a line; one without its end was cut off.
func (l *jobLog) parse(line []byte) (jobKey, string, bool) {
	var r struct {
		Task       *string `json:"task"`
		TaskBase64 []byte  `json:"task_base64"`
		N          int     `json:"n"`
		Subroutine string  `json:"subroutine"`
		Status     string  `json:"status"`
	}
	if !bytes.HasSuffix(line, []byte("\n")) || json.Unmarshal(line, &r) != nil || r.N < 1 || r.Status == "" {
		return jobKey{}, "", false
	}
	task := r.TaskBase64
	if r.Task != nil {
		task = []byte(*r.Task)
	}
	return jobKey{taskOf(r.Subroutine, task), r.N}, r.Status, true
}

func taskOf(subroutine string, task []byte) jobTask {
	h := sha256.New()
	h.Write([]byte{byte(len(subroutine))})
	io.WriteString(h, subroutine)
	h.Write(task)
	return jobTask(h.Sum(nil)[:16])
}

// expect counts a task that the check of the input has seen.
func (l *jobLog) expect(task []byte) {
	if _, done := l.next(task); done != "" {
		l.expected++
	}
}

// checked forgets what expect counted, for the tasks come again.
func (l *jobLog) checked() { clear(l.seen) }

// next counts a task that is about to be sent, and says how it ended before; empty: it is to be sent.
func (l *jobLog) next(task []byte) (n int, status string) {
	t := taskOf(l.subroutine, task)
	l.seen[t]++
	n = l.seen[t]
	if place, done := l.done[jobKey{t, n}]; done {
		status = statusOrder[place]
	}
	return n, status
}

// add records how a task ended; it is not on the disk before flush.
func (l *jobLog) add(task []byte, n int, r *record) {
	if l.err != nil {
		return
	}
	if utf8.Valid(task) {
		l.buf = appendJSONString(append(l.buf, `{"task":`...), task)
	} else {
		l.buf = append(base64.StdEncoding.AppendEncode(append(l.buf, `{"task_base64":"`...), task), '"')
	}
	l.buf = strconv.AppendInt(append(l.buf, `,"n":`...), int64(n), 10)
	l.buf = appendJSONString(append(l.buf, `,"subroutine":`...), l.subroutine)
	l.buf = appendJSONString(append(l.buf, `,"status":`...), r.Status)
	l.buf = append(appendRunJSON(l.buf, r), '}', '\n')
}

// flush makes durable what was added: one fsync for all of it. After an error nothing more is written.
func (l *jobLog) flush() error {
	if l.err != nil || len(l.buf) == 0 {
		return l.err
	}
	_, err := l.file.Write(l.buf)
	l.buf = l.buf[:0]
	if err == nil && l.regular {
		err = l.file.Sync()
	}
	if err != nil {
		l.err = &jobLogError{l.name, err}
	}
	return l.err
}

// drop forgets what was added and not flushed, since its results were not written.
func (l *jobLog) drop() { l.buf = l.buf[:0] }

func (l *jobLog) close() error {
	err := l.flush()
	if closed := l.file.Close(); err == nil && closed != nil && !errors.Is(closed, fs.ErrClosed) {
		err = &jobLogError{l.name, closed}
	}
	return err
}
