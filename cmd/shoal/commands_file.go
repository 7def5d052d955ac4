package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"shoal/netio"
)

// commandsFile is a commands file, lines `host:command` as netio/table_file.go describes them. It is read twice: once to
// see that no line is malformed before anything is sent, and again as its tasks are sent, so that memory does not grow
// with it. One goroutine may read tasks while another asks for texts.
type commandsFile struct {
	total   int // tasks
	skipped int // malformed lines

	name        string
	in          io.ReadSeeker
	start, size int64
	underWay    texts
	close       func() error
}

// openCommands opens a file, `-` being standard input, and checks every line. What cannot be read twice is copied to a
// temporary file that has no name any more. The caller closes it.
func openCommands(name string, skipInvalid bool) (*commandsFile, error) {
	f, err := openInput(name)
	if err != nil {
		return nil, err
	}
	c := &commandsFile{name: f.Name(), in: f, close: f.Close}
	if err := c.read(f, skipInvalid); err != nil {
		_ = c.close()
		return nil, err
	}
	return c, nil
}

func (c *commandsFile) read(f *os.File, skipInvalid bool) error {
	first := io.Reader(f)
	info, err := f.Stat()
	if err == nil {
		c.start, err = f.Seek(0, io.SeekCurrent)
	}
	if err != nil || !info.Mode().IsRegular() {
		spool, err := os.CreateTemp("", "shoal-*")
		if err != nil {
			return fmt.Errorf("no temporary file to keep %s in: %w", c.name, err)
		}
		c.close = func() error { return errors.Join(spool.Close(), f.Close()) }
		if err := os.Remove(spool.Name()); err != nil {
			return err
		}
		c.in, c.start = spool, 0
		first = io.TeeReader(f, spool)
	}
	counted := &countingReader{r: first, each: func(n int64) { c.size = n }}
	c.total, c.skipped, err = checkCommands(c.name, counted, skipInvalid)
	return err
}

// checkCommands reads a commands file and counts its tasks; name stands for it in errors. Malformed lines come back
// together as a *netio.FileError, or with skipInvalid only as their number. A file without any task is an error too.
func checkCommands(name string, r io.Reader, skipInvalid bool) (total, skipped int, err error) {
	var key []byte
	problems, err := netio.ScanLines(r, func(_ int, text []byte) (err error) {
		if key, err = netio.AppendTaskKey(key[:0], text); err == nil {
			total++
		}
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(problems) > 0 && !skipInvalid {
		return 0, 0, &netio.FileError{Name: name, Problems: problems}
	}
	if total == 0 {
		reason := "no tasks: write host:command, one a line"
		if len(problems) > 0 {
			reason = fmt.Sprintf("no tasks, and %s skipped: write host:command, one a line",
				counted(len(problems), "malformed line"))
		}
		return 0, len(problems), &netio.FileError{Name: name, Problems: []netio.LineProblem{{Reason: reason}}}
	}
	return total, len(problems), nil
}

// tasks yields the tasks as they are sent: netio.TaskKey of each line, which nobody may change.
func (c *commandsFile) tasks(_ context.Context, yield func(key []byte) bool) {
	if _, err := c.in.Seek(c.start, io.SeekStart); err != nil {
		c.underWay.fail(fmt.Errorf("reading %s again: %w", c.name, err))
		return
	}
	var lines textChunks
	var keys keyChunks
	sent, stopped := 0, false
	in := &io.LimitedReader{R: c.in, N: c.size}
	_, err := netio.ScanLines(in, func(_ int, text []byte) error {
		if stopped {
			return nil
		}
		key, err := keys.add(text)
		if err != nil {
			return err // was counted the first time
		}
		c.underWay.put(sent, lines.add(text))
		sent++
		if stopped = sent > c.total || !yield(key); stopped {
			in.N = 0
		}
		return nil
	})
	switch {
	case err != nil:
		c.underWay.fail(fmt.Errorf("reading %s again: %w", c.name, err))
	case sent > c.total, sent < c.total && !stopped:
		c.underWay.fail(fmt.Errorf("%s has changed since it was read the first time: not all of its tasks were sent", c.name))
	}
}

// text returns what the output names a task by: the line as written. Once.
func (c *commandsFile) text(index int) string { return c.underWay.take(index) }

// failed says why reading the tasks ended early.
func (c *commandsFile) failed() error { return c.underWay.failed() }

// chunkSize is what texts and keys are gathered into, so that a million tasks are not two million small allocations.
const chunkSize = 64 << 10

// textChunks makes strings that share their memory with their neighbours.
type textChunks struct{ chunk *strings.Builder }

func (c *textChunks) add(text []byte) string {
	if c.chunk == nil || c.chunk.Cap()-c.chunk.Len() < len(text) {
		c.chunk = new(strings.Builder)
		c.chunk.Grow(max(chunkSize, len(text)))
	}
	start := c.chunk.Len()
	c.chunk.Write(text)
	return c.chunk.String()[start:]
}

// keyChunks makes keys that lie beside their neighbours.
type keyChunks struct{ chunk []byte }

func (c *keyChunks) add(line []byte) ([]byte, error) {
	if longest := 2*len(line) + 2; cap(c.chunk)-len(c.chunk) < longest {
		c.chunk = make([]byte, 0, max(chunkSize, longest))
	}
	start := len(c.chunk)
	chunk, err := netio.AppendTaskKey(c.chunk, line)
	if err != nil {
		return nil, err
	}
	c.chunk = chunk
	return chunk[start:len(chunk):len(chunk)], nil
}
