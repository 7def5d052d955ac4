package main

import (
	"errors"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"
)

// output is standard output. Its errors are outputErrors, so that nobody takes a broken connection for a closed pipe. A write
// to a pipe or a terminal that nobody reads ends once giveUp is closed; what it was given is lost then, and so is what follows.
type output struct {
	file   *os.File
	giveUp atomic.Pointer[chan struct{}] // nil: a write may wait for ever
	err    error                         // why nothing can be written at all
	mode   fs.FileMode
	shown  *visibleWriter // in front of a terminal; nil: bytes are written as they are
}

type outputError struct{ err error }

func (e *outputError) Error() string { return "standard output: " + rootCause(e.err) }
func (e *outputError) Unwrap() error { return e.err }

var errNotRead = errors.New("nobody reads it")

// newOutput looks at what standard output is.
func newOutput(f *os.File) *output {
	o := &output{file: f}
	info, err := f.Stat()
	if err != nil {
		o.err = &outputError{err}
		return o
	}
	o.mode = info.Mode()
	if isTerminal(f) {
		o.shown = &visibleWriter{w: writerFunc(o.write)}
	}
	flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFL, 0)
	switch {
	case err != nil:
		o.err = &outputError{err}
	case flags&unix.O_ACCMODE == unix.O_RDONLY, closedAtStart(info, flags):
		o.err = &outputError{syscall.EBADF}
	}
	return o
}

// closedAtStart reports whether the shell has closed standard output: Go's runtime opens the null device in its place, for
// reading and writing, which redirections do not. Where standard input is the same, as with daemons, it was meant to be.
func closedAtStart(info fs.FileInfo, flags int) bool {
	if flags&unix.O_ACCMODE != unix.O_RDWR || !isNull(info) {
		return false
	}
	stdin, err := os.Stdin.Stat()
	if err != nil || !isNull(stdin) {
		return true
	}
	flags, err = unix.FcntlInt(os.Stdin.Fd(), unix.F_GETFL, 0)
	return err != nil || flags&unix.O_ACCMODE != unix.O_RDWR
}

func isNull(info fs.FileInfo) bool {
	null, err := os.Stat(os.DevNull)
	return err == nil && os.SameFile(info, null)
}

// usable says why results would go nowhere, before anything is sent for them.
func (o *output) usable() error { return o.err }

// is reports whether a name stands for the file that standard output goes to.
func (o *output) is(name string) bool {
	named, err := os.Stat(name)
	if err != nil {
		return false
	}
	own, err := o.file.Stat()
	return err == nil && os.SameFile(named, own) && !isNull(own)
}

// continued reports whether standard output is a file that has something in it already.
func (o *output) continued() bool {
	info, err := o.file.Stat()
	return err == nil && info.Mode().IsRegular() && info.Size() > 0
}

// atomicWrite is how many bytes of a write reach standard output in one piece, 0 where that is not for us to see to.
func (o *output) atomicWrite() int {
	if o.mode&fs.ModeNamedPipe != 0 {
		return 4096 // PIPE_BUF on Linux; on others it is less, and one write is kept whole in practice
	}
	return 0
}

// raw lets a terminal have all bytes as they are.
func (o *output) raw() { o.shown = nil }

// Write writes b as it is, but on a terminal what a terminal would obey in it is made visible.
func (o *output) Write(b []byte) (int, error) {
	if o.shown != nil {
		return o.shown.Write(b)
	}
	return o.write(b)
}

// close writes the rest of a rune that was cut off.
func (o *output) close() error {
	if o.shown == nil {
		return nil
	}
	return o.shown.close()
}

type writerFunc func(b []byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

func (o *output) write(b []byte) (int, error) {
	if o.err != nil {
		return 0, o.err
	}
	if o.mode.IsRegular() {
		return o.result(o.file.Write(b))
	}
	giveUp := o.giveUp.Load()
	if giveUp == nil {
		return o.result(o.file.Write(b))
	}
	type written struct {
		n   int
		err error
	}
	done := make(chan written, 1)
	go func() { // ends with the write; one that nobody reads is left behind by a process that is about to end
		n, err := o.file.Write(b)
		done <- written{n, err}
	}()
	select {
	case w := <-done:
		return o.result(w.n, w.err)
	case <-*giveUp:
		o.err = &outputError{errNotRead}
		return 0, o.err
	}
}

func (o *output) result(n int, err error) (int, error) {
	if err != nil {
		err = &outputError{err}
	}
	return n, err
}

// hadEnough reports whether err is that whoever read standard output has gone, as head does.
func hadEnough(err error) bool {
	_, ours := errors.AsType[*outputError](err)
	return ours && errors.Is(err, syscall.EPIPE)
}
