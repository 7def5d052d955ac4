package table

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"shoal/netio/lines"
)

func TestParseTable(t *testing.T) {
	type entries map[string]Entry
	one := Entry{[]byte("1"), time.Second}
	for _, c := range []struct {
		name, file string
		opts       Options
		want       entries
	}{
		{"plain", "137.72.95.0:foo:1:1\n", Options{}, entries{"137.72.95.0:foo": one}},
		{"no last newline", "a:b:1:1\na:c:1:1", Options{}, entries{"a:b": one, "a:c": one}},
		{"CRLF", "a:b:1:1\r\na:c:1:1\r", Options{}, entries{"a:b": one, "a:c": one}},
		{"BOM", "\ufeffa:b:1:1\n", Options{}, entries{"a:b": one}},
		{"BOM before a comment", "\ufeff# c\na:b:1:1\n", Options{}, entries{"a:b": one}},
		{"blank lines and comments", "\n# x:y\n \t\r\na:b:1:1\n\n#\n", Options{}, entries{"a:b": one}},
		{"empty response", "a:b::0\n", Options{}, entries{"a:b": {[]byte{}, 0}}},
		{"lines are trimmed, fields are not", " a : b : r :0\t\n", Options{}, entries{"a : b ": {[]byte(" r "), 0}}},
		{"one host, one key", "Node-A.Example:Foo:1:1\n[2001:DB8:0:0::1]:foo:1:1\n", Options{},
			entries{"node-a.example:Foo": one, "[2001:db8::1]:foo": one}},
		{"seconds are trimmed", "a:b:1: 1 \n", Options{}, entries{"a:b": one}},
		{"fractions", "a:b:1:.25\na:c:1:1e-3\na:d:1:0.0000000004\na:e:1:-0\n", Options{}, entries{
			"a:b": {[]byte("1"), 250 * time.Millisecond}, "a:c": {[]byte("1"), time.Millisecond},
			"a:d": {[]byte("1"), 0}, "a:e": {[]byte("1"), 0}}},
		{"a day", "a:b:1:86400\n", Options{}, entries{"a:b": {[]byte("1"), 24 * time.Hour}}},
		{"any response", "a:b:\x00\xff\t#\\n\\::0\n", Options{}, entries{"a:b": {[]byte("\x00\xff\t#\\n:"), 0}}},
		{"backslashes", `a:C\:\dir\\x:\\\\\::0` + "\n", Options{}, entries{`a:C\:\\dir\\x`: {[]byte(`\\:`), 0}}},
		{"IPv6", "[2001:db8::1]:foo:1:1\n", Options{}, entries{"[2001:db8::1]:foo": one}},
		{"IPv6 by escapes", `2001\:db8\:\:1:foo:1:1`, Options{}, entries{"[2001:db8::1]:foo": one}},
		{"IPv6 zone", `[fe80::1%\\a\:b]:foo:1:1`, Options{}, entries{`[fe80::1%\\a\:b]:foo`: one}},
		{"duplicates allowed", "a:b:0:0\na:b:1:1\n", Options{AllowDuplicates: true}, entries{"a:b": one}},
		{"longest line", "a:b:" + strings.Repeat("r", lines.MaxLine-6) + ":0\r\n", Options{},
			entries{"a:b": {bytes.Repeat([]byte("r"), lines.MaxLine-6), 0}}},
		{"longest line after a BOM", "\ufeffa:b:" + strings.Repeat("r", lines.MaxLine-6) + ":0\r\n", Options{},
			entries{"a:b": {bytes.Repeat([]byte("r"), lines.MaxLine-6), 0}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(c.file), iotest.DataErrReader(strings.NewReader(c.file))} {
				got, err := Parse("t", r, c.opts)
				if err != nil {
					t.Fatal(err)
				}
				if !reflect.DeepEqual(entries(got), c.want) {
					t.Errorf("got %q\nwant %q", got, c.want)
				}
			}
		})
	}
}

