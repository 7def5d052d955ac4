package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// refused checks that bad input got its status and an error that says want, on one line, and nothing on standard output.
func refused(t *testing.T, o outcome, status int, want string) {
	t.Helper()
	o.want(t, status)
	if o.stdout != "" || !strings.HasPrefix(o.stderr, "shoal: ") || !strings.Contains(o.stderr, want) || strings.Count(o.stderr, "\n") != 1 {
		t.Errorf("standard output %q, standard error %q, want %q on one line", o.stdout, o.stderr, want)
	}
}

func TestBadInputFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	empty := file(t, "")
	for _, c := range []struct {
		name string
		args []string
		want string
	}{
		{"commands missing", []string{"client", "run", dir + "/none"}, "/none: no such file"},
		{"commands a directory", []string{"client", "run", dir}, ": a directory, not a file"},
		{"commands empty", []string{"client", "run", empty}, ": no tasks: write host:command"},
		{"commands on standard input empty", []string{"client", "run", "-"}, "/dev/stdin: no tasks"},
		{"commands without a name", []string{"client", "run", ""}, "the file name is empty"},
		{"table missing", []string{"server", "--table", dir + "/none"}, "/none: no such file"},
		{"table a directory", []string{"server", "--table", dir}, ": a directory, not a file"},
		{"table empty", []string{"server", "--table", empty}, ": no entries: write host:command:response:seconds"},
		{"table NaN", []string{"server", "--table", file(t, "h:a:1:NaN\n")}, `:1: the seconds "NaN" are not a finite number`},
		{"table Inf", []string{"server", "--table", file(t, "h:a:1:0\nh:b:1:-Inf\n")}, `:2: the seconds "-Inf" are not a finite number`},
		{"table negative", []string{"server", "--table", file(t, "h:a:1:-0.1\n")}, `:1: the seconds "-0.1" are negative`},
		{"table absurd", []string{"server", "--table", file(t, "h:a:1:1e300\n")}, `:1: the seconds "1e300" are more than 86400, a day`},
		{"table no number", []string{"server", "--table", file(t, "h:a:1:soon\n")}, `:1: the seconds "soon" are`},
		{"table short line", []string{"server", "--table", file(t, "h:a:1\n")}, ":1: 3 of the 4 fields"},
		{"table duplicates", []string{"server", "--table", file(t, "h:a:1:0\n# x\nh:a:2:0\n")}, ":3: the same task as in line 1"},
		{"embedded table missing", []string{"client", "run", "--embedded", "--table", dir + "/none", commandsTxt}, "/none: no such file"},
		{"embedded without table", []string{"client", "run", "--embedded", commandsTxt}, "--embedded needs --table FILE"},
		{"table without embedded", []string{"client", "run", "--table", tableTxt, commandsTxt}, "--table goes with --embedded"},
		{"body missing", []string{"client", "send", "store", dir + "/none"}, "/none: no such file"},
		{"body a directory", []string{"client", "send", "store", dir}, ": a directory, not a file"},
		{"ready file in no folder", []string{"server", "--log-level", "error", "--listen", "tcp://127.0.0.1:0", "--ready-file", dir + "/none/ready"}, "no such file or directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			refused(t, shoal(t, "", c.args...), exitUsage, c.want)
		})
	}
}

// Every malformed line is named, the first twenty, then a count; nothing is sent before.
func TestMalformedLines(t *testing.T) {
	t.Parallel()
	name := file(t, "h:a\nbad\n:b\nh:\n::1:x\n"+strings.Repeat("worse\n", 30))
	o := shoal(t, "", "client", "run", name).want(t, exitUsage)
	want := "shoal: " + name + ":2: no colon: write host:command\n" + name + ":3: the host is empty\n" + name + ":4: the command is empty\n"
	if !strings.HasPrefix(o.stderr, want) || strings.Count(o.stderr, "\n") != 21 || !strings.HasSuffix(o.stderr, "… and 14 more\n") || o.stdout != "" {
		t.Errorf("%s", o.stderr)
	}
	o = shoal(t, "", "server", "--table", file(t, "h:a:1:NaN\nh:a:1:-1\nh:b\n")).want(t, exitUsage)
	if strings.Count(o.stderr, "\n") != 3 {
		t.Errorf("%s", o.stderr)
	}
}

