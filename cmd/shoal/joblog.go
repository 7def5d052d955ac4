package main

import (
	"bufio"
	"bytes"
	"context"
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
)

// jobLog records how each task ended, so that a run which was cut off can be resumed. It is a file of lines, each a JSON
// object with these members:
//
//	task        string  what was sent: the host and the command, escaped as netio.TaskKey does
//	n           number  which task of this name it was in the commands file, from 1
//	subroutine  string  which subroutine got it
//	status      string  how it ended, as in the output
//
// A task that is not valid UTF-8 stands in task_base64 instead. Of several lines for the same task, n and subroutine the
// last holds. A task is thus known by what it is, not by where it stands: lines of the commands file may be moved, added
// and taken away between two runs.
//
// A line is on the disk (fsync) before the run waits for more results, and after its result was written to standard output;
// a task whose result could not be written has none.
// A last line that was cut off is taken away when the run is resumed.
type jobLog struct {
	name       string
	subroutine string
	file       *os.File
	regular    bool
	seen       map[jobTask]int // how many tasks of that name there were
	done       map[jobKey]bool // those that are not to be run; whether they ended with ok
	buf        []byte
	err        error
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

// runsAgain says which statuses a resumed run does not take for an end: with --resume those of tasks that did not run, or
// were cancelled; with --resume-failed all but ok.
func runsAgain(status string, failed bool) bool {
	switch status {
	case netio.StatusBusy.String(), netio.StatusDraining.String(), netio.StatusCanceled.String(),
		netio.StatusUnknownSubroutine.String(), netio.StatusNotAllowed.String():
		return true
	case statusOK:
		return false
	}
	return failed
}

// openJobLog opens or creates the log. One that has something in it is only used again when resume asks for it.
func openJobLog(name, subroutine string, resume, failed bool) (*jobLog, error) {
	l := &jobLog{name: name, subroutine: subroutine, seen: map[jobTask]int{}, done: map[jobKey]bool{}}
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
	if err == nil {
		err = syncFolder(l.name)
	}
	if _, exit := errors.AsType[*netio.FileError](err); err != nil && !exit {
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
		switch {
		case ok && runsAgain(status, failed):
			delete(l.done, key)
		case ok:
			l.done[key] = status == statusOK
		case err == io.EOF && (good > 0 || beginsLog(line)):
			return good, nil
		default:
			return 0, &netio.FileError{Name: l.name, Problems: []netio.LineProblem{{Line: number,
				Reason: "is no line of a job log: is this the right file?"}}}
		}
		good += int64(len(line))
	}
}

// beginsLog reports whether all of a file may be what is left of a log's first line.
func beginsLog(line []byte) bool {
	const begin = `{"task`
	n := min(len(line), len(begin))
	return string(line[:n]) == begin[:n]
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

// next counts a task that is about to be sent, and says whether it is done already, and whether with ok.
func (l *jobLog) next(task []byte) (n int, done, ok bool) {
	t := taskOf(l.subroutine, task)
	l.seen[t]++
	n = l.seen[t]
	ok, done = l.done[jobKey{t, n}]
	return n, done, ok
}

// add records how a task ended; it is not on the disk before flush.
func (l *jobLog) add(task []byte, n int, status string) {
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
	l.buf = appendJSONString(append(l.buf, `,"status":`...), status)
	l.buf = append(l.buf, '}', '\n')
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

// loggedTasks leaves those tasks out that are done, and knows the others by their number in this run.
type loggedTasks struct {
	*commandsFile
	log     *jobLog
	jobs    jobs
	skipped int // set when the tasks have been given out
	notOK   int // of those skipped
}

// tasks yields what is still to be done.
func (t *loggedTasks) tasks(ctx context.Context, yield func(key []byte) bool) {
	given, sent := 0, 0
	t.commandsFile.tasks(ctx, func(key []byte) bool {
		n, done, ok := t.log.next(key)
		given++
		if done {
			t.commandsFile.text(given - 1)
			t.skipped++
			if !ok {
				t.notOK++
			}
			return true
		}
		t.jobs.put(sent, job{given - 1, key, n})
		sent++
		return yield(key)
	})
}

// text returns what the output names a task by, and forgets nothing that done needs.
func (t *loggedTasks) text(index int) string { return t.commandsFile.text(t.jobs.get(index).line) }

// done records the end of a task.
func (t *loggedTasks) done(index int, status string) {
	j := t.jobs.take(index)
	t.log.add(j.key, j.n, status)
}
