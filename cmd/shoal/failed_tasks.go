package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
)

// failedTasks remembers what did not end with ok: the first few by name for a person, all of them in a file where one was
// asked for. One goroutine owns it.
type failedTasks struct {
	shown []string
	count int
	name  string
	file  *os.File // nil: none
	out   *bufio.Writer
	end   byte
}

// shownFailed is how many are named on standard error.
const shownFailed = 10

// openFailedTasks creates the file, if it has a name.
func openFailedTasks(p *process, name *string, null bool) (*failedTasks, error) {
	f := &failedTasks{end: '\n'}
	if null {
		f.end = 0
	}
	if name == nil {
		return f, nil
	}
	if p.stdout.is(*name) {
		return nil, usage("--failed %s: that is where standard output goes; give another file", *name)
	}
	file, err := os.OpenFile(*name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, usage("--failed %s: %s", *name, rootCause(err))
	}
	f.name, f.file, f.out = *name, file, bufio.NewWriter(file)
	return f, nil
}

// add takes a task in that did not end with ok.
func (f *failedTasks) add(r *record) {
	f.count++
	if len(f.shown) < shownFailed {
		line := append(appendTextField(nil, r.Task, false), ": "...)
		line = append(line, r.Status...)
		if r.Error != "" && r.Error != r.Status {
			line = appendTextField(append(line, ": "...), r.Error, false)
		}
		f.shown = append(f.shown, shorten(string(line)))
	}
	if f.out != nil {
		_, _ = f.out.WriteString(r.Task) // the error comes with Flush
		_ = f.out.WriteByte(f.end)
	}
}

// shorten keeps a line readable, whatever the task was.
func shorten(line string) string {
	const longest = 300
	if len(line) <= longest {
		return line
	}
	return line[:longest] + "…"
}

// write names them.
func (f *failedTasks) write(w io.Writer) {
	for _, line := range f.shown {
		fmt.Fprintf(w, "not ok: %s\n", line)
	}
	more := f.count - len(f.shown)
	switch {
	case more > 0 && f.file != nil:
		fmt.Fprintf(w, "not ok: %d more, all of them in %s\n", more, f.name)
	case more > 0:
		fmt.Fprintf(w, "not ok: %d more; --failed FILE lists all of them\n", more)
	}
}

// close makes the file whole.
func (f *failedTasks) close() error {
	if f.file == nil {
		return nil
	}
	err := errors.Join(f.out.Flush(), f.file.Close())
	f.file = nil
	if err != nil {
		return fmt.Errorf("--failed %s: %s", f.name, rootCause(err))
	}
	return nil
}
