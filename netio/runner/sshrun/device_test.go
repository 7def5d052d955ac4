package sshrun

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"shoal/netio/runner"
	"shoal/netio/runner/sshtest"
)

// TestFaults asks devices that have something wrong with them. Each answer is one line that names target and stage.
func TestFaults(t *testing.T) {
	t.Parallel()
	short := func(req *runner.Request) { req.ConnectTimeout = 300 * time.Millisecond }
	for _, c := range []struct {
		fault  sshtest.Fault
		stage  runner.Stage
		reason runner.Reason
		text   string
		set    func(*runner.Request)
	}{
		{sshtest.SilentBanner, runner.StageHostKey, runner.ReasonTimeout, "no answer for 300ms", short},
		{sshtest.RefusesAuth, runner.StageAuth, runner.ReasonAuth, "accepts no key for user me: tried /", nil},
		{sshtest.RefusesSession, runner.StageStart, runner.ReasonRefused, "the device refuses the session: no more sessions", nil},
		{sshtest.RefusesExec, runner.StageStart, runner.ReasonRefused, "refuses to run commands", nil},
		{sshtest.DiesInCommand, runner.StageRun, runner.ReasonLost, "ended", nil},
		{sshtest.NoStatus, runner.StageRun, runner.ReasonLost, "ended the session without an exit status", nil},
	} {
		t.Run(string(c.fault), func(t *testing.T) {
			t.Parallel()
			d := sshtest.StartDevice(t, c.fault, 0)
			r := newDeviceRunner(t, Config{}, d)
			set := func(req *runner.Request) {
				if c.set != nil {
					c.set(req)
				}
			}
			rec := ask(t, r, d.Target(), "hang", set)
			if rec.Stage != c.stage || rec.Reason != c.reason || !strings.HasPrefix(rec.Error, d.Target()+": "+c.stage.String()+": ") || !strings.Contains(rec.Error, c.text) {
				t.Errorf("%v, %s, %q", rec.Stage, rec.Reason, rec.Error)
			}
			if (c.reason == runner.ReasonLost) != (string(rec.Stdout) == "partial\n") {
				t.Errorf("stdout %q", rec.Stdout)
			}
		})
	}
}

// TestSilentStages has devices that answer up to a stage and no further; the first of the times is for a connection that
// works and the second for the stage that does not.
func TestSilentStages(t *testing.T) {
	t.Parallel()
	for _, fault := range []sshtest.Fault{sshtest.SilentSession, sshtest.SilentExec} {
		t.Run(string(fault), func(t *testing.T) {
			t.Parallel()
			d := sshtest.StartDevice(t, fault, 0)
			r := newDeviceRunner(t, Config{}, d)
			for limit := 250 * time.Millisecond; ; limit *= 2 { // on a busy machine a handshake takes its time
				rec := ask(t, r, d.Target(), "hang", func(req *runner.Request) { req.ConnectTimeout = limit })
				if rec.Reason != runner.ReasonTimeout || limit > time.Minute {
					t.Fatalf("%+v", rec)
				}
				if rec.Stage == runner.StageStart {
					return
				}
			}
		})
	}
}

func TestGoneSilentDeviceIsNoticed(t *testing.T) {
	t.Parallel()
	d, healthy := sshtest.StartDevice(t, sshtest.GoesSilent, 0), sshtest.StartDevice(t, "", 0)
	for interval := 100 * time.Millisecond; ; interval *= 2 { // on a busy machine a sign of life takes its time
		r := newDeviceRunner(t, Config{AliveInterval: interval}, d, healthy)
		lost := make(chan *runner.Record)
		go func() { lost <- ask(t, r, d.Target(), "hang") }()
		rec := ask(t, r, healthy.Target(), "echo well")
		silent := <-lost
		if rec.OK() && string(rec.Stdout) == "well\n" && silent.Reason == runner.ReasonLost && string(silent.Stdout) == "partial\n" && silent.Stage == runner.StageRun {
			return
		}
		if interval > 20*time.Second {
			t.Fatalf("%+v; the healthy device: %+v", silent, rec)
		}
	}
}

func TestTimeoutKeepsWhatCame(t *testing.T) {
	t.Parallel()
	for _, fault := range []sshtest.Fault{"", sshtest.IgnoresSignals, sshtest.GoesSilent} {
		for name, way := range map[string]func(*runner.Request, time.Duration){
			"timeout": func(req *runner.Request, limit time.Duration) { req.Timeout = limit },
			"silence": func(req *runner.Request, limit time.Duration) { req.Silence = limit },
		} {
			t.Run(fmt.Sprintf("%s, %s", name, fault), func(t *testing.T) {
				t.Parallel()
				d := sshtest.StartDevice(t, fault, 0)
				for limit := 200 * time.Millisecond; ; limit *= 2 { // on a busy machine a command takes its time to come up
					r := newDeviceRunner(t, Config{}, d)
					rec := ask(t, r, d.Target(), "hang", func(req *runner.Request) {
						way(req, limit)
						req.Grace = 100 * time.Millisecond
					})
					if limit > time.Minute {
						t.Fatalf("%+v", rec)
					}
					if string(rec.Reason) != name {
						t.Errorf("%+v", rec)
						return
					}
					if rec.Stage == runner.StageRun && len(rec.Stdout) > 0 {
						if fault == "" && rec.Signal != "TERM" {
							t.Errorf("signal %q", rec.Signal)
						}
						return
					}
				}
			})
		}
	}
}

