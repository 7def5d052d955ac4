package main

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"shoal/netio/runner/sshtest"
)

// Lines come while their commands run, whole and with their targets.
func TestExecLive(t *testing.T) {
	t.Parallel()
	g := serve(t, "--exec")
	gate := t.TempDir() + "/gate"
	if err := syscall.Mkfifo(gate, 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, nil, "client", "--gateway", g.urls[0], "exec", "--via", "exec", "--live", "--shell", "-w", "n1", "--",
		"printf 'o'; printf 'ne\nhal'; echo err >&2; read x <"+gate+"; printf 'f\nend'")
	eventually(t, "the first lines", func() bool {
		return r.stdout.String() == "n1: one\n" && strings.Contains(r.stderr.String(), "n1: err\n")
	})
	if err := os.WriteFile(gate, []byte("on\n"), 0); err != nil {
		t.Fatal(err)
	}
	if status := r.wait(); status != exitOK || r.stdout.String() != "n1: one\nn1: half\nn1: end\n" {
		t.Errorf("exit status %d, %q, %s", status, r.stdout.String(), r.stderr.String())
	}
	o := g.client(t, "", "exec", "--via", "exec", "--live", "--fanout", "3", "--retries", "1", "--shell", "-w", "n[1-9]", "--", "echo one; exit 1").want(t, exitFailed)
	if len(o.lines()) != 18 || !strings.Contains(o.stderr, "9 tasks: 0 ok, 9 failed") {
		t.Errorf("%s%s", o.stdout, o.stderr)
	}
	g.client(t, "", "exec", "--via", "exec", "--live", "-b", "-w", "n1", "--", "true").want(t, exitUsage)
	g.client(t, "", "exec", "--via", "exec", "--live", "--output", "jsonl", "-w", "n1", "--", "true").want(t, exitUsage)
}

// The end of a gateway is the end of the programs that it runs, whatever they do about it.
func TestServerEndKillsItsPrograms(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"second signal", "drain timeout"} {
		args := []string{"--exec"}
		if way == "drain timeout" {
			args = append(args, "--drain-timeout", "200ms")
		}
		g := serve(t, args...)
		r := start(t, nil, "client", "--gateway", g.urls[0], "exec", "--via", "exec", "--live", "--shell", "-w", "n1", "--",
			"trap '' TERM; setsid sh -c 'trap \"\" TERM HUP; echo $$; exec sleep 1000' & echo $$; wait")
		eventually(t, "two processes", func() bool { return strings.Count(r.stdout.String(), "\n") == 2 })
		g.signal(syscall.SIGTERM)
		if way == "second signal" {
			eventually(t, "the drain", func() bool { return strings.Contains(g.stderr.String(), "drain") })
			g.signal(syscall.SIGTERM)
		}
		if status := g.wait(); status != exitUnknown {
			t.Errorf("%s: exit status %d: %s", way, status, g.stderr.String())
		}
		for _, line := range strings.Fields(strings.ReplaceAll(r.stdout.String(), "n1:", "")) {
			pid, err := strconv.Atoi(line)
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, "process "+line+" is gone", func() bool { return syscall.Kill(pid, 0) == syscall.ESRCH })
		}
		r.end()
	}
}

// A passphrase is asked for once, at the terminal, before anything starts.
func TestPassphraseIsAskedOnce(t *testing.T) {
	t.Parallel()
	device := sshtest.StartSshd(t, sshtest.Options{Listen: []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"}})
	locked := sshtest.NewLockedKey(t, t.TempDir(), "open sesame")
	config := device.WriteConfig(t, "IdentityFile "+locked.File)
	keyboard, tty, out := openKeyboard(t)
	r := start(t, func(c *exec.Cmd) {
		c.Stdin = tty
		c.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	}, "client", "exec", "--embedded", "--ssh-config", config, "-w", "127.0.0.[1-3]", "--", "echo", "in")
	for i, answer := range []string{"wrong\n", "open sesame\n"} {
		eventually(t, "the question", func() bool { return strings.Count(out.String(), "Passphrase for "+locked.File) == i+1 })
		if _, err := keyboard.WriteString(answer); err != nil {
			t.Fatal(err)
		}
	}
	if status := r.wait(); status != exitOK || strings.Count(r.stdout.String(), ": in\n") != 3 || strings.Count(out.String(), "Passphrase for") != 2 {
		t.Errorf("exit status %d, %q, %s, %q", status, r.stdout.String(), r.stderr.String(), out.String())
	}
}