func TestAllowDuplicates(t *testing.T) {
	t.Parallel()
	table := file(t, "h:a:first:0\nh:a:later:0\n")
	o := shoal(t, "h:a\n", "client", "run", "--embedded", "--table", table, "--allow-duplicates", "-").want(t, 0)
	g := serve(t, "--table", table, "--allow-duplicates")
	if call := g.client(t, "", "call", "table", "h:a").want(t, 0); o.stdout != "h:a\tok\tlater\n" || call.stdout != "later" {
		t.Errorf("%q, %q", o.stdout, call.stdout)
	}
}

func TestBadUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, want string }{
		{"client run --batch 0 f", "--batch 0: it has to be at least 1"},
		{"client run --batch=-1 f", "--batch -1: it has to be at least 1"},
		{"client map --batch 0 square", "--batch 0: it has to be at least 1"},
		{"client --connections 0 ping", "--connections 0: it has to be from 1"},
		{"client --connections=-3 ping", "--connections -3: it has to be from 1"},
		{"client --connections 0 call square 1", "--connections 0: it has to be from 1"},
		{"client --wait=-1s ping", "--wait -1s: it cannot be negative"},
		{"client run --timeout=-1s f", "--timeout -1s: it cannot be negative"},
		{"client call square 1 --timeout=-1s", "--timeout -1s: it cannot be negative"},
		{"client run --workers 0 f", "--workers 0: it has to be at least 1"},
		{"client stream --streams 0 sensor", "--streams 0: it has to be at least 1"},
		{"client run f --retry-failed", "--retry-failed goes with --retries N"},
		{"client map square --retry-failed", "--retry-failed goes with --retries N"},
		{"client map square --retries=-1", "--retries -1: it cannot be negative"},
		{"client map square --timeout=-1s", "--timeout -1s: it cannot be negative"},
		{"client map square --batch 0", "--batch 0: it has to be at least 1"},
		{"client ping -n 0", "-n has to be at least 1"},
		{"client call square x --json", "is not JSON"},
		{"client --gateway nowhere ping", `--gateway: bad URL "nowhere": write tcp://host:port, tls://host:port or unix:///path`},
		{"client --gateway tcp://nowhere ping", "a tcp URL is tcp://host:port"},
		{"client --gateway tcp://127.0.0.1:1857/ ping", "write tcp://127.0.0.1:1857, without the slash at the end"},
		{"client --gateway tcp://[fe80::1%eth0]:1857 ping", "write tcp://[fe80::1%25eth0]:1857"},
		{"client --heartbeat 0 ping", "--heartbeat and --give-up have to be positive"},
		{"client --gateway unix://path ping", "a unix URL is unix:///path, with three slashes"},
		{"client --gateway unix:///" + strings.Repeat("x", 200) + " ping", "the path of a unix socket has at most"},
		{"server --listen nowhere", `bad URL "nowhere"`},
		{"server --listen tcp://127.0.0.1:99999", "invalid port"},
		{"server --workers 0", "--workers"},
		{"server --listen tcp://0.0.0.0:0", "other machines reach it"},
		{"server --listen tls://127.0.0.1:0", "give --tls too"},
		{"server --rights /nowhere/rights.toml", "shoal rights example"},
		{"server --max-handlers=-1", "--max-handlers"},
		{"server --drain-timeout=-1s", "--drain-timeout"},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			refused(t, shoal(t, "", strings.Fields(c.args)...), exitUsage, c.want)
		})
	}
	for _, args := range []string{"", "client", "bogus", "client run", "client run f --keep-ordr", "client run f --output xml", "client run f --batch x", "server --log-level loud"} {
		o := shoal(t, "", strings.Fields(args)...).want(t, exitUsage)
		if !strings.HasSuffix(o.stderr, "Try 'shoal --help', or --help after a command.\n") || strings.Count(o.stderr, "\n") != 2 {
			t.Errorf("%s: %s", args, o.stderr)
		}
	}
}

