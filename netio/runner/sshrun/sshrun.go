package sshrun

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"

	"shoal/netio/runner"
)

// Config is what a Runner can be told. Zero means the default.
type Config struct {
	Allow *runner.Patterns // the targets and commands that are allowed; default: all

	ConfigFile            string // ssh_config; default: ~/.ssh/config, then /etc/ssh/ssh_config
	KnownHosts            string // in place of the files that ssh_config names
	StrictHostKeyChecking string // yes, accept-new or no, in place of what ssh_config says

	ConnectTimeout time.Duration // for each stage before the command, where neither request nor ssh_config set one; default 10 s
	AliveInterval  time.Duration // between keep-alives, where ssh_config sets none; default 15 s
	Timeout        time.Duration // for requests that set none; default: none
	Grace          time.Duration // from TERM to KILL, for requests that set none; default 2 s

	Connections int           // to one device; default 2
	Idle        time.Duration // a connection without a session is closed after it; default 60 s
	Dials       int           // connections that are made at once; default 1024
	MaxSessions int           // commands that run at once; default 1024
	MaxWait     time.Duration // how long a request waits for one of these; default 60 s
	MaxOutput   int64         // bytes of output kept of all commands together; default 256 MiB

	Logger *slog.Logger // default: none
}

// Runner runs commands on devices. Its methods are safe for concurrent use.
type Runner struct {
	config   Config
	settings *settingsReader
	known    knownHosts
	keys     keyring
	budget   *runner.Budget
	slots    chan struct{} // one for each command that runs
	dials    chan struct{} // one for each connection that is being made
	ended    context.Context
	end      context.CancelFunc

	mu      sync.Mutex // guards what follows; a device's mu is taken after it, never before
	closed  bool
	devices map[string]*device
	work    sync.WaitGroup // requests, and the goroutines of connections
}

// name is what records call this runner.
const name = "ssh"

