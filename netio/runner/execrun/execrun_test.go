package execrun

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"shoal/netio/runner"
)

func TestOutcomes(t *testing.T) {
	t.Parallel()
	keepers(t, func(t *testing.T, r *Runner) {
		for _, c := range []struct {
			script         string
			stdout, stderr string
			exit           int
			signal         string
		}{
			{"echo out; echo err >&2", "out\n", "err\n", 0, ""},
			{"exit 3", "", "", 3, ""},
			{"exit 255", "", "", 255, ""},
			{"kill -KILL $$", "", "", 0, "KILL"},
			{"kill -TERM $$", "", "", 0, "TERM"},
			{"cat", "from stdin", "", 0, ""},
			{"echo $SHOAL_TARGET", t.Name() + "\n", "", 0, ""},
			{"pwd", "/\n", "", 0, ""},
			{"echo $A $B", "1 3\n", "", 0, ""},
			{"no-such-command-here 2>/dev/null", "", "", 127, ""},
		} {
			rec := sh(r, t, c.script, func(req *runner.Request) {
				req.Env, req.Dir, req.Stdin = []string{"A=1", "B=2", "B=3"}, "/", []byte("from stdin")
			})
			if rec.Stage != runner.StageDone || rec.Reason != "" {
				t.Fatalf("%s: %+v", c.script, rec)
			}
			if string(rec.Stdout) != c.stdout || string(rec.Stderr) != c.stderr || rec.Exit != c.exit || rec.Signal != c.signal || rec.Exited != (c.signal == "") {
				t.Errorf("%s: %q, %q, exit %d, signal %q", c.script, rec.Stdout, rec.Stderr, rec.Exit, rec.Signal)
			}
			if rec.Took[runner.StageStart] <= 0 || rec.Took[runner.StageRun] <= 0 || rec.Elapsed <= 0 {
				t.Errorf("%s: times %v", c.script, rec.Took)
			}
		}
	})
}

func TestArgumentsPassNoShell(t *testing.T) {
	t.Parallel()
	keepers(t, func(t *testing.T, r *Runner) {
		argv := []string{"printf", "%s|", "a b", "$HOME", "`id`", "", "*", "\xff\n"}
		rec := r.Run(t.Context(), &runner.Request{Argv: argv}, nil)
		if want := "a b|$HOME|`id`||*|\xff\n|"; !rec.OK() || string(rec.Stdout) != want {
			t.Errorf("%q, want %q: %+v", rec.Stdout, want, rec)
		}
	})
}

func TestNothingOfTheGatewayIsPassedOn(t *testing.T) {
	needLinux(t)
	t.Setenv("SHOAL_TEST_SECRET", "hidden")
	const script = "ls /proc/self/fd"
	inherited, err := exec.Command("sh", "-c", script).Output() // what go test has open without close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	keepers(t, func(t *testing.T, r *Runner) {
		if rec := sh(r, t, script); string(rec.Stdout) != string(inherited) {
			t.Errorf("open descriptors %q, want %q", rec.Stdout, inherited)
		}
		if out := string(sh(r, t, "env").Stdout); strings.Contains(out, "hidden") || !strings.Contains(out, "PATH=/") {
			t.Errorf("environment %q", out)
		}
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	allow, err := runner.ParsePatterns([]string{"uptime", "missing-program", "/etc/passwd", "true"}, false)
	if err != nil {
		t.Fatal(err)
	}
	r := newRunner(t, "", Config{Allow: allow})
	for _, c := range []struct {
		req    runner.Request
		reason runner.Reason
		text   string
	}{
		{runner.Request{}, runner.ReasonBadRequest, "none: no command is given"},
		{runner.Request{Command: "uptime"}, runner.ReasonBadRequest, "needs a shell"},
		{runner.Request{Argv: []string{""}}, runner.ReasonBadRequest, "they need a program"},
		{runner.Request{Command: "uptime; id", Shell: true}, runner.ReasonNotAllowed, "does not allow"},
		{runner.Request{Argv: []string{"uptime", "-p"}}, runner.ReasonNotAllowed, "does not allow"},
		{runner.Request{Argv: []string{"missing-program"}}, runner.ReasonNotFound, `start: no program "missing-program" in PATH`},
		{runner.Request{Argv: []string{"true"}, Dir: "/no/such/folder"}, runner.ReasonNotFound, "start: folder /no/such/folder: there is none"},
		{runner.Request{Argv: []string{"true"}, Dir: "/etc/passwd"}, runner.ReasonNotFound, "start: /etc/passwd is not a folder"},
		{runner.Request{Argv: []string{"/etc/passwd"}}, runner.ReasonFailed, "start: /etc/passwd: permission denied"},
	} {
		c.req.Target = "here"
		rec := r.Run(t.Context(), &c.req, nil)
		if rec.Reason != c.reason || !strings.HasPrefix(rec.Error, "here: ") || !strings.Contains(rec.Error, c.text) {
			t.Errorf("%+v: %s, %q", c.req, rec.Reason, rec.Error)
		}
	}
}

