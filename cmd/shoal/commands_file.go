package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"shoal/netio"
)

// command is one task of a commands file.
type command struct {
	Line int
	Text string // the line as written, without its line end: what the output names the task by
	Key  []byte // what is sent: netio.TaskKey of the line, not to be changed
}

// parseCommands reads a commands file, lines `host:command` as netio/table_file.go describes them; name stands for it in
// errors. Malformed lines come back together as a *netio.FileError and no commands, or with skipInvalid only as their number.
// A file without any task is an error too.
func parseCommands(name string, r io.Reader, skipInvalid bool) (commands []command, skipped int, err error) {
	var texts textChunks
	var keys keyChunks
	problems, err := netio.ScanLines(r, func(line int, text []byte) error {
		key, err := keys.add(text)
		if err != nil {
			return err
		}
		commands = append(commands, command{Line: line, Text: texts.add(text), Key: key})
		return nil
	})
	if err != nil {
		return nil, 0, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(problems) > 0 && !skipInvalid {
		return nil, 0, &netio.FileError{Name: name, Problems: problems}
	}
	if len(commands) == 0 {
		reason := "no tasks: write host:command, one a line"
		if len(problems) > 0 {
			reason = fmt.Sprintf("no tasks, and %s skipped: write host:command, one a line",
				counted(len(problems), "malformed line"))
		}
		return nil, len(problems), &netio.FileError{Name: name, Problems: []netio.LineProblem{{Reason: reason}}}
	}
	return commands, len(problems), nil
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

// inputError is why an input file cannot be opened, in one line that says what to do. It is a netio.ErrBadFile.
type inputError struct {
	name, reason string
	cause        error
}

func (e *inputError) Error() string   { return e.name + ": " + e.reason }
func (e *inputError) Unwrap() []error { return []error{netio.ErrBadFile, e.cause} }

var errDirectory = errors.New("is a directory")

// openInput opens a file to read, `-` being standard input; the name to show is that of the file it returns.
// The caller closes it.
func openInput(name string) (*os.File, error) {
	if name == "" {
		return nil, &inputError{`""`, "the file name is empty: give a file, or - for standard input", fs.ErrInvalid}
	}
	file, err := os.Stdin, error(nil)
	if name != "-" {
		file, err = os.Open(name)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, &inputError{name, "no such file: check the name, or give - for standard input", err}
	case errors.Is(err, fs.ErrPermission):
		return nil, &inputError{name, "no permission to read it: check its owner and mode", err}
	case err != nil:
		return nil, &inputError{name, "cannot be opened: " + rootCause(err), err}
	}
	info, err := file.Stat()
	if err == nil && info.IsDir() {
		err = errDirectory
	}
	if err == nil {
		return file, nil
	}
	if name != "-" {
		file.Close()
	}
	if errors.Is(err, errDirectory) {
		return nil, &inputError{file.Name(), "a directory, not a file: name a file in it", err}
	}
	return nil, &inputError{file.Name(), "cannot be read: " + rootCause(err), err}
}

// rootCause is the system's own words, without the name that the message has already.
func rootCause(err error) string {
	if pathError, ok := errors.AsType[*fs.PathError](err); ok {
		return pathError.Err.Error()
	}
	return err.Error()
}

// counted is "1 line", "2 lines".
func counted(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
