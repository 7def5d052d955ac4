package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"shoal/netio"
)

// stats asks the gateway what it does.
func (g *gateway) stats(t *testing.T) (s netio.Stats) {
	t.Helper()
	o := g.client(t, "", "call", "shoal.stats").want(t, 0)
	if err := json.Unmarshal([]byte(o.stdout), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// held waits until so many tasks wait at the gateway.
func (g *gateway) held(t *testing.T, n int) {
	t.Helper()
	eventually(t, fmt.Sprintf("%d tasks wait at the gateway", n), func() bool { return g.stats(t).Held == n })
}

// Ctrl+C on the server: what runs is finished and answered, what is new is refused as draining, and it exits well.
func TestServerDrains(t *testing.T) {
	t.Parallel()
	g := serve(t, "--table", file(t, "h:slow:1:10\nh:quick:2:0\n"))
	client := start(t, nil, "client", "--gateway", g.urls[0], "--connections", "1", "map", "table")
	fmt.Fprintln(client.stdin, "h:slow")
	g.held(t, 1)
	g.signal(os.Interrupt)
	eventually(t, "the gateway drains", func() bool { return strings.Contains(g.stderr.String(), "gateway drains") })
	fmt.Fprintln(client.stdin, "h:quick")
	eventually(t, "the new task is refused", func() bool { return strings.Contains(client.stdout.String(), "h:quick\tdraining\t") })
	refused(t, g.client(t, "", "call", "table", "h:quick"), exitUnreachable, "start it again, or name another with --gateway")
	_ = client.stdin.Close()
	if status := client.wait(); status != exitFailed || !strings.Contains(client.stdout.String(), "h:slow\tok\t1\n") {
		t.Errorf("client: status %d\n%s%s", status, client.stdout.String(), client.stderr.String())
	}
	if status := g.wait(); status != 0 || !strings.Contains(g.stderr.String(), "gateway stopped") || g.stdout.String() != "" {
		t.Errorf("server: status %d\n%s", status, g.stderr.String())
	}
	if _, err := os.Stat(g.cmd.Args[3]); !os.IsNotExist(err) {
		t.Errorf("the ready file is still there: %v", err)
	}
}

// A second Ctrl+C, or the drain's end, cuts it short.
func TestServerDrainCutShort(t *testing.T) {
	t.Parallel()
	table := file(t, "h:slow:1:600\n")
	for name, args := range map[string][]string{
		"second interrupt": {"--table", table},
		"drain timeout":    {"--table", table, "--drain-timeout", "200ms"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := serve(t, args...)
			start(t, nil, "client", "--gateway", g.urls[0], "call", "table", "h:slow")
			g.held(t, 1)
			g.signal(os.Interrupt)
			eventually(t, "the gateway drains", func() bool { return strings.Contains(g.stderr.String(), "gateway drains") })
			if name == "second interrupt" {
				time.Sleep(50 * time.Millisecond)
				select {
				case <-g.ended:
					t.Error("did not wait for the running task")
				default:
					g.signal(os.Interrupt)
				}
			}
			if status := g.wait(); status != exitUnknown || !strings.Contains(g.stderr.String(), "stopped before all was done") {
				t.Errorf("status %d\n%s", status, g.stderr.String())
			}
		})
	}
}

// Ctrl+C on the client: what is in flight is cancelled at the gateway, what came is printed and counted.
func TestClientInterrupted(t *testing.T) {
	t.Parallel()
	g := serve(t, "--table", file(t, "h:slow:1:600\nh:quick:2:0\n"))
	commands := file(t, "h:quick\n"+strings.Repeat("h:slow\n", 20))
	client := start(t, nil, "client", "--gateway", g.urls[0], "run", commands)
	eventually(t, "what is quick is answered", func() bool { return client.stdout.String() != "" })
	g.held(t, 20)
	client.signal(os.Interrupt)
	if status := client.wait(); status != exitInterrupted {
		t.Errorf("status %d", status)
	}
	if out := client.stdout.String(); out != "h:quick\tok\t2\n"+strings.Repeat("h:slow\tcanceled\tcanceled\n", 20) {
		t.Errorf("%q", out)
	}
	if err := client.stderr.String(); !strings.HasPrefix(err, "21 tasks: 1 ok, 20 canceled; ") || strings.Count(err, "\n") != 1 {
		t.Errorf("%q", err)
	}
	g.held(t, 0)
}

// Ctrl+C ends every client command at once, also one that waits for a gateway or for its standard input.
func TestEveryCommandCanBeInterrupted(t *testing.T) {
	t.Parallel()
	nowhere := "unix://" + socketPath(t)
	printed := func(g *gateway, r *running) bool { return r.stdout.String() != "" }
	for _, c := range []struct {
		name  string
		args  []string
		input string
		runs  func(g *gateway, r *running) bool // whether it is where it waits
	}{
		{"call", []string{"call", "table", "h:slow"}, "", func(g *gateway, _ *running) bool { return g.stats(t).Held == 1 }},
		{"map", []string{"map", "square"}, "2\n", printed},
		{"send", []string{"send", "store", "-"}, "", func(g *gateway, _ *running) bool { return g.stats(t).Streams == 1 }},
		{"stream", []string{"stream", "sensor", `{"count":1000000}`}, "", printed},
		{"ping", []string{"ping", "-n", "100000"}, "", printed},
		{"wait", []string{"--gateway", nowhere, "--wait", "1h", "call", "square", "1"}, "", func(*gateway, *running) bool {
			time.Sleep(8 * time.Second) // there is no sign of it
			return true
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := serve(t, "--demo", "--table", file(t, "h:slow:1:600\n"))
			args := append([]string{"client"}, c.args...)
			if c.name != "wait" {
				args = append([]string{"client", "--gateway", g.urls[0]}, c.args...)
			}
			r := start(t, nil, args...)
			_, _ = io.WriteString(r.stdin, c.input)
			eventually(t, "it runs", func() bool { return c.runs(g, r) })
			begun := time.Now()
			r.signal(os.Interrupt)
			if status := r.wait(); status != exitInterrupted || time.Since(begun) > 5*time.Second {
				t.Errorf("status %d after %v: %s", status, time.Since(begun), r.stderr.String())
			}
		})
	}
}

func TestTableReload(t *testing.T) {
	t.Parallel()
	table := file(t, "h:a:old:0\n")
	g := serve(t, "--table", table)
	answer := func() string { return g.client(t, "", "call", "table", "h:a").want(t, 0).stdout }
	reload := func(content string) {
		t.Helper()
		if err := os.WriteFile(table, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		g.signal(syscall.SIGHUP)
	}
	if got := answer(); got != "old" {
		t.Fatal(got)
	}
	reload("h:a:new:0\n")
	eventually(t, "the new table", func() bool { return answer() == "new" })
	reload("h:a:newer:0\nh:b:1:NaN\n")
	eventually(t, "the bad table is named", func() bool {
		return strings.Contains(g.stderr.String(), "the old one stays") && strings.Contains(g.stderr.String(), "are not a finite number")
	})
	if got := answer(); got != "new" {
		t.Errorf("after a bad table: %q", got)
	}
	reload("h:a:last:0\n")
	eventually(t, "a good table again", func() bool { return answer() == "last" })
}

// Closing its terminal ends a server that has no table to read again, as an interrupt does; one that was told to ignore that
// goes on.
func TestHangupWithoutTable(t *testing.T) {
	t.Parallel()
	g := serve(t, "--demo")
	g.signal(syscall.SIGHUP)
	if status := g.wait(); status != 0 || !strings.Contains(g.stderr.String(), "gateway stopped") {
		t.Errorf("status %d\n%s", status, g.stderr.String())
	}
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	g = serveWith(t, func(c *exec.Cmd) { // as nohup does
		c.Args = append([]string{"sh", "-c", `trap "" HUP; exec "$@"`, "sh", path}, c.Args[1:]...)
		c.Path, c.Err = "/bin/sh", nil
	}, "--demo")
	g.signal(syscall.SIGHUP)
	g.client(t, "", "call", "square", "3").want(t, 0)
}

func TestStop(t *testing.T) {
	t.Parallel()
	g := serve(t, "--demo")
	refused(t, g.client(t, "", "stop"), exitFailed, "may not be stopped by clients")
	g.client(t, "", "ping").want(t, 0)

	dir := t.TempDir()
	g = serveWith(t, func(c *exec.Cmd) { c.Env = append(c.Env, "TMPDIR="+dir) }, "--demo", "--allow-stop")
	if entries, _ := os.ReadDir(dir); len(entries) != 1 {
		t.Errorf("the demo has %d folders", len(entries))
	}
	if o := g.client(t, "", "stop").want(t, 0); o.stdout+o.stderr != "" {
		t.Errorf("%q, %q", o.stdout, o.stderr)
	}
	if status := g.wait(); status != 0 || !strings.Contains(g.stderr.String(), "a client stops the gateway") {
		t.Errorf("status %d\n%s", status, g.stderr.String())
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 0 {
		t.Errorf("left behind: %v", entries)
	}
}

// Nothing is written where nobody reads any more, and that is no error; a full disk is one.
func TestOutputGoesAway(t *testing.T) {
	t.Parallel()
	g := serve(t, "--demo")
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	client := start(t, func(c *exec.Cmd) { c.Stdout = w }, "client", "--gateway", g.urls[0], "stream", "sensor", `{"count":1000000000,"interval_ms":0}`)
	_ = w.Close()
	if _, err := io.ReadFull(r, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	_ = r.Close()
	if status := client.wait(); status != 0 || client.stderr.String() != "" {
		t.Errorf("status %d, %q", status, client.stderr.String())
	}
	eventually(t, "the stream has ended at the gateway", func() bool { return g.stats(t).Streams == 0 })

	full := fullDisk(t)
	client = start(t, func(c *exec.Cmd) { c.Stdout = full }, "client", "--gateway", g.urls[0], "call", "square", "3")
	if status := client.wait(); status != exitInternal || client.stderr.String() != "shoal: standard output: no space left on device\n" {
		t.Errorf("status %d, %q", status, client.stderr.String())
	}
}
