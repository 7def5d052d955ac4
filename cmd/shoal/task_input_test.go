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

	"shoal/netio/lines"
	"shoal/netio/table"
)

// command is a task as it is sent, and what the output calls it.
type command struct {
	Text string
	Key  []byte
}

// parseCommands reads a whole commands file as `shoal client run` does.
func parseCommands(r io.Reader, skipInvalid bool) (commands []command, skipped int, err error) {
	data, readErr := io.ReadAll(r)
	first := io.ReadSeeker(bytes.NewReader(data))
	if readErr != nil {
		first = struct {
			io.Reader
			io.Seeker
		}{io.MultiReader(first, iotest.ErrReader(readErr)), first}
	}
	in := &taskInput{ctx: context.Background(), flags: inputFlags{SkipInvalid: skipInvalid}, format: hostCommand, all: true,
		names: "f", sources: []*taskSource{{name: "f", checked: newCheckedFile(first, 0)}}}
	if err = in.check(nil); err != nil {
		return nil, 0, err
	}
	err = in.tasks(func(text string, key []byte) bool {
		commands = append(commands, command{text, key})
		return true
	})
	if len(commands) != in.total {
		return nil, 0, fmt.Errorf("%d tasks, then %d", in.total, len(commands))
	}
	return commands, int(in.skipped.Load()), err
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
		{"lines are trimmed", " a: b \n\tc:d # e\t\n  # f:g\n \t\n", false, "a: b a: b\nc:d # e c:d # e\n", 0},
		{"one host, one key", "Node-A:Up\n[2001:DB8:0::1]:Up\n", false, "Node-A:Up node-a:Up\n[2001:DB8:0::1]:Up [2001:db8::1]:Up\n", 0},
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
		{"long", "a:" + strings.Repeat("x", lines.MaxLine-1), false, "f:1: the line is longer than 1 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			commands, _, err := parseCommands(strings.NewReader(c.file), c.skipInvalid)
			if commands != nil || !errors.Is(err, lines.ErrBadFile) {
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

// What is sent is what was checked: a file that grows meanwhile is read as far as it was, one that has changed is an error,
// and no block that has is read.
func TestCommandsFileChanges(t *testing.T) {
	block := strings.Repeat("a:b\n", checkedBlock/4)
	for _, c := range []struct {
		name, was, then string
		tasks           int
		failed          bool
	}{
		{"the same", "a:b\nc:d\n", "a:b\nc:d\n", 2, false},
		{"longer", "a:b\nc:d\n", "a:b\nc:d\ne:f\nbad\n", 2, false},
		{"shorter", "a:b\nc:d\n", "a:b\n", 0, true},
		{"another task", "a:b\nc:d\n", "a:b\nc:e\n", 0, true},
		{"another task further on", block + "c:d\n", block + "c:e\n", checkedBlock / 4, true},
		{"whole blocks", block + block, block + block, checkedBlock / 2, false},
		{"empty", "a:b\n", "", 0, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			name := file(t, c.was)
			in, err := openTasks(t.Context(), []string{name}, inputFlags{}, hostCommand, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer in.close()
			if err := os.WriteFile(name, []byte(c.then), 0o600); err != nil {
				t.Fatal(err)
			}
			got := 0
			err = in.tasks(func(string, []byte) bool { got++; return true })
			if got != c.tasks || errors.Is(err, errChanged) != c.failed || errors.Is(err, lines.ErrBadFile) != c.failed {
				t.Errorf("%d tasks, %v", got, err)
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
	in, err := openTasks(t.Context(), []string{"-"}, inputFlags{}, hostCommand, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer in.close()
	var got []string
	err = in.tasks(func(text string, key []byte) bool { got = append(got, text+" "+string(key)); return true })
	if fmt.Sprint(got) != "[a:b a:b c:d c:d]" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// A pipe is checked as far as it has come; then its lines are sent as they come, up to one that is malformed.
func TestTasksFromPipe(t *testing.T) {
	open := func(t *testing.T, written string) (in *taskInput, w *os.File, err error) {
		stdin := os.Stdin
		t.Cleanup(func() { os.Stdin = stdin })
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = r.Close(); _ = w.Close() })
		os.Stdin = r
		_, _ = w.WriteString(written)
		in, err = openTasks(t.Context(), []string{file(t, "f:x\n"), "-"}, inputFlags{}, hostCommand, nil)
		return in, w, err
	}
	if _, _, err := open(t, "a:b\nbad\n"); !errors.Is(err, lines.ErrBadFile) || !strings.Contains(err.Error(), ":2: no colon") {
		t.Errorf("a bad line that is there: %v", err)
	}
	in, w, err := open(t, "a:b\nc:")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	err = in.tasks(func(_ string, key []byte) bool {
		if got = append(got, string(key)); len(got) == 2 { // what is there is taken before more is written
			_, _ = w.WriteString("d\nbad\ne:f\n")
		}
		return true
	})
	if fmt.Sprint(got) != "[f:x a:b c:d]" || !errors.Is(err, lines.ErrBadFile) || !strings.Contains(err.Error(), ":3: nothing from here on was sent") || in.all {
		t.Errorf("%q, %v", got, err)
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
	entries, err := table.Parse("table.txt", tableFile, table.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range commands {
		if _, ok := entries[string(c.Key)]; !ok || c.Text != string(c.Key) {
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
			if !errors.Is(err, lines.ErrBadFile) || c.cause != nil && !errors.Is(err, c.cause) {
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
			if !errors.Is(err, lines.ErrBadFile) || commands != nil {
				t.Fatal(commands, err)
			}
			return
		}
		if len(commands)+skipped > bytes.Count(file, []byte("\n"))+1 {
			t.Fatal("more tasks than lines")
		}
		again := bytes.NewBufferString("# keeps a BOM off the first line\n")
		answers := bytes.NewBufferString("#\n")
		for _, c := range commands {
			if len(c.Key) > lines.MaxLine-3 {
				return
			}
			fmt.Fprintf(again, "%s\r\n", c.Key)
			fmt.Fprintf(answers, "%s::0\n", c.Key)
		}
		got, _, err := parseCommands(again, false)
		if err != nil || len(got) != len(commands) {
			t.Fatalf("%d commands of %d, %v", len(got), len(commands), err)
		}
		entries, err := table.Parse("table", answers, table.Options{AllowDuplicates: true})
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
