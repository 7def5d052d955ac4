package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Tasks of a file are really run: each on its own host, with its own command.
func TestRunViaExec(t *testing.T) {
	t.Parallel()
	tasks := write(t, "web1:echo one\n[2001:DB8::1]:echo two  words\nWEB1:echo a\\:b\nweb2:false\n")
	failed := filepath.Join(t.TempDir(), "failed")
	o := shoal(t, "", "client", "run", tasks, "--embedded", "--via", "exec", "--failed", failed).want(t, exitFailed)
	if got := inOrder(o.lines()); got != "2001:db8::1: two words\nweb1: a:b\nweb1: one" {
		t.Errorf("standard output:\n%s", got)
	}
	if !strings.Contains(o.stderr, "not ok: web2: failed: exit status 1\n4 tasks: 3 ok, 1 failed") {
		t.Errorf("standard error:\n%s", o.stderr)
	}
	if again, err := os.ReadFile(failed); err != nil || string(again) != "web2:false\n" {
		t.Errorf("--failed: %q, %v", again, err)
	}
	o = shoal(t, "", "client", "run", failed, "--embedded", "--via", "exec", "--shell", "-S").want(t, 1)
	if o.stdout != "" {
		t.Errorf("%q", o.stdout)
	}
}

func TestRunViaDryRun(t *testing.T) {
	t.Parallel()
	o := shoal(t, "web1:uptime\nweb2:df -h\n", "client", "run", "-", "--via", "ssh", "-n").want(t, 0)
	if o.stdout != "web1: uptime\nweb2: df -h\n" {
		t.Errorf("%q", o.stdout)
	}
}

// A job log of real commands is resumed by target and command, for run and for exec alike.
func TestExecJobLog(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, args := range [][]string{
		{"client", "run", write(t, "n1:touch $DIR/1 && false\nn2:echo >>$DIR/2\n"), "--via", "exec", "--shell"},
		{"client", "exec", "-w", "n[1-2]", "--via", "exec", "--shell"},
	} {
		log := filepath.Join(t.TempDir(), "log")
		args = append(args, "--embedded", "--env", "DIR="+dir, "--job-log", log)
		resumed := append(args[:len(args):len(args)], "--resume")
		again := append(args[:len(args):len(args)], "--resume-failed")
		if args[1] == "exec" {
			command := []string{"--", "case $SHOAL_TARGET in n1) false;; *) echo >>$DIR/2;; esac"}
			args, resumed, again = append(args, command...), append(resumed, command...), append(again, command...)
		}
		_ = os.Remove(filepath.Join(dir, "2"))
		shoal(t, "", args...).want(t, exitFailed)
		o := shoal(t, "", resumed...).want(t, exitFailed)
		if !strings.Contains(o.stderr, "0 tasks: 0 ok") || !strings.Contains(o.stderr, "2 tasks done before, 1 not with ok") {
			t.Errorf("resumed: %s", o.stderr)
		}
		if o = shoal(t, "", again...).want(t, exitFailed); !strings.Contains(o.stderr, "1 task: 0 ok, 1 failed") {
			t.Errorf("run again: %s", o.stderr)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "2")); err != nil || string(got) != "\n" {
			t.Errorf("%q, %v: the task that was ok ran again", got, err)
		}
	}
}

func TestRunViaRefusesWhatMakesNoSense(t *testing.T) {
	t.Parallel()
	tasks := write(t, "web1:uptime\n")
	for args, want := range map[string]string{
		"--fanout 3":                           "--fanout goes with --via",
		"--via ssh --keep-order":               "--keep-order does not go with --via",
		"--via ssh --shell":                    "--shell goes with --via exec",
		"--via ssh --canary 0":                 "--canary",
		"--via exec -b --job-log /dev/null -n": "--gather does not go with --job-log",
	} {
		o := shoal(t, "", append([]string{"client", "run", tasks}, strings.Fields(args)...)...).want(t, exitUsage)
		if !strings.Contains(o.stderr, want) {
			t.Errorf("%s: %q, want %q", args, o.stderr, want)
		}
	}
}