// Root may read everything, so the process runs as somebody else.
func TestNoPermission(t *testing.T) {
	t.Parallel()
	secret := file(t, "h:a:1:0\n")
	if err := os.Chmod(secret, 0); err != nil {
		t.Fatal(err)
	}
	nobody := func(c *exec.Cmd) {
		if os.Getuid() == 0 {
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
	}
	if parent := filepath.Dir(filepath.Dir(secret)); os.Getuid() == 0 {
		if err := os.Chmod(parent, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	sock := socketPath(t)
	locked := serve(t, "--listen", "unix://"+sock)
	if err := os.Chmod(sock, 0); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(sock), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		status int
		want   string
		args   []string
	}{
		{exitUsage, ": no permission to read it: check its owner and mode", []string{"client", "run", secret}},
		{exitUsage, ": no permission to read it: check its owner and mode", []string{"server", "--table", secret}},
		{exitUsage, "no permission to listen on", []string{"server", "--listen", "unix://" + filepath.Dir(sock) + "/new"}},
		{exitUnreachable, "check the owner and mode of the socket", []string{"client", "--gateway", locked.urls[0], "ping"}},
	} {
		if os.Getuid() != 0 && strings.Contains(c.want, "listen") {
			continue // the folder is ours
		}
		r := start(t, nobody, c.args...)
		status := r.wait()
		refused(t, outcome{r.stdout.String(), r.stderr.String(), status}, c.status, c.want)
	}
}

func TestAddressInUse(t *testing.T) {
	t.Parallel()
	g := serve(t, "--listen", "tcp://127.0.0.1:0", "--listen", "unix://"+socketPath(t))
	for _, url := range g.urls {
		refused(t, shoal(t, "", "server", "--listen", url), exitUsage, url+" is in use: stop what listens there, or choose another ")
	}
	notSocket := file(t, "important")
	refused(t, shoal(t, "", "server", "--listen", "unix://"+notSocket), exitUsage, "is no socket: remove it, or choose another path")
	if data, err := os.ReadFile(notSocket); err != nil || string(data) != "important" {
		t.Errorf("the file that was no socket: %q, %v", data, err)
	}
}

// A socket that a killed server left behind is no address in use.
func TestStaleSocket(t *testing.T) {
	t.Parallel()
	url := "unix://" + socketPath(t)
	g := serve(t, "--listen", url)
	g.signal(os.Kill)
	<-g.ended
	again := serve(t, "--listen", url)
	again.client(t, "", "ping").want(t, 0)
}

func TestNoGateway(t *testing.T) {
	t.Parallel()
	refused(t, shoal(t, "", "client", "--gateway", "tcp://127.0.0.1:1", "run", commandsTxt), exitUnreachable, "start one with 'shoal server'")
	refused(t, shoal(t, "", "client", "--gateway", "unix://"+socketPath(t), "ping"), exitUnreachable, "start one with 'shoal server'")
	refused(t, shoal(t, "", "client", "--gateway", "unix://"+file(t, ""), "ping"), exitUnreachable, "is no socket")
	refused(t, shoal(t, "", "client", "--gateway", "tcp://nosuchhost.invalid:1", "ping"), exitUnreachable, "lookup nosuchhost.invalid")
}

// What listens may be anything: one that talks first, one that answers in its own way, one that hangs up, one that says
// nothing.
func TestNotShoal(t *testing.T) {
	t.Parallel()
	for name, peer := range map[string]func(net.Conn){
		"talks first": func(c net.Conn) { fmt.Fprint(c, "220 mail.example ESMTP ready, and a line long enough\r\n") },
		"answers": func(c net.Conn) {
			_, _ = c.Read(make([]byte, 16))
			fmt.Fprint(c, "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n400 Bad Request")
		},
		"hangs up":     func(c net.Conn) { _ = c.Close() },
		"says nothing": func(net.Conn) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ln, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer ln.Close()
			go func() { // ends with the listener
				var kept []net.Conn
				for {
					conn, err := ln.Accept()
					if err != nil {
						break
					}
					kept = append(kept, conn)
					peer(conn)
				}
				for _, conn := range kept {
					_ = conn.Close()
				}
			}()
			refused(t, shoal(t, "", "client", "--gateway", "tcp://"+ln.Addr().String(), "ping"), exitUnreachable, "check --gateway or SHOAL_GATEWAY")
		})
	}
}

func TestFull(t *testing.T) {
	t.Parallel()
	g := serve(t, "--demo", "--max-handlers", "1")
	holder := start(t, nil, "client", "--gateway", g.urls[0], "--connections", "1", "stream", "sensor", `{"count":100000}`)
	eventually(t, "the one handler is taken", func() bool { return holder.stdout.String() != "" })
	refused(t, g.client(t, "", "call", "square", "1"), exitUnreachable, "start it with a larger --max-handlers")
}
