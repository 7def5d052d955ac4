package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"shoal/netio"
)

// command is a task as it is sent, and what the output calls it.
type command struct {
	Text string
	Key  []byte
}

// parseCommands reads a whole commands file as `shoal client run` does.
func parseCommands(r io.Reader, skipInvalid bool) (commands []command, skipped int, err error) {
	data, readErr := io.ReadAll(r)
	first := io.Reader(bytes.NewReader(data))
	if readErr != nil {
		first = io.MultiReader(first, iotest.ErrReader(readErr))
	}
	c := &commandsFile{name: "f", in: bytes.NewReader(data), size: int64(len(data))}
	if c.total, c.skipped, err = checkCommands("f", first, skipInvalid); err != nil {
		return nil, 0, err
	}
	c.tasks(context.Background(), func(key []byte) bool {
		commands = append(commands, command{c.text(len(commands)), key})
		return true
	})
	if len(commands) != c.total {
		return nil, 0, fmt.Errorf("%d tasks, then %d", c.total, len(commands))
	}
	return commands, c.skipped, c.failed()
}

func TestParseCommands(t *testing.T) {
	for _, c := range []struct {
		name, file  string
		skipInvalid bool
		want        string // text and key of each command
		skipped     int
	}{
		{"plain", "137.72.95.0:foo\n137.72.95.0:bar\n", false, "137.72.95.0:foo 137.72.95.0:foo\n137.72.95.0:bar 137.72.95.0:bar\n", 0},
		{"the same twice", "a:b\na:b", false, "a:b a:b\na:b a:b\n", 0},
		{"CRLF, BOM, comments", "\ufeffa:b\r\n\r\n# c:d\r\ne:f", false, "a:b a:b\ne:f e:f\n", 0},
		{"escapes", `a:C\:\x\\y` + "\n", false, `a:C\:\x\\y a:C\:\\x\\y` + "\n", 0},
		{"IPv6", "[::1]:foo\n\\:\\:1:foo\n", false, "[::1]:foo [::1]:foo\n\\:\\:1:foo [::1]:foo\n", 0},
		{"nothing is trimmed", " a: b ", false, " a: b   a: b \n", 0},
		{"skipped", "bad\na:b\na:b:c\n:d\n\ne:f\n", true, "a:b a:b\ne:f e:f\n", 3},
		{"nothing to skip", "a:b\n", true, "a:b a:b\n", 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			commands, skipped, err := parseCommands(strings.NewReader(c.file), c.skipInvalid)
			if err != nil {
				t.Fatal(err)
			}
			var got strings.Builder
			for _, cmd := range commands {
				fmt.Fprintf(&got, "%s %s\n", cmd.Text, cmd.Key)
			}
			if got.String() != c.want || skipped != c.skipped {
				t.Errorf("%d skipped, got\n%swant\n%s", skipped, got.String(), c.want)
			}
		})
	}
}

