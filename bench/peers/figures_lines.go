package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// What is built on netio, and does not count as its code: folders, and files that became folders of their own later.
var (
	builtOnNetio = []string{"files", "runner", "target", "rollout", "table", "lines"}
	movedSince   = []string{"table.go", "table_file.go", "table_index.go", "file_error.go"}
)

// linesRow counts lines of netio, without tests and without what is built on it.
func linesRow(o figuresOptions, b *builds) ([]string, error) {
	row := []string{"lines of netio without what is built on it", "fewer"}
	roots := []string{b.root}
	if o.before != "" {
		roots = append(roots, b.beforeRoot)
	}
	for _, root := range roots {
		n, err := countLines(filepath.Join(root, "netio"))
		if err != nil {
			return nil, err
		}
		row = append(row, strconv.Itoa(n))
	}
	return row, nil
}

// countLines counts those of all Go files of a folder that count.
func countLines(netio string) (n int, err error) {
	err = filepath.WalkDir(netio, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(netio, path)
		switch {
		case d.IsDir() && slices.Contains(builtOnNetio, name):
			return filepath.SkipDir
		case d.IsDir(), !strings.HasSuffix(name, ".go"), strings.HasSuffix(name, "_test.go"), slices.Contains(movedSince, name):
			return nil
		}
		text, err := os.ReadFile(path)
		n += bytes.Count(text, []byte("\n"))
		return err
	})
	return n, err
}
