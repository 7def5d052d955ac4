package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
)

// failedTargets remembers what did not end well: the targets by what went wrong, for a person, and the tasks in a file where
// one was asked for. One goroutine owns it.
type failedTargets struct {
	byText map[string]*failure
	order  []*failure
	beyond int // tasks whose error is one too many

	name string
	file *os.File // nil: none
	out  *bufio.Writer
}

// failure is one way to fail.
type failure struct {
	text  string
	hosts []string
}

const (
	maxFailures       = 1000 // different ones that are remembered
	mostShownFailures = 20   // of them on standard error
)

// openFailedTargets creates the file, if it has a name.
func openFailedTargets(p *process, name string) (*failedTargets, error) {
	f := &failedTargets{byText: map[string]*failure{}}
	if name == "" {
		return f, nil
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return nil, usage("--failed-file %s: %s", name, rootCause(err))
	}
	f.name, f.file, f.out = name, file, bufio.NewWriter(file)
	return f, nil
}

// add takes a result in whose status is not ok.
func (f *failedTargets) add(r *execResult) {
	if f.out != nil {
		_, _ = f.out.WriteString(r.Text) // the error comes with Flush
		_ = f.out.WriteByte('\n')
	}
	text := r.Status
	if r.Error != "" && r.Error != r.Status {
		text += ": " + r.Error
	}
	known := f.byText[text]
	if known == nil {
		if len(f.order) == maxFailures {
			f.beyond++
			return
		}
		known = &failure{text: text}
		f.byText[text] = known
		f.order = append(f.order, known)
	}
	known.hosts = append(known.hosts, r.Host)
}

// write names the targets, those with the same error in one line.
func (f *failedTargets) write(w io.Writer) {
	more := f.beyond
	for i, one := range f.order {
		if i >= mostShownFailures {
			more += len(one.hosts)
			continue
		}
		line := fmt.Sprintf("not ok: %s", fold(one.hosts))
		if len(one.hosts) > 1 {
			line += fmt.Sprintf(" (%d)", len(one.hosts))
		}
		fmt.Fprintf(w, "%s: %s\n", line, appendTextField(nil, one.text, false))
	}
	switch {
	case more > 0 && f.name != "":
		fmt.Fprintf(w, "not ok: %d more, all of them in %s\n", more, f.name)
	case more > 0:
		fmt.Fprintf(w, "not ok: %d more; --failed-file FILE lists all of them\n", more)
	}
}

// close makes the file whole.
func (f *failedTargets) close() error {
	if f.file == nil {
		return nil
	}
	err := errors.Join(f.out.Flush(), f.file.Close())
	f.file = nil
	if err != nil {
		return fmt.Errorf("--failed-file %s: %s", f.name, rootCause(err))
	}
	return nil
}
