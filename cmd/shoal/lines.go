package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"sync"
)

// texts remembers the lines of the items that are under way, and why there are no more of them. Useful at zero.
type texts struct {
	mu    sync.Mutex // guards what follows: lines are read on one goroutine and answered on another
	lines map[int]string
	err   error
}

func (t *texts) put(index int, line string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lines == nil {
		t.lines = map[int]string{}
	}
	t.lines[index] = line
}

// take returns a line, once.
func (t *texts) take(index int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	line := t.lines[index]
	delete(t.lines, index)
	return line
}

func (t *texts) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = err
}

func (t *texts) failed() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.err
}

// lineSource gives the lines of an input as the items of a map.
type lineSource struct {
	in       io.Reader
	underWay texts
}

// tasks yields the lines without their ends.
func (s *lineSource) tasks(ctx context.Context, yield func([]byte) bool) {
	in := bufio.NewReaderSize(&interruptible{ctx, s.in}, 64<<10)
	for index := 0; ; index++ {
		line, err := in.ReadBytes('\n')
		if len(line) == 0 && err != nil {
			if err != io.EOF && ctx.Err() == nil {
				s.underWay.fail(fmt.Errorf("standard input: %w", err))
			}
			return
		}
		if line[len(line)-1] == '\n' {
			line = line[:len(line)-1]
		}
		s.underWay.put(index, string(line))
		if !yield(line) {
			return
		}
	}
}

// text returns a line, once.
func (s *lineSource) text(index int) string { return s.underWay.take(index) }

// failed says why reading ended early.
func (s *lineSource) failed() error { return s.underWay.failed() }

// interruptible ends a Read when its context ends: a person at a terminal, or the other end of a pipe, may never write.
// The Read that waits is left behind, and what it gets is lost, so it is for a process that is about to end.
type interruptible struct {
	ctx context.Context
	r   io.Reader
}

func (i *interruptible) Read(p []byte) (int, error) {
	type read struct {
		n   int
		err error
	}
	done := make(chan read, 1)
	buf := make([]byte, len(p))
	go func() {
		n, err := i.r.Read(buf)
		done <- read{n, err}
	}()
	select {
	case r := <-done:
		return copy(p, buf[:r.n]), r.err
	case <-i.ctx.Done():
		return 0, i.ctx.Err()
	}
}

// job is a task that is under way and will be logged.
type job struct {
	line int // in the commands file, of those with tasks
	key  []byte
	n    int
}

// jobs remembers those that are under way, by their number in this run. Useful at zero.
type jobs struct {
	mu sync.Mutex // guards what follows, as in texts
	by map[int]job
}

func (j *jobs) put(index int, it job) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.by == nil {
		j.by = map[int]job{}
	}
	j.by[index] = it
}

func (j *jobs) get(index int) job {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.by[index]
}

// take returns a job, once.
func (j *jobs) take(index int) job {
	j.mu.Lock()
	defer j.mu.Unlock()
	it := j.by[index]
	delete(j.by, index)
	return it
}