func TestCancelEndsTheCommand(t *testing.T) {
	t.Parallel()
	d := sshtest.StartDevice(t, "", 0)
	r := newDeviceRunner(t, Config{}, d)
	ctx, cancel := context.WithCancel(t.Context())
	rec := r.Run(ctx, &runner.Request{Target: d.Target(), Command: "hang"}, func(runner.Stream, []byte) error {
		cancel()
		return nil
	})
	if rec.Reason != runner.ReasonCanceled || string(rec.Stdout) != "up\n" || rec.Signal != "TERM" {
		t.Errorf("%+v", rec)
	}
}

// TestCloseEndsAll closes a runner whose commands run, on a device that answers and on one that does not.
func TestCloseEndsAll(t *testing.T) {
	t.Parallel()
	for _, fault := range []sshtest.Fault{"", sshtest.GoesSilent} {
		d := sshtest.StartDevice(t, fault, 0)
		r := newDeviceRunner(t, Config{}, d)
		var closing sync.WaitGroup
		rec := r.Run(t.Context(), &runner.Request{Target: d.Target(), Command: "hang"}, func(runner.Stream, []byte) error {
			closing.Go(func() { _ = r.Close() })
			<-r.ended.Done()
			return nil
		})
		if rec.Reason != runner.ReasonCanceled && rec.Reason != runner.ReasonLost {
			t.Errorf("%s: %+v", fault, rec)
		}
		closing.Wait()
		if rec := ask(t, r, d.Target(), "echo"); rec.Reason != runner.ReasonCanceled {
			t.Errorf("after Close: %+v", rec)
		}
	}
}

// TestConnectionsAreShared runs many commands at once on devices with room for any number of sessions, and for one.
func TestConnectionsAreShared(t *testing.T) {
	t.Parallel()
	for _, max := range []int{0, 1, 3} {
		t.Run(fmt.Sprint(max), func(t *testing.T) {
			t.Parallel()
			d := sshtest.StartDevice(t, "", max)
			r := newDeviceRunner(t, Config{Connections: 2}, d)
			var all sync.WaitGroup
			for i := range 30 {
				all.Go(func() {
					rec := ask(t, r, d.Target(), fmt.Sprintf("echo %d", i))
					if want := fmt.Sprintf("%d\n", i); !rec.OK() || string(rec.Stdout) != want {
						t.Errorf("%d: %+v", i, rec)
					}
				})
			}
			all.Wait()
			if n := d.Connections.Load(); n > 2 {
				t.Errorf("%d connections", n)
			}
			rec := ask(t, r, d.Target(), "exit 4")
			if rec.Exit != 4 || rec.Took[runner.StageConnect] != 0 {
				t.Errorf("on a kept connection: %+v", rec)
			}
		})
	}
}

func TestIdleConnectionIsClosed(t *testing.T) {
	t.Parallel()
	d := sshtest.StartDevice(t, "", 0)
	r := newDeviceRunner(t, Config{Idle: 20 * time.Millisecond}, d)
	for range 2 {
		if rec := ask(t, r, d.Target(), "echo"); !rec.OK() || rec.Took[runner.StageConnect] <= 0 {
			t.Fatalf("%+v", rec)
		}
		eventually(t, "the device is forgotten", func() bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return len(r.devices) == 0
		})
	}
}

