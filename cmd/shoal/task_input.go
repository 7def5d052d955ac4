package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"shoal/netio/lines"
	"shoal/netio/table"
)

// inputFlags are those of the commands that read tasks. One reader serves all of them.
type inputFlags struct {
	Null        bool `short:"0" help:"Tasks end in a NUL byte, not in a line end, and are taken as they are: nothing is trimmed, # is no comment."`
	SkipInvalid bool `help:"Skip malformed lines, and count them, instead of refusing the input."`
}

// inputHelp is what --help says of the input of these commands.
const inputHelp = `Files are checked as a whole before anything is sent, and what was checked is what is sent. A pipe is read as its lines come:
it is checked as far as it has come at once, and a malformed line further on ends it. Lines end in LF or CRLF, blanks
around a line are taken off, blank lines and lines that begin with # are skipped; a # after a task is part of it. With -0
tasks end in a NUL byte and are taken as they are. An input without a task is an error.`

// taskFormat is what the tasks of a command look like.
type taskFormat struct {
	shape   string // what to write, for the error of an input without any
	longest int    // bytes of a task
	// appendKey appends what is sent for a line to dst, or says what is wrong with the line. It may not keep it.
	appendKey func(dst, line []byte) ([]byte, error)
	// split returns the host and the command of a key, empty where tasks have none.
	split func(key []byte) (host, command string)
}

// hostCommand is the format of a commands file.
var hostCommand = taskFormat{
	shape: "host:command, one a line", longest: lines.MaxLine, appendKey: table.AppendKey,
	split: func(key []byte) (host, command string) {
		host, command, _ = table.SplitKey(key)
		return host, command
	},
}

// anyLine is the format of map: a task is a line, whatever it holds.
var anyLine = taskFormat{
	shape: "a line for each", longest: 4 << 20,
	appendKey: func(dst, line []byte) ([]byte, error) { return append(dst, line...), nil },
	split:     func([]byte) (host, command string) { return "", "" },
}

// taskInput is the input of a command that sends many tasks: one file or several, or standard input. Memory does not grow
// with it. One goroutine may read it.
type taskInput struct {
	total   int          // tasks; known only where all is
	all     bool         // whether total is known
	skipped atomic.Int64 // malformed lines

	ctx     context.Context // ends reads that wait
	stop    context.CancelFunc
	flags   inputFlags
	format  taskFormat
	sources []*taskSource
	names   string
	lines   textChunks
	keys    keyChunks
	sending bool // the check is over
	given   int
}

// taskSource is one of the files of a taskInput.
type taskSource struct {
	name    string
	file    *os.File
	checked *checkedFile // a regular file
	ahead   *readAhead   // anything else
}

// peekTime is how long a pipe may take to give what it has.
const peekTime = 100 * time.Millisecond

// openTasks opens the files of these names, `-` being standard input, and checks what can be checked before a task is sent;
// check, if there is one, sees each key. The end of ctx ends reads that wait. The caller closes it.
func openTasks(ctx context.Context, names []string, flags inputFlags, format taskFormat, check func(key []byte)) (*taskInput, error) {
	ctx, stop := context.WithCancel(ctx)
	in := &taskInput{ctx: ctx, stop: stop, flags: flags, format: format, all: true}
	if err := in.open(ctx, names); err != nil {
		in.close()
		return nil, err
	}
	if err := in.check(check); err != nil {
		in.close()
		return nil, err
	}
	return in, nil
}

func (in *taskInput) open(ctx context.Context, names []string) error {
	stdin := false
	var shown []string
	for _, name := range names {
		if name == "-" && stdin {
			return usage("standard input is named twice: it can be read once")
		}
		stdin = stdin || name == "-"
		f, err := openInput(name)
		if err != nil {
			return err
		}
		source := &taskSource{name: f.Name(), file: f}
		in.sources = append(in.sources, source)
		shown = append(shown, f.Name())
		start, err := f.Seek(0, io.SeekCurrent)
		if info, statErr := f.Stat(); err == nil && statErr == nil && info.Mode().IsRegular() {
			source.checked = newCheckedFile(f, start)
		} else {
			source.ahead = newReadAhead(ctx, f)
		}
	}
	in.names = strings.Join(shown, ", ")
	return nil
}

func (in *taskInput) close() {
	in.stop()
	for _, s := range in.sources {
		if s.file != os.Stdin && s.ahead == nil { // to close a pipe would wait for the read of readAhead
			_ = s.file.Close()
		}
	}
}