func TestParseTableRefuses(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"nothing", "", "t: no entries: write host:command:response:seconds, one a line"},
		{"comments only", "\n# a\n", "t: no entries: write host:command:response:seconds, one a line"},
		{"no colon", "a\n", "t:1: 1 of the 4 fields host:command:response:seconds"},
		{"three fields", "# c\na:b:1\n", "t:2: 3 of the 4 fields host:command:response:seconds"},
		{"five fields", "a:b:c:1:1", `t:1: a colon too many: inside a field it is written \:, and an IPv6 host in brackets`},
		{"escaped colon is no separator", `a:b:1\:1`, "t:1: 3 of the 4 fields host:command:response:seconds"},
		{"empty host", ":b:1:1", "t:1: the host is empty"},
		{"empty command", "a::1:1", "t:1: the command is empty"},
		{"bare brackets", "[::1]", "t:1: 1 of the 4 fields host:command:response:seconds"},
		{"open bracket", "[::1:foo:1:1", "t:1: no ] after [: an IPv6 host is written [address]:command"},
		{"text after bracket", "[::1]x:foo:1:1", "t:1: a colon must follow the ] of an IPv6 host"},
		{"IPv4 in brackets", "[10.0.0.1]:foo:1:1", "t:1: what stands in brackets is no IPv6 address"},
		{"no seconds", "a:b:1:", "t:1: the seconds are missing"},
		{"words", "a:b:1:soon", `t:1: the seconds "soon" are not a number`},
		{"long words", "a:b:1:" + strings.Repeat("x", 99), `t:1: the seconds "` + strings.Repeat("x", 40) + `"… are not a number`},
		{"line breaks in words", "a:b:1:\x1b[2J\r1", `t:1: the seconds "\x1b[2J\r1" are not a number`},
		{"NaN", "a:b:1:nan", `t:1: the seconds "nan" are not a finite number`},
		{"Inf", "a:b:1:Inf", `t:1: the seconds "Inf" are not a finite number`},
		{"-Inf", "a:b:1:-inf", `t:1: the seconds "-inf" are not a finite number`},
		{"negative", "a:b:1:-0.5", `t:1: the seconds "-0.5" are negative`},
		{"beyond float64, negative", "a:b:1:-1e999", `t:1: the seconds "-1e999" are negative`},
		{"more than a day", "a:b:1:86400.1", `t:1: the seconds "86400.1" are more than 86400, a day`},
		{"beyond float64", "a:b:1:1e999", `t:1: the seconds "1e999" are more than 86400, a day`},
		{"duplicate", "a:b:1:1\n\na:b:2:2\na:b:3:3\n", "t:3: the same task as in line 1\nt:4: the same task as in line 1"},
		{"duplicate in other words", "[::1]:\\b:1:1\n\\:\\:1:\\\\b:2:2\n", "t:2: the same task as in line 1"},
		{"line too long", "a:b:" + strings.Repeat("r", lines.MaxLine-5) + ":0\nx\n",
			"t:1: the line is longer than 1 MiB\nt:2: 1 of the 4 fields host:command:response:seconds"},
		{"line far too long", strings.Repeat("r", 5*lines.MaxLine) + "\nx", "t:1: the line is longer than 1 MiB\n" +
			"t:2: 1 of the 4 fields host:command:response:seconds"},
		{"last line far too long", "a:b:1:1\n" + strings.Repeat("r", 3*lines.MaxLine), "t:2: the line is longer than 1 MiB"},
	} {
		t.Run(c.name, func(t *testing.T) {
			table, err := Parse("t", strings.NewReader(c.file), Options{})
			var fileError *lines.FileError
			if table != nil || !errors.As(err, &fileError) || !errors.Is(err, lines.ErrBadFile) {
				t.Fatalf("got %v, %v", table, err)
			}
			if err.Error() != c.want {
				t.Errorf("got  %s\nwant %s", err, c.want)
			}
		})
	}
}

