package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// openTerminal opens a pseudo-terminal of 100 columns; what is written to its other end can be read from out.
func openTerminal(t *testing.T) (tty *os.File, out *text) {
	t.Helper()
	_, tty, out = openKeyboard(t)
	return tty, out
}

// openKeyboard is openTerminal with the other end: what is written to it has been typed.
func openKeyboard(t *testing.T) (master, tty *os.File, out *text) {
	t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip(err) // a container without terminals
	} else if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = master.Close() })
	conn, err := master.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var number int
	control := conn.Control(func(fd uintptr) {
		if err = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0); err == nil {
			number, err = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
		}
		if err == nil {
			err = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: 100})
		}
	})
	if control != nil || err != nil {
		t.Fatal(control, err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Fatal(err)
	}
	out = &text{}
	go func() { // ends when the terminal is closed
		buf := make([]byte, 4096)
		for {
			n, err := master.Read(buf)
			_, _ = out.Write(buf[:n])
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() { _ = tty.Close() })
	return master, tty, out
}

// On a terminal there is a progress line while tasks run, and it is gone at the end.
func TestProgressOnTerminal(t *testing.T) {
	t.Parallel()
	tty, out := openTerminal(t)
	table := file(t, "h:a:1:0\nh:b:1:0.8\n")
	r := start(t, func(c *exec.Cmd) {
		c.Stderr = tty
		c.Stdin = strings.NewReader(strings.Repeat("h:a\n", 99) + "h:b\n")
		c.Env = append(c.Env, "TERM=xterm", "NO_COLOR=")
	}, "client", "run", "--embedded", "--table", table, "-")
	if status := r.wait(); status != 0 {
		t.Fatal(status, out.String())
	}
	eventually(t, "the counts", func() bool { return strings.Contains(out.String(), "sum 100") })
	if !regexp.MustCompile(`\r\x1b\[K99/100 tasks done, 0 failed, \S+ left, \d+ tasks/s`).MatchString(out.String()) {
		t.Errorf("no progress in %q", out.String())
	}
	if !regexp.MustCompile(`\r\x1b\[K100 tasks: 100 ok; [^\r\n]*; sum 100\r\n$`).MatchString(out.String()) {
		t.Errorf("the line is not gone before the counts: %q", out.String())
	}
}

// Where results go to the same terminal, the line makes way for each.
func TestResultsAndProgressOnOneTerminal(t *testing.T) {
	t.Parallel()
	tty, out := openTerminal(t)
	table := file(t, "h:a:1:0\nh:b:2:0.3\nh:c:3:0.6\n")
	r := start(t, func(c *exec.Cmd) {
		c.Stdout, c.Stderr = tty, tty
		c.Stdin = strings.NewReader("h:a\nh:b\nh:c\n")
		c.Env = append(c.Env, "TERM=xterm", "NO_COLOR=")
	}, "client", "run", "--embedded", "--table", table, "-")
	if status := r.wait(); status != 0 {
		t.Fatal(status, out.String())
	}
	eventually(t, "the counts", func() bool { return strings.Contains(out.String(), "sum 6") })
	shown := regexp.MustCompile(`[^\n]*\r\x1b\[K`).ReplaceAllString(strings.ReplaceAll(out.String(), "\r\n", "\n"), "")
	if !regexp.MustCompile(`^h:a\tok\t1\nh:b\tok\t2\nh:c\tok\t3\n3 tasks: 3 ok; .*; sum 6\n$`).MatchString(shown) {
		t.Errorf("the terminal shows %q", shown)
	}
}

// A transfer of files draws its line and makes way for the lines of results, too.
func TestFilesProgressOnOneTerminal(t *testing.T) {
	t.Parallel()
	from := tree(t, 3<<20)
	g := serve(t, "--root", from)
	tty, out := openTerminal(t)
	r := start(t, func(c *exec.Cmd) {
		c.Stdout, c.Stderr = tty, tty
		c.Env = append(c.Env, "TERM=xterm", "NO_COLOR=")
	}, "client", "--gateway", g.urls[0], "get", "large.bin", "latest", "--to", t.TempDir(), "--bwlimit", "4M", "--output", "jsonl")
	if status := r.wait(); status != 0 {
		t.Fatal(status, out.String())
	}
	eventually(t, "the counts", func() bool { return strings.Contains(out.String(), "got 1 file") })
	if !regexp.MustCompile(`\r\x1b\[K\d/\d files, \S+ \S+/3\.0 MiB, \S+ MiB/s`).MatchString(out.String()) {
		t.Errorf("no progress in %q", out.String())
	}
	shown := regexp.MustCompile(`[^\n]*\r\x1b\[K`).ReplaceAllString(strings.ReplaceAll(out.String(), "\r\n", "\n"), "")
	if !regexp.MustCompile(`^(\{"path":"[^\n]*\}\n){2}got 1 file, 1 links; 3.0 MiB in [^\n]*\n$`).MatchString(shown) {
		t.Errorf("the terminal shows %q", shown)
	}
}

// NO_COLOR, --quiet and a terminal that can do nothing ask for calm.
func TestCalmTerminal(t *testing.T) {
	t.Parallel()
	table := file(t, "h:b:1:0.3\n")
	for name, c := range map[string]struct{ env, flag, want string }{
		"NO_COLOR": {"NO_COLOR=1", "--wait=0s", `^1 task: 1 ok; .*\r\n$`},
		"dumb":     {"TERM=dumb", "--wait=0s", `^1 task: 1 ok; .*\r\n$`},
		"quiet":    {"TERM=xterm", "--quiet", `^$`},
	} {
		tty, out := openTerminal(t)
		r := start(t, func(cmd *exec.Cmd) {
			cmd.Stderr = tty
			cmd.Stdin = strings.NewReader("h:b\n")
			cmd.Env = append(cmd.Env, c.env)
		}, "client", c.flag, "run", "--embedded", "--table", table, "-")
		status := r.wait()
		eventually(t, "what the terminal shows", func() bool { return name == "quiet" || strings.Contains(out.String(), "sum 1\r\n") })
		if !regexp.MustCompile(c.want).MatchString(out.String()) || status != 0 {
			t.Errorf("%s: status %d, %q", name, status, out.String())
		}
	}
}

// Whatever a gateway answers, a terminal obeys none of it, but where that is asked for.
func TestTerminalObeysNoPeer(t *testing.T) {
	t.Parallel()
	g := serve(t, "--table", file(t, "h:c:\x1b]0;title\a\xc2\x9b31m:0\n"))
	for _, args := range []string{"call table h:c", "map table", "map table --output csv", "map table --output jsonl", "--raw call table h:c"} {
		tty, out := openTerminal(t)
		r := start(t, func(cmd *exec.Cmd) {
			cmd.Stdout, cmd.Stderr, cmd.Stdin = tty, tty, strings.NewReader("h:c\n")
		}, append([]string{"client", "-q", "--gateway", g.urls[0]}, strings.Fields(args)...)...)
		if status := r.wait(); status != exitOK {
			t.Errorf("%s: status %d, %q", args, status, out.String())
		}
		eventually(t, "the terminal shows the answer", func() bool { return strings.Contains(out.String(), "31m") })
		raw := strings.ContainsAny(out.String(), "\x1b\a\u009b")
		if wanted := strings.HasPrefix(args, "--raw"); raw != wanted {
			t.Errorf("%s: %q", args, out.String())
		}
	}
}
