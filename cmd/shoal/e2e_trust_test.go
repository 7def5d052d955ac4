package main

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// The main job, on a machine that has nothing yet: only named clients may use the gateway, and each only what it may.
func TestTrustFromNothing(t *testing.T) {
	t.Parallel()
	folder := filepath.Join(t.TempDir(), "new", "trust")
	cert := func(args ...string) outcome {
		return shoal(t, "", append([]string{"cert", "--trust", folder}, args...)...)
	}
	cert("issue", "alice").want(t, exitUsage) // there is no CA yet
	if o := cert("init").want(t, 0); !strings.Contains(o.stderr, "shoal cert --trust "+folder+" issue alice") {
		t.Errorf("%q does not say what comes next", o.stderr)
	}
	cert("init").want(t, exitUsage)
	for _, name := range []string{"alice", "bob"} {
		o := cert("issue", name).want(t, 0)
		if info, err := os.Stat(strings.TrimSpace(o.stdout)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%q: %v, %v", o.stdout, info, err)
		}
	}
	cert("issue", "../x").want(t, exitUsage)
	rights := write(t, "[[allow]]\nwho = [\"alice\"]\ncall = [\"square\"]\nexec = [\"echo *\"]\n")
	g := serve(t, "--listen", "tls://127.0.0.1:0", "--tls", "--trust", folder, "--rights", rights, "--exec", "--demo")
	as := func(name string, args ...string) outcome {
		return g.client(t, "", append([]string{"--trust", folder, "--identity", name}, args...)...)
	}
	if o := as("alice", "exec", "--via", "exec", "-w", "web[1-3]", "--", "echo", "up").want(t, 0); inOrder(o.lines()) != "web1: up\nweb2: up\nweb3: up" {
		t.Errorf("%q", o.stdout)
	}
	as("alice", "exec", "--via", "exec", "-w", "web1", "--", "uptime").want(t, exitFailed)
	as("alice", "call", "square", "12").want(t, 0)
	if o := as("alice", "call", "hello", "you").want(t, exitFailed); !strings.Contains(o.stderr, "alice may not use the call hello") {
		t.Errorf("%q", o.stderr)
	}
	as("bob", "call", "square", "12").want(t, exitFailed)
	for _, c := range []struct{ want, url string }{{"show a certificate", g.urls[0]}, {"write tls://", strings.Replace(g.urls[0], "tls", "tcp", 1)}} {
		o := shoal(t, "", "client", "--gateway", c.url, "--trust", folder, "call", "square", "12").want(t, exitUnreachable)
		if !strings.Contains(o.stderr, c.want) {
			t.Errorf("%q, want %q", o.stderr, c.want)
		}
	}
	explain := func(words ...string) outcome {
		return shoal(t, "", append([]string{"rights", "explain", "--rights", rights, "--as", "alice"}, words...)...)
	}
	if o := explain("--via", "exec", "exec", "web1", "echo", "up").want(t, 0); !strings.Contains(o.stdout, rights+":1") {
		t.Errorf("%q", o.stdout)
	}
	explain("call", "hello").want(t, exitFailed)

	if err := os.WriteFile(rights, []byte("[[allow]]\nwho = [\"bob\"]\ncall = [\"square\"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g.signal(syscall.SIGHUP)
	eventually(t, "bob may", func() bool { return as("bob", "call", "square", "12").status == 0 })
	as("alice", "call", "square", "12").want(t, exitFailed)
	cert("revoke", "bob").want(t, 0)
	eventually(t, "bob is out", func() bool { return as("bob", "call", "square", "12").status == exitUnreachable })
}