func TestJumpHosts(t *testing.T) {
	t.Parallel()
	first, second, last := sshtest.StartDevice(t, "", 0), sshtest.StartDevice(t, "", 0), sshtest.StartDevice(t, "", 0)
	silent := sshtest.StartDevice(t, sshtest.SilentBanner, 0)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, closedPort, _ := net.SplitHostPort(closed.Addr().String())
	_ = closed.Close()
	host := func(name string, d *sshtest.Device, more string) string {
		return fmt.Sprintf("Host %s\n  HostName %s\n  Port %s\n  %s\n", name, d.Host, d.Port, more)
	}
	config := host("first", first, "") + host("second", second, "") + host("direct", last, "ProxyJump first") +
		host("far", last, "ProxyJump first,second") + host("nested", last, "ProxyJump inner") + host("inner", second, "ProxyJump first") +
		host("silent", silent, "") + host("behind-silent", last, "ProxyJump silent") + host("silent-behind", silent, "ProxyJump first") +
		host("loop", last, "ProxyJump loop") +
		fmt.Sprintf("Host gone\n  HostName 127.0.0.1\n  Port %s\n  ProxyJump second\nHost behind-gone\n  HostName 127.0.0.1\n  ProxyJump down\nHost down\n  HostName 127.0.0.1\n  Port %s\n", closedPort, closedPort)
	r := newDeviceRunner(t, Config{ConfigFile: write(t, config+"Host *\n  IdentityAgent none\n")}, first, second, last, silent)
	for _, target := range []string{"direct", "far", "nested"} {
		if rec := ask(t, r, target, "echo here"); !rec.OK() || string(rec.Stdout) != "here\n" {
			t.Errorf("%s: %+v", target, rec)
		}
	}
	if n := first.Connections.Load(); n != 1 {
		t.Errorf("%d connections to the first jump host", n)
	}
	for _, c := range []struct {
		target string
		stage  runner.Stage
		reason runner.Reason
		text   string
	}{
		{"behind-silent", runner.StageConnect, runner.ReasonTimeout, "behind-silent: connect: jump host silent: hostkey: no answer for"},
		{"silent-behind", runner.StageHostKey, runner.ReasonTimeout, "silent-behind: hostkey: no answer for"},
		{"gone", runner.StageConnect, runner.ReasonUnreachable, "gone: connect: jump host second: does not connect to 127.0.0.1:" + closedPort + ": connect failed"},
		{"behind-gone", runner.StageConnect, runner.ReasonRefused, "behind-gone: connect: jump host down: connect: connection refused"},
		{"loop", runner.StageNone, runner.ReasonBadRequest, "lead in a circle"},
	} {
		for limit := 300 * time.Millisecond; ; limit *= 2 { // on a busy machine what works takes its time
			rec := ask(t, r, c.target, "echo", func(req *runner.Request) {
				if c.reason == runner.ReasonTimeout {
					req.ConnectTimeout = limit
				}
			})
			if rec.Stage == c.stage && rec.Reason == c.reason && strings.Contains(rec.Error, c.text) {
				break
			}
			if c.reason != runner.ReasonTimeout || limit > time.Minute {
				t.Errorf("%v, %s, %q, want %q", rec.Stage, rec.Reason, rec.Error, c.text)
				break
			}
		}
	}
	if rec := ask(t, r, "far", "echo still"); !rec.OK() {
		t.Errorf("after these: %+v", rec)
	}
}

func TestBadTargets(t *testing.T) {
	t.Parallel()
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	r := newRunner(t, Config{ConfigFile: write(t, "IdentityAgent none\nHost proxied\n  ProxyCommand nc %h %p\n")})
	for _, c := range []struct {
		target string
		stage  runner.Stage
		reason runner.Reason
		text   string
	}{
		{"", runner.StageNone, runner.ReasonBadRequest, "no target is given"},
		{"a b", runner.StageNone, runner.ReasonBadRequest, `"a b" is no target`},
		{"host:0", runner.StageNone, runner.ReasonBadRequest, `"0" is no port`},
		{"host:ssh", runner.StageNone, runner.ReasonBadRequest, `"ssh" is no port`},
		{"-oProxyCommand=x", runner.StageNone, runner.ReasonBadRequest, "is no target"},
		{"proxied", runner.StageNone, runner.ReasonBadRequest, "ProxyCommand is not supported"},
		{"no-such-host.invalid", runner.StageResolve, runner.ReasonNotFound, "no-such-host.invalid: resolve: no such host"},
		{closed.Addr().String(), runner.StageConnect, runner.ReasonRefused, ": connect: connection refused"},
	} {
		rec := ask(t, r, c.target, "echo")
		unsure := c.stage == runner.StageResolve && rec.Stage == c.stage // a machine without name servers cannot tell
		if rec.Stage != c.stage || rec.Reason != c.reason && !unsure || !strings.Contains(rec.Error, c.text) && !unsure || strings.Contains(rec.Error, "\n") {
			t.Errorf("%q: %v, %s, %q", c.target, rec.Stage, rec.Reason, rec.Error)
		}
	}
	allow, err := runner.ParsePatterns([]string{"web* uptime"}, true)
	if err != nil {
		t.Fatal(err)
	}
	guarded := newRunner(t, Config{ConfigFile: write(t, ""), Allow: allow})
	if rec := ask(t, guarded, "web7", "reboot"); rec.Reason != runner.ReasonNotAllowed || rec.Stage != runner.StageNone {
		t.Errorf("%+v", rec)
	}
	if _, err := New(Config{ConfigFile: "/no/such/file"}); err == nil {
		t.Error("an ssh_config that is not there was read")
	}
}
