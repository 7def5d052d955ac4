package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"shoal/netio/lines"
)

// inputError is why an input file cannot be opened, in one line that says what to do. It is a lines.ErrBadFile.
type inputError struct {
	name, reason string
	cause        error
}

func (e *inputError) Error() string   { return e.name + ": " + e.reason }
func (e *inputError) Unwrap() []error { return []error{lines.ErrBadFile, e.cause} }

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
	case errors.Is(err, fs.ErrNotExist) && addressHint([]string{name}) != "":
		return nil, &inputError{name, "no such file" + addressHint([]string{name}), err}
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