func TestFileErrorNamesTwenty(t *testing.T) {
	for _, lines := range []int{19, 20, 21, 1000} {
		_, err := Parse("t", strings.NewReader(strings.Repeat("bad\n", lines)), Options{})
		var want strings.Builder
		for n := 1; n <= min(lines, 20); n++ {
			fmt.Fprintf(&want, "t:%d: 1 of the 4 fields host:command:response:seconds\n", n)
		}
		if lines > 20 {
			fmt.Fprintf(&want, "… and %d more\n", lines-20)
		}
		if err.Error()+"\n" != want.String() {
			t.Errorf("%d lines: got\n%s", lines, err)
		}
	}
}

func TestParseTableReadError(t *testing.T) {
	broken := errors.New("broken")
	r := io.MultiReader(strings.NewReader("a:b:1:1\nbad\n"), iotest.ErrReader(broken))
	if table, err := Parse("t", r, Options{}); table != nil || !errors.Is(err, broken) || errors.Is(err, lines.ErrBadFile) {
		t.Errorf("got %v, %v", table, err)
	}
}

func TestTaskKey(t *testing.T) {
	for _, c := range []struct{ host, command, want string }{
		{"137.72.95.0", "foo", "137.72.95.0:foo"},
		{"::1", "foo", "[::1]:foo"},
		{"fe80::1%eth0", "a:b", `[fe80::1%eth0]:a\:b`},
		{"fe80::1%]", "foo", `fe80\:\:1%]:foo`},
		{"[::1]", "foo", `[\:\:1]:foo`},
		{"a:b", `c\d`, `a\:b:c\\d`},
		{"a", "b:c", `a:b\:c`},
		{"[", ":1]:foo", `[:\:1]\:foo`},
	} {
		if got := string(Key(c.host, c.command)); got != c.want {
			t.Errorf("Key(%q, %q) is %s, want %s", c.host, c.command, got, c.want)
		}
	}
}