func TestStartErrorsAreTold(t *testing.T) {
	t.Parallel()
	keepers(t, func(t *testing.T, r *Runner) {
		script := t.TempDir() + "/script"
		for content, reason := range map[string]runner.Reason{"#!/no/such/interpreter\n": runner.ReasonNotFound, "\x7fELFnonsense": runner.ReasonFailed} {
			if err := os.WriteFile(script, []byte(content), 0o755); err != nil {
				t.Fatal(err)
			}
			rec := r.Run(t.Context(), &runner.Request{Argv: []string{script}}, nil)
			if rec.Reason != reason || rec.Stage != runner.StageStart || strings.Contains(rec.Error, "\n") {
				t.Errorf("%q: %+v", content, rec)
			}
		}
	})
}

// patiently calls try with longer and longer times until it is content: on a busy machine a program takes its time to come up.
func patiently(t *testing.T, try func(limit time.Duration) (content bool, what any)) {
	t.Helper()
	for limit := 200 * time.Millisecond; ; limit *= 2 {
		content, what := try(limit)
		if content {
			return
		}
		if limit > time.Minute {
			t.Fatalf("with %v: %+v", limit, what)
		}
	}
}

func TestTimeoutKeepsWhatCame(t *testing.T) {
	t.Parallel()
	const plain, deaf = "echo first; echo other >&2; exec sleep 1000", "trap '' TERM; echo first; echo other >&2; while :; do sleep 1000; done"
	keepers(t, func(t *testing.T, r *Runner) {
		for _, c := range []struct {
			script string
			reason runner.Reason
			set    func(req *runner.Request, limit time.Duration)
		}{
			{plain, runner.ReasonTimeout, func(req *runner.Request, limit time.Duration) { req.Timeout = limit }},
			{plain, runner.ReasonSilence, func(req *runner.Request, limit time.Duration) { req.Silence = limit }},
			{deaf, runner.ReasonTimeout, func(req *runner.Request, limit time.Duration) { req.Timeout = limit }},
		} {
			patiently(t, func(limit time.Duration) (bool, any) {
				rec := sh(r, t, c.script, func(req *runner.Request) { c.set(req, limit) })
				if rec.Reason != c.reason || rec.OK() {
					t.Fatalf("%s: %+v", c.script, rec)
				}
				return rec.Stage == runner.StageRun && string(rec.Stdout) == "first\n" && string(rec.Stderr) == "other\n", rec
			})
		}
	})
}

func TestTermComesBeforeKill(t *testing.T) {
	t.Parallel()
	const script = "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done"
	keepers(t, func(t *testing.T, r *Runner) {
		patiently(t, func(limit time.Duration) (bool, any) {
			rec := sh(r, t, script, func(req *runner.Request) { req.Timeout, req.Grace = limit, maxGrace })
			return string(rec.Stdout) == "ready\nbye\n" && rec.Reason == runner.ReasonTimeout && rec.Exit == 7, rec
		})
	})
}

// TestSilenceIsNotTheReaders holds a slow reader and a program that writes more than a pipe holds.
func TestSilenceIsNotTheReaders(t *testing.T) {
	t.Parallel()
	r := newRunner(t, "", Config{})
	patiently(t, func(limit time.Duration) (bool, any) {
		slow := true
		rec := r.Run(t.Context(), &runner.Request{Command: "head -c 200000 /dev/zero", Shell: true, Silence: limit}, func(runner.Stream, []byte) error {
			if slow {
				time.Sleep(2 * limit)
				slow = false
			}
			return nil
		})
		return rec.OK() && len(rec.Stdout) == 200000, rec
	})
}

// TestLastOutputIsRead has a program end with a full pipe whose reader is slow: nothing of it may be lost.
func TestLastOutputIsRead(t *testing.T) {
	t.Parallel()
	keepers(t, func(t *testing.T, r *Runner) {
		pieces := 0
		live := func(stream runner.Stream, p []byte) error {
			if pieces++; pieces == 1 {
				time.Sleep(heldFor + 50*time.Millisecond) // the end of the pipe is not waited for so long
			}
			return nil
		}
		rec := r.Run(t.Context(), &runner.Request{Command: "head -c 65000 /dev/zero; head -c 65000 /dev/zero >&2", Shell: true}, live)
		if !rec.OK() || len(rec.Stdout) != 65000 || len(rec.Stderr) != 65000 {
			t.Errorf("%s; %d and %d bytes", rec.Error, len(rec.Stdout), len(rec.Stderr))
		}
	})
}