// check reads what can be read before a task is sent. Malformed lines come back together as *netio.FileErrors, or with
// SkipInvalid only as their number.
func (in *taskInput) check(each func(key []byte)) error {
	var refused []error
	skipped := 0
	var key []byte
	for _, s := range in.sources {
		var r io.Reader
		if r = s.checked; s.ahead != nil {
			lines, all := s.ahead.peek(peekTime, in.lineEnd())
			r = bytes.NewReader(lines)
			in.all = in.all && all
		}
		problems, err := in.scan(r, func(line []byte) (err error) {
			if key, err = in.format.appendKey(key[:0], line); err == nil {
				in.total++
				if each != nil {
					each(key)
				}
			}
			return err
		})
		if err != nil {
			return inputFailed(s.name, err)
		}
		skipped += len(problems)
		if len(problems) > 0 && !in.flags.SkipInvalid {
			refused = append(refused, &lines.FileError{Name: s.name, Problems: problems})
		}
	}
	switch {
	case len(refused) > 0:
		return errors.Join(refused...)
	case in.all:
		in.skipped.Store(int64(skipped))
		if in.total == 0 {
			return in.empty(skipped)
		}
	}
	return nil
}

func (in *taskInput) lineEnd() byte {
	if in.flags.Null {
		return 0
	}
	return '\n'
}

// empty is the error of an input without a task.
func (in *taskInput) empty(skipped int) error {
	reason := "no tasks: write " + in.format.shape
	if skipped > 0 {
		reason = fmt.Sprintf("no tasks, and %s skipped: write %s", counted(skipped, "malformed line"), in.format.shape)
	}
	return &lines.FileError{Name: in.names, Problems: []lines.Problem{{Reason: reason}}}
}

// scan calls each for every line of r, until it returns errEnough. The other lines that it refuses come back.
func (in *taskInput) scan(r io.Reader, each func(line []byte) error) ([]lines.Problem, error) {
	var problems []lines.Problem
	s := lines.NewScanner(r, lines.Options{Null: in.flags.Null, Longest: in.format.longest})
	for s.Scan() {
		err := s.Refused()
		if err == nil {
			err = each(s.Bytes())
		}
		if errors.Is(err, errEnough) {
			return problems, nil
		}
		if err != nil {
			problems = append(problems, lines.Problem{Line: s.Line(), Reason: err.Error()})
			if in.sending && !in.flags.SkipInvalid {
				return problems, nil
			}
		}
		if s.Line()%1024 == 0 && in.ctx.Err() != nil { // the check of a long file can be interrupted
			return nil, in.ctx.Err()
		}
	}
	return problems, s.Err()
}

// errEnough ends a scan.
var errEnough = errors.New("enough")

// inputFailed names the file that could not be read, in one line.
func inputFailed(name string, err error) error {
	if errors.Is(err, context.Canceled) {
		return err
	}
	if file, ok := errors.AsType[*lines.FileError](err); ok {
		return &lines.FileError{Name: name, Problems: file.Problems}
	}
	return &inputError{name, "cannot be read: " + rootCause(err), err}
}

// tasks calls yield with each task, as the output names it and as it is sent; nobody may change either. The error says why
// there were fewer tasks than there should have been.
func (in *taskInput) tasks(yield func(text string, key []byte) bool) error {
	in.sending = true
	stopped := false
	for _, s := range in.sources {
		var r io.Reader
		if r = s.ahead; s.checked != nil {
			if err := s.checked.rewind(); err != nil {
				return inputFailed(s.name, err)
			}
			r = s.checked
		}
		problems, err := in.scan(r, func(line []byte) error {
			key, err := in.keys.add(in.format, line)
			if err != nil {
				return err
			}
			in.given++
			if stopped = !yield(in.lines.add(line), key); stopped {
				return errEnough
			}
			return nil
		})
		if !in.all {
			in.skipped.Add(int64(len(problems)))
		}
		switch {
		case stopped, errors.Is(err, context.Canceled):
			return nil
		case err != nil && s.checked != nil && errors.Is(err, errChanged):
			return &inputError{s.name, err.Error(), err}
		case err != nil:
			return inputFailed(s.name, err)
		case len(problems) > 0 && !in.flags.SkipInvalid:
			return &lines.FileError{Name: s.name, Problems: append(problems, lines.Problem{Line: problems[0].Line,
				Reason: "nothing from here on was sent"})}
		}
	}
	if in.given == 0 {
		return in.empty(int(in.skipped.Load()))
	}
	return nil
}

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

func (c *keyChunks) add(format taskFormat, line []byte) ([]byte, error) {
	if longest := 2*len(line) + 2; cap(c.chunk)-len(c.chunk) < longest {
		c.chunk = make([]byte, 0, max(chunkSize, longest))
	}
	start := len(c.chunk)
	chunk, err := format.appendKey(c.chunk, line)
	if err != nil {
		return nil, err
	}
	c.chunk = chunk
	return chunk[start:len(chunk):len(chunk)], nil
}
