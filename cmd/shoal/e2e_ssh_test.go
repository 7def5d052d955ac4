package main

import (
	"strings"
	"testing"

	"shoal/netio/runner/sshtest"
)

// Commands go over ssh to real devices, by a gateway that offers it and by one inside the client.
func TestExecOverSSH(t *testing.T) {
	t.Parallel()
	device := sshtest.StartSshd(t, sshtest.Options{Listen: []string{"127.0.0.1", "127.0.0.2", "127.0.0.3"}})
	g := serve(t, "--ssh", "--ssh-config", device.Config, "--ssh-allow", "127.* echo **")
	o := g.client(t, "", "exec", "-w", "127.0.0.[1-3]", "--", "echo", "hello").want(t, 0)
	if got := inOrder(o.lines()); got != "127.0.0.1: hello\n127.0.0.2: hello\n127.0.0.3: hello" {
		t.Errorf("%s\n%s", got, o.stderr)
	}
	o = g.client(t, "127.0.0.2:echo one two\n127.0.0.3:echo three\n", "run", "--via", "ssh", "-").want(t, 0)
	if got := inOrder(o.lines()); got != "127.0.0.2: one two\n127.0.0.3: three" {
		t.Errorf("%s\n%s", got, o.stderr)
	}
	o = g.client(t, "", "exec", "-w", "127.0.0.1", "--", "id").want(t, exitFailed)
	if !strings.Contains(o.stderr, "127.0.0.1") || !strings.Contains(o.stderr, "does not allow") {
		t.Errorf("a command that is not allowed: %s", o.stderr)
	}
	o = shoal(t, "", "client", "exec", "--embedded", "--ssh-config", device.Config, "-w", "127.0.0.[1-2]", "-b", "--", "whoami").want(t, 0)
	if !strings.Contains(o.stdout, "127.0.0.[1-2]") || !strings.Contains(o.stdout, device.User) {
		t.Errorf("gathered: %q, %s", o.stdout, o.stderr)
	}
}

// A gateway runs programs where it was told to, and those alone that are allowed.
func TestExecAtAGateway(t *testing.T) {
	t.Parallel()
	g := serve(t, "--exec", "--exec-allow", "echo **")
	o := g.client(t, "", "exec", "--via", "exec", "-w", "n[1-2]", "--", "echo", "here").want(t, 0)
	if got := inOrder(o.lines()); got != "n1: here\nn2: here" {
		t.Errorf("%s\n%s", got, o.stderr)
	}
	if o = g.client(t, "", "exec", "--via", "exec", "-w", "n1", "--", "id").want(t, exitFailed); !strings.Contains(o.stderr, "does not allow") {
		t.Errorf("a command that is not allowed: %s", o.stderr)
	}
}

func TestRunnerFlagsThatSayNothing(t *testing.T) {
	t.Parallel()
	for args, want := range map[string]string{
		"server --exec-allow=echo":                                     "--exec-allow says nothing without --exec",
		"server --known-hosts=f":                                       "say nothing without --ssh",
		"server --ssh --ssh-allow=web":                                 "--ssh-allow: pattern",
		"client exec --known-hosts=f -w n1 -- true":                    "go with --embedded",
		"client exec --embedded --ssh-config=/nonexistent -w n1 -- id": "/nonexistent",
	} {
		if o := shoal(t, "", strings.Fields(args)...).want(t, exitUsage); !strings.Contains(o.stderr, want) {
			t.Errorf("%s: no %q in %s", args, want, o.stderr)
		}
	}
}
