package main

import (
	"fmt"
	"os"
)

// hostFiles is a folder with a file for each target: --outdir and --errdir. One goroutine owns it.
type hostFiles struct {
	flag    string
	name    string
	root    *os.Root        // nil: the folder is not wanted
	written map[string]bool // files of this run: a further task of a target is appended
	err     error           // the first
}

// openHostFiles makes the folder, if it has a name.
func openHostFiles(flag, name string) (*hostFiles, error) {
	f := &hostFiles{flag: flag, name: name, written: map[string]bool{}}
	if name == "" {
		return f, nil
	}
	err := os.MkdirAll(name, 0o755)
	if err == nil {
		f.root, err = os.OpenRoot(name)
	}
	if err != nil {
		return nil, usage("%s %s: %s", flag, name, rootCause(err))
	}
	return f, nil
}

// write writes the output of a target to its file.
func (f *hostFiles) write(host string, output []byte) {
	if f.root == nil || f.err != nil {
		return
	}
	name := hostFileName(host)
	mode := os.O_TRUNC
	if f.written[name] {
		mode = os.O_APPEND
	}
	f.written[name] = true
	file, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|mode, 0o644)
	if err == nil {
		_, err = file.Write(output)
		if closed := file.Close(); err == nil {
			err = closed
		}
	}
	if err != nil {
		f.err = fmt.Errorf("%s %s: %s: %s", f.flag, f.name, name, rootCause(err))
	}
}

// close returns the first error.
func (f *hostFiles) close() error {
	if f.root != nil {
		_ = f.root.Close()
	}
	return f.err
}

// hostFileName makes a file's name of a target: what cannot stand in one is written as in a URL.
func hostFileName(host string) string {
	name := make([]byte, 0, len(host))
	for i := range len(host) {
		c := host[i]
		if c <= ' ' || c == '/' || c == '\\' || c == 0x7f || c == '.' && i == 0 {
			name = fmt.Appendf(name, "%%%02X", c)
			continue
		}
		name = append(name, c)
	}
	return string(name)
}