// Every pair of short fields over the bytes that mean something must have a key of its own.
func TestTaskKeyNeverCollides(t *testing.T) {
	texts := []string{""}
	for start, length := 0, 0; length < 4; length++ {
		end := len(texts)
		for _, s := range texts[start:end] {
			for _, b := range `:\[]1` {
				texts = append(texts, s+string(b))
			}
		}
		start = end
	}
	texts = append(texts, "fe80::1%:", `fe80::1%\`, "fe80::1%]", "fe80::1%]:", "[fe80::1%", "::1]:", `\:\:1`)
	seen := make(map[string][2]string)
	for _, host := range texts {
		for _, command := range texts {
			key := string(Key(host, command))
			if other, ok := seen[key]; ok {
				t.Fatalf("%q and %q share the key %q", other, [2]string{host, command}, key)
			}
			seen[key] = [2]string{host, command}
		}
	}
}

func TestAppendTaskKey(t *testing.T) {
	for _, c := range []struct {
		line, want string
		err        error
	}{
		{"137.72.95.0:foo", "137.72.95.0:foo", nil},
		{`db\-1:ls C\:\x\`, `db\\-1:ls C\:\\x\\`, nil},
		{`\:\:1:foo`, "[::1]:foo", nil},
		{"[::1]:foo", "[::1]:foo", nil},
		{`2001\:DB8\:\:0\:1:Foo`, "[2001:db8::1]:Foo", nil},
		{"[FE80:0:0::1%Eth0]:foo", "[fe80::1%Eth0]:foo", nil},
		{"Node-A:Foo", "node-a:Foo", nil},
		{"foo", "", errNoColon},
		{`foo\:bar`, "", errNoColon},
		{"a:b:c", "", errExtraColon},
		{"::1:foo", "", errExtraColon},
		{":foo", "", errEmptyHost},
		{"a:", "", errEmptyCommand},
		{"[]:a", "", errNotIPv6},
		{"[::1]", "", errNoColon},
		{"[::1]:", "", errEmptyCommand},
	} {
		got, err := AppendKey([]byte("before"), []byte(c.line))
		if string(got) != "before"+c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: got %s, %v", c.line, got, err)
		}
		if len(got)-len("before") > 2*len(c.line)+2 {
			t.Errorf("%s: the key is longer than promised", c.line)
		}
	}
	dst, line := make([]byte, 0, 64), []byte("137.72.95.0:foo")
	if n := testing.AllocsPerRun(100, func() { dst, _ = AppendKey(dst[:0], line) }); n != 0 {
		t.Errorf("%v allocations a key", n)
	}
}

// testdata is what its generator writes, and what the first ancestor of shoal was measured with.
func TestTestdataIsGenerated(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("go", "run", "../../testdata/generate.go", "-dir", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"commands.txt", "table.txt"} {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("../../testdata", name))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("testdata/%s is not what testdata/generate.go writes", name)
		}
	}
	file, err := os.Open("../../testdata/table.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	table, err := Parse("table.txt", file, Options{})
	if err != nil || len(table) != 512 {
		t.Fatalf("%d entries, %v", len(table), err)
	}
	for n := range 256 {
		for _, command := range []string{"foo", "bar"} {
			key := fmt.Sprintf("137.72.95.%d:%s", n, command)
			if e := table[key]; string(e.Response) != "1" || e.Wait != time.Second {
				t.Errorf("%s: %v", key, e)
			}
		}
	}
}

// What was parsed, written out again in canonical form, must parse to the same table.
func FuzzParseTable(f *testing.F) {
	f.Add([]byte("137.72.95.0:foo:1:1\n# c\n\n[::1]:a\\:b:\\\\:0.5\r\n"))
	f.Add([]byte("\ufeffh:c:r:0\nh:c:r:nan\n::1:x:y:z\n[fe80::1%\\]:x::0"))
	f.Fuzz(func(t *testing.T, file []byte) {
		table, err := Parse("t", bytes.NewReader(file), Options{AllowDuplicates: true})
		if err != nil {
			if !errors.Is(err, lines.ErrBadFile) {
				t.Fatal(err)
			}
			return
		}
		again := bytes.NewBufferString("# keeps a BOM off the first line\n")
		for key, e := range table {
			line := append(appendEscaped([]byte(key+":"), string(e.Response)), fmt.Sprintf(":%.9f", e.Wait.Seconds())...)
			if len(line) > lines.MaxLine {
				return
			}
			again.Write(append(line, '\n'))
		}
		got, err := Parse("again", again, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, table) {
			t.Errorf("got  %q\nwant %q", got, table)
		}
	})
}

// The key that a line gives is that of its fields, and gives itself.
func FuzzAppendTaskKey(f *testing.F) {
	for _, line := range []string{"a:b", `a\:b:c\\d\e\`, "[::1]:x", `\:\:1:x`, `[fe80::1%\:]:x`, `fe80\:\:1%]:x`} {
		f.Add([]byte(line))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		key, err := AppendKey(nil, line)
		if err != nil {
			return
		}
		if len(key) > 2*len(line)+2 {
			t.Errorf("%d bytes for a line of %d", len(key), len(line))
		}
		if again, err := AppendKey(nil, key); err != nil || !bytes.Equal(again, key) {
			t.Errorf("%q gives %q, %v", key, again, err)
		}
		for _, text := range [][]byte{line, key} {
			split, err := splitLine(text)
			if err != nil {
				t.Fatal(err)
			}
			host, command := split.raw[0], appendUnescaped(nil, split.raw[1])
			if !split.bracketed {
				host = appendUnescaped(nil, host)
			}
			if want := Key(string(host), string(command)); !bytes.Equal(key, want) {
				t.Errorf("%q: got %q, want %q", text, key, want)
			}
		}
	})
}