// New returns a runner. Close it when the gateway has ended. An ssh_config that cannot be read is an error.
func New(c Config) (*Runner, error) {
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{
		{&c.ConnectTimeout, 10 * time.Second}, {&c.AliveInterval, 15 * time.Second}, {&c.Grace, 2 * time.Second},
		{&c.Idle, time.Minute}, {&c.MaxWait, time.Minute},
	} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	for _, n := range []struct {
		value *int
		def   int
	}{{&c.Connections, 2}, {&c.Dials, 1024}, {&c.MaxSessions, 1024}} {
		if *n.value <= 0 {
			*n.value = n.def
		}
	}
	if c.MaxOutput <= 0 {
		c.MaxOutput = 256 << 20
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	settings, err := newSettingsReader(c)
	if err != nil {
		return nil, err
	}
	r := &Runner{config: c, settings: settings, budget: runner.NewBudget(c.MaxOutput), slots: make(chan struct{}, c.MaxSessions),
		dials: make(chan struct{}, c.Dials), devices: map[string]*device{}}
	r.keys.keys, r.keys.locks = map[string]ssh.Signer{}, map[string]ssh.PublicKey{}
	r.ended, r.end = context.WithCancel(context.Background())
	return r, nil
}

// Locked reads the keys for these targets and returns the files of those that have a passphrase and are in no agent of the
// targets, each once. With Unlock a program asks for them before anything starts.
func (r *Runner) Locked(targets ...string) []string {
	held, asked := map[string]bool{}, map[string]bool{}
	for _, t := range targets {
		s, err := r.settings.read(t)
		if err != nil {
			continue
		}
		r.keys.fromFiles(s, new(credentials))
		if s.agent != "" && !asked[s.agent] {
			asked[s.agent] = true
			maps.Copy(held, heldBy(s.agent))
		}
	}
	return r.keys.locked(held)
}

// Unlock reads the key of a file with its passphrase, which is not kept.
func (r *Runner) Unlock(file string, passphrase []byte) error { return r.keys.unlock(file, passphrase) }

// Close ends what runs, closes every connection, waits for both, and refuses further requests.
func (r *Runner) Close() error {
	r.mu.Lock()
	r.closed = true
	devices := make([]*device, 0, len(r.devices))
	for _, d := range r.devices {
		devices = append(devices, d)
	}
	r.mu.Unlock()
	r.end()
	for _, d := range devices {
		d.closeAll()
	}
	r.work.Wait()
	return nil
}

// failure is how far a request came and why no further.
type failure struct {
	stage  runner.Stage
	reason runner.Reason
	err    error
}

func (f *failure) Error() string { return f.err.Error() }

// Run runs a command on a device.
func (r *Runner) Run(ctx context.Context, req *runner.Request, live runner.Live) *runner.Record {
	rec := runner.NewRecord(name, req)
	r.mu.Lock()
	if r.closed {
		r.mu.Unlock()
		return rec.Fail(runner.ReasonCanceled, errors.New("the gateway ends"))
	}
	r.work.Add(1)
	r.mu.Unlock()
	defer r.work.Done()
	s, f := r.check(req)
	if f != nil {
		return rec.Fail(f.reason, f.err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ended, cancel)()
	if f := r.takeSlot(ctx); f != nil {
		return rec.Fail(f.reason, f.err)
	}
	defer func() { <-r.slots }()

	rec = runner.NewRecord(name, req) // the times count from here
	run, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if limit := orDefault(req.Timeout, r.config.Timeout); limit > 0 {
		defer time.AfterFunc(limit, func() {
			stop(&failure{reason: runner.ReasonTimeout, err: fmt.Errorf("ended after %v, the limit", limit)})
		}).Stop()
	}
	for refused := 0; ; refused++ {
		p, f := r.device(s).take(run, s.timeout(req), rec, true)
		if f != nil {
			rec.Stage = max(rec.Stage, f.stage)
			return rec.Fail(f.reason, f.err)
		}
		if again := r.command(run, req, s, p, rec, live, refused < maxRefused); !again {
			return rec
		}
	}
}

// maxRefused is how often a request looks for another place after a device has refused a session.
const maxRefused = 20

// check returns the settings of a request, or why it is refused.
func (r *Runner) check(req *runner.Request) (*settings, *failure) {
	bad := func(text string) (*settings, *failure) {
		return nil, &failure{reason: runner.ReasonBadRequest, err: errors.New(text)}
	}
	switch {
	case len(req.Argv) == 0 && req.Command == "":
		return bad("no command is given")
	case req.Target == "":
		return bad("no target is given")
	case req.Dir != "":
		return bad("a folder cannot be asked for: begin the command with cd")
	case r.config.Allow != nil && !r.config.Allow.Allow(req):
		return nil, &failure{reason: runner.ReasonNotAllowed, err: errors.New("the gateway does not allow this command on this target")}
	}
	s, err := r.settings.read(req.Target)
	if err == nil {
		err = r.settings.checkJumps(s)
	}
	if err != nil {
		return bad(err.Error())
	}
	return s, nil
}

// takeSlot waits for a slot.
func (r *Runner) takeSlot(ctx context.Context) *failure {
	select {
	case r.slots <- struct{}{}:
		return nil
	default:
	}
	limit := time.NewTimer(r.config.MaxWait)
	defer limit.Stop()
	select {
	case r.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ended(ctx)
	case <-limit.C:
		return &failure{reason: runner.ReasonBusy, err: fmt.Errorf("%d commands run, none ended within %v", r.config.MaxSessions, r.config.MaxWait)}
	}
}

// ended says why a context has ended.
func ended(ctx context.Context) *failure {
	if f, ok := errors.AsType[*failure](context.Cause(ctx)); ok {
		return &failure{reason: f.reason, err: f.err}
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return &failure{reason: runner.ReasonTimeout, err: errors.New("ended at the caller's deadline")}
	}
	return &failure{reason: runner.ReasonCanceled, err: errors.New("ended, since the caller left or the gateway ends")}
}

func orDefault(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}