func TestParseCommandsRefuses(t *testing.T) {
	for _, c := range []struct {
		name, file  string
		skipInvalid bool
		want        string
	}{
		{"empty", "", false, "f: no tasks: write host:command, one a line"},
		{"blank", "\n \n# a:b\n", false, "f: no tasks: write host:command, one a line"},
		{"all skipped", "a\n", true, "f: no tasks, and 1 malformed line skipped: write host:command, one a line"},
		{"two skipped", "a\nb\n", true, "f: no tasks, and 2 malformed lines skipped: write host:command, one a line"},
		{"every line", "a:b\nfoo\n:c\nd:\n::1:e\n[x]:f\n", false, "f:2: no colon: write host:command\nf:3: the host is empty\n" +
			"f:4: the command is empty\nf:5: a colon too many: inside a field it is written \\:, and an IPv6 host in brackets\n" +
			"f:6: what stands in brackets is no IPv6 address"},
		{"a table", "a:b:1:1\n", false, "f:1: a colon too many: inside a field it is written \\:, and an IPv6 host in brackets"},
		{"long", "a:" + strings.Repeat("x", netio.MaxLine-1), false, "f:1: the line is longer than 1 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			commands, _, err := parseCommands(strings.NewReader(c.file), c.skipInvalid)
			if commands != nil || !errors.Is(err, netio.ErrBadFile) {
				t.Fatalf("got %v, %v", commands, err)
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

func TestParseCommandsReadError(t *testing.T) {
	broken := errors.New("broken")
	r := io.MultiReader(strings.NewReader("a:b\n"), iotest.ErrReader(broken))
	if commands, _, err := parseCommands(r, true); commands != nil || !errors.Is(err, broken) {
		t.Errorf("got %v, %v", commands, err)
	}
}

// Lines of all lengths fill the chunks to every degree; each task must still have its own bytes.
func TestParseCommandsAcrossChunks(t *testing.T) {
	var file bytes.Buffer
	var want []string
	for n := range 400 {
		line := fmt.Sprintf("%d:%s", n, strings.Repeat("x", 1+n*n%70000))
		want = append(want, line)
		file.WriteString(line + "\n")
	}
	commands, _, err := parseCommands(&file, false)
	if err != nil || len(commands) != len(want) {
		t.Fatalf("%d commands, %v", len(commands), err)
	}
	for i, c := range commands {
		if c.Text != want[i] || string(c.Key) != want[i] {
			t.Fatalf("line %d is not what was written", i+1)
		}
		if cap(c.Key) != len(c.Key) {
			t.Fatalf("line %d: appending to the key would write into the next", i+1)
		}
	}
}

// What is sent is what was checked: a file that grows meanwhile is read as far as it was, one that has changed is an error.
func TestCommandsFileChanges(t *testing.T) {
	for _, c := range []struct {
		name, then string
		tasks      int
		failed     bool
	}{
		{"the same", "a:b\nc:d\n", 2, false},
		{"longer", "a:b\nc:d\ne:f\nbad\n", 2, false},
		{"shorter", "a:b\n", 1, true},
		{"fewer tasks", "a:b\nbad\n", 1, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := file(t, "a:b\nc:d\n")
			commands, err := openCommands(name, false)
			if err != nil {
				t.Fatal(err)
			}
			defer commands.close()
			if err := os.WriteFile(name, []byte(c.then), 0o600); err != nil {
				t.Fatal(err)
			}
			got := 0
			commands.tasks(t.Context(), func([]byte) bool { got++; return true })
			if got != c.tasks || (commands.failed() != nil) != c.failed {
				t.Errorf("%d tasks, %v", got, commands.failed())
			}
		})
	}
}

// Standard input that is a file begins where whoever had it before has left it; so does the second reading.
func TestCommandsFileFromItsOffset(t *testing.T) {
	stdin := os.Stdin
	defer func() { os.Stdin = stdin }()
	f, err := os.Open(file(t, "a title\na:b\nc:d\n"))
	if err == nil {
		_, err = f.Seek(int64(len("a title\n")), io.SeekStart)
	}
	if err != nil {
		t.Fatal(err)
	}
	os.Stdin = f
	commands, err := openCommands("-", false)
	if err != nil {
		t.Fatal(err)
	}
	defer commands.close()
	var got []string
	commands.tasks(t.Context(), func(key []byte) bool { got = append(got, string(key)); return true })
	if fmt.Sprint(got) != "[a:b c:d]" || commands.failed() != nil || commands.text(1) != "c:d" {
		t.Errorf("%q, %v", got, commands.failed())
	}
}

func TestParseCommandsTestdata(t *testing.T) {
	file, err := openInput("../../testdata/commands.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	commands, _, err := parseCommands(file, false)
	if err != nil || len(commands) != 512 {
		t.Fatalf("%d commands, %v", len(commands), err)
	}
	tableFile, err := openInput("../../testdata/table.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer tableFile.Close()
	table, err := netio.ParseTable("table.txt", tableFile, netio.TableOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		if _, ok := table[string(c.Key)]; !ok || c.Text != string(c.Key) {
			t.Errorf("%s is not in the table", c.Key)
		}
	}
}

func TestOpenInput(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	if err := os.WriteFile(secret, []byte("a:b"), 0); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path, want string
		cause            error
	}{
		{"missing", filepath.Join(dir, "none"), "/none: no such file: check the name, or give - for standard input", fs.ErrNotExist},
		{"directory", dir, ": a directory, not a file: name a file in it", errDirectory},
		{"no permission", secret, "/secret: no permission to read it: check its owner and mode", fs.ErrPermission},
		{"no name", "", `"": the file name is empty: give a file, or - for standard input`, fs.ErrInvalid},
		{"a file as directory", secret + "/x", "/secret/x: cannot be opened: not a directory", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.cause == fs.ErrPermission && os.Getuid() == 0 {
				withoutRoot(t) // who may read everything
			}
			file, err := openInput(c.path)
			if err == nil {
				file.Close()
				t.Fatal("opened")
			}
			if !errors.Is(err, netio.ErrBadFile) || c.cause != nil && !errors.Is(err, c.cause) {
				t.Errorf("%#v", err)
			}
			if !strings.HasSuffix(err.Error(), c.want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("got %s", err)
			}
		})
	}
}

func TestOpenInputStandardInput(t *testing.T) {
	stdin := os.Stdin
	defer func() { os.Stdin = stdin }()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	os.Stdin = r
	_, _ = w.WriteString("a:b\n")
	w.Close()
	file, err := openInput("-")
	if err != nil || file != r {
		t.Fatalf("got %v, %v", file, err)
	}
	if commands, _, err := parseCommands(file, false); err != nil || len(commands) != 1 {
		t.Errorf("got %v, %v", commands, err)
	}
	if os.Stdin, err = os.Open(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	defer os.Stdin.Close()
	if _, err := openInput("-"); !errors.Is(err, errDirectory) {
		t.Errorf("a directory as standard input: %v", err)
	}
}

// A commands file of the keys must give the same keys, and a table of them must answer every task.
func FuzzParseCommands(f *testing.F) {
	f.Add([]byte("137.72.95.0:foo\n# c\r\n[::1]:a\\:b\\\n"), true)
	f.Add([]byte("\ufeffh:\\c\n::1:x\nh:c:d\n[fe80::1%\\]:x"), false)
	f.Fuzz(func(t *testing.T, file []byte, skipInvalid bool) {
		commands, skipped, err := parseCommands(bytes.NewReader(file), skipInvalid)
		if err != nil {
			if !errors.Is(err, netio.ErrBadFile) || commands != nil {
				t.Fatal(commands, err)
			}
			return
		}
		if len(commands)+skipped > bytes.Count(file, []byte("\n"))+1 {
			t.Fatal("more tasks than lines")
		}
		again := bytes.NewBufferString("# keeps a BOM off the first line\n")
		table := bytes.NewBufferString("#\n")
		for _, c := range commands {
			if len(c.Key) > netio.MaxLine-3 {
				return
			}
			fmt.Fprintf(again, "%s\r\n", c.Key)
			fmt.Fprintf(table, "%s::0\n", c.Key)
		}
		got, _, err := parseCommands(again, false)
		if err != nil || len(got) != len(commands) {
			t.Fatalf("%d commands of %d, %v", len(got), len(commands), err)
		}
		entries, err := netio.ParseTable("table", table, netio.TableOptions{AllowDuplicates: true})
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range commands {
			if !bytes.Equal(got[i].Key, c.Key) || got[i].Text != string(c.Key) {
				t.Errorf("%q gives %q", c.Key, got[i].Key)
			}
			if _, ok := entries[string(c.Key)]; !ok {
				t.Errorf("%q is not in the table", c.Key)
			}
		}
	})
}

func BenchmarkParseCommands(b *testing.B) {
	var file bytes.Buffer
	const lines = 1_000_000
	for n := range lines {
		fmt.Fprintf(&file, "137.72.%d.%d:show version\n", n>>8&255, n&255)
	}
	b.SetBytes(int64(file.Len()))
	b.ReportAllocs()
	for b.Loop() {
		if commands, _, err := parseCommands(bytes.NewReader(file.Bytes()), false); err != nil || len(commands) != lines {
			b.Fatal(err)
		}
	}
}