// TestSlowReaderHoldsNothing has the last output taken late: the pipe's end is waited for all the same.
func TestSlowReaderHoldsNothing(t *testing.T) {
	t.Parallel()
	r := newRunner(t, "", Config{})
	for try := 0; ; try++ { // a machine that stands still for as long as the end is waited for makes it look held
		rec := r.Run(t.Context(), &runner.Request{Argv: []string{"head", "-c", "65000", "/dev/zero"}}, func(runner.Stream, []byte) error {
			time.Sleep(100 * time.Millisecond)
			return nil
		})
		if rec.OK() && len(rec.Stdout) == 65000 && len(rec.Detail) == 0 {
			return
		}
		if try == 20 {
			t.Fatalf("%s; %d bytes, %s", rec.Error, len(rec.Stdout), rec.Detail)
		}
	}
}

func TestOutputIsBounded(t *testing.T) {
	t.Parallel()
	r := newRunner(t, "", Config{})
	rec := sh(r, t, "echo begin; head -c 5000000 /dev/zero | tr '\\0' x; echo; echo end", func(req *runner.Request) { req.Output = 1000 })
	out := string(rec.Stdout)
	if !rec.OK() || len(out) != 1000 || !strings.HasPrefix(out, "begin\nxxx") || !strings.HasSuffix(out, "xxx\nend\n") || rec.StdoutDropped != 5000000+11-1000 {
		t.Errorf("%d bytes, %d dropped, %s", len(out), rec.StdoutDropped, rec.Error)
	}
	if used := r.budget.Used(); used != 0 {
		t.Errorf("%d bytes of the budget are still taken", used)
	}
}

func TestOneBudgetForAllOutputs(t *testing.T) {
	t.Parallel()
	r := newRunner(t, "", Config{MaxOutput: 64 << 10})
	records := make(chan *runner.Record)
	for range 4 {
		go func() { records <- sh(r, t, "head -c 100000 /dev/zero; sleep 0.2") }()
	}
	kept := 0
	for range 4 {
		rec := <-records
		kept += len(rec.Stdout)
		if int64(len(rec.Stdout))+rec.StdoutDropped != 100000 {
			t.Errorf("%d bytes and %d dropped", len(rec.Stdout), rec.StdoutDropped)
		}
	}
	if kept > 4*64<<10 || r.budget.Used() != 0 {
		t.Errorf("%d bytes were kept, %d are taken", kept, r.budget.Used())
	}
}

func TestLiveOutputComesAtOnce(t *testing.T) {
	t.Parallel()
	r := newRunner(t, "", Config{})
	fifo := t.TempDir() + "/go-on"
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	rec := r.Run(t.Context(), &runner.Request{Command: "echo one; read x <" + fifo + "; echo $x", Shell: true}, func(stream runner.Stream, p []byte) error {
		if string(p) == "one\n" { // the program waits until we have seen it
			return os.WriteFile(fifo, []byte("two\n"), 0)
		}
		return nil
	})
	if string(rec.Stdout) != "one\ntwo\n" {
		t.Errorf("%+v, %q", rec, rec.Stdout)
	}
}

// TestSlots has one program in the way of another.
func TestSlots(t *testing.T) {
	t.Parallel()
	r := newRunner(t, "", Config{MaxProcesses: 1, MaxWait: 50 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	first := make(chan *runner.Record)
	started := make(chan struct{})
	go func() {
		first <- r.Run(ctx, &runner.Request{Command: "echo up; exec sleep 1000", Shell: true}, func(runner.Stream, []byte) error {
			close(started)
			return nil
		})
	}()
	<-started
	if rec := sh(r, t, "true"); rec.Reason != runner.ReasonBusy {
		t.Errorf("beside another: %+v", rec)
	}
	cancel()
	if rec := <-first; rec.Reason != runner.ReasonCanceled || string(rec.Stdout) != "up\n" {
		t.Errorf("the first: %+v", rec)
	}
	if rec := sh(r, t, "true"); !rec.OK() {
		t.Errorf("after it: %+v", rec)
	}
}

func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	keepers(t, func(t *testing.T, r *Runner) {
		records := make(chan *runner.Record)
		for i := range 20 {
			go func() { records <- sh(r, t, fmt.Sprintf("echo %d; exit %d", i, i)) }()
		}
		for range 20 {
			if rec := <-records; string(rec.Stdout) != fmt.Sprintf("%d\n", rec.Exit) {
				t.Errorf("exit %d with %q: %s", rec.Exit, rec.Stdout, rec.Error)
			}
		}
	})
}
