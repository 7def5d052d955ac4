//go:build ignore

// Generate writes commands.txt and table.txt: the 512 tasks that shoal's first ancestor was measured with.
// The output depends on nothing but this file.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

func main() {
	dir := flag.String("dir", "", "directory to write to (default: where generate.go is)")
	flag.Parse()
	if err := generate(*dir); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

func generate(dir string) error {
	if dir == "" {
		_, source, _, _ := runtime.Caller(0)
		if !filepath.IsAbs(source) { // built with -trimpath
			return fmt.Errorf("cannot tell where generate.go is: give -dir")
		}
		dir = filepath.Dir(source)
	}
	var commands, table strings.Builder
	for n := range 256 {
		for _, command := range []string{"foo", "bar"} {
			task := fmt.Sprintf("137.72.95.%d:%s", n, command)
			fmt.Fprintf(&commands, "%s\n", task)
			fmt.Fprintf(&table, "%s:1:1\n", task)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "commands.txt"), []byte(commands.String()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "table.txt"), []byte(table.String()), 0o644)
}
