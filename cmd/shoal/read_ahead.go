package main

import (
	"bytes"
	"context"
	"io"
	"sync"
	"time"
)

// readAhead reads an input that cannot be read twice, such as a pipe, a bounded way ahead of who takes its bytes. So what is
// there already can be checked before any of it is used, and a Read ends with its context although a person at a terminal, or
// the other end of the pipe, may never write. Its goroutine ends at the end of the input, or with the process: nothing ends a
// read of a pipe that waits.
type readAhead struct {
	ctx context.Context

	mu    sync.Mutex // guards what follows
	bytes []byte     // read
	taken int        // of those
	err   error      // why no more come
	room  chan struct{}
	come  chan struct{}
}

// mostAhead bounds the bytes that are read ahead.
const mostAhead = 1 << 20

func newReadAhead(ctx context.Context, in io.Reader) *readAhead {
	a := &readAhead{ctx: ctx, room: make(chan struct{}, 1), come: make(chan struct{}, 1)}
	go a.read(in)
	return a
}

func (a *readAhead) read(in io.Reader) {
	buf := make([]byte, 64<<10)
	for {
		n, err := in.Read(buf)
		a.mu.Lock()
		if a.taken > 0 {
			a.bytes, a.taken = append(a.bytes[:0], a.bytes[a.taken:]...), 0
		}
		a.bytes = append(a.bytes, buf[:n]...)
		a.err = err
		full := len(a.bytes) >= mostAhead
		a.mu.Unlock()
		signalOne(a.come)
		if err != nil {
			return
		}
		for full {
			select {
			case <-a.room:
			case <-a.ctx.Done():
				return
			}
			a.mu.Lock()
			full = len(a.bytes)-a.taken >= mostAhead
			a.mu.Unlock()
		}
	}
}

// Read waits for bytes, the end of the input, or that of the context.
func (a *readAhead) Read(p []byte) (int, error) {
	for {
		if err := a.ctx.Err(); err != nil {
			return 0, err
		}
		a.mu.Lock()
		n := copy(p, a.bytes[a.taken:])
		a.taken += n
		err := a.err
		a.mu.Unlock()
		if n > 0 {
			signalOne(a.room)
			return n, nil
		}
		if err != nil {
			return 0, err
		}
		select {
		case <-a.come:
		case <-a.ctx.Done():
		}
	}
}

// peek returns a copy of the whole lines that have come within a moment, and whether that is all there will be. A moment is
// enough for a program that only prints what it has, and not long for a person.
func (a *readAhead) peek(moment time.Duration, lineEnd byte) (lines []byte, all bool) {
	timer := time.NewTimer(moment)
	defer timer.Stop()
	for waiting := true; waiting; {
		a.mu.Lock()
		waiting = a.err == nil && len(a.bytes) < mostAhead
		a.mu.Unlock()
		if !waiting {
			break
		}
		select {
		case <-a.come:
		case <-timer.C:
			waiting = false
		case <-a.ctx.Done():
			waiting = false
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	signalOne(a.come) // a Read that follows must see what we have seen
	if a.err == io.EOF {
		return bytes.Clone(a.bytes), true
	}
	return bytes.Clone(a.bytes[:bytes.LastIndexByte(a.bytes, lineEnd)+1]), false
}

// signalOne leaves a signal in a channel of one slot.
func signalOne(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
