package execrun

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"shoal/netio/runner"
)

// Config is what a Runner can be told. Zero means the default.
type Config struct {
	Allow *runner.Patterns // the commands that are allowed; default: all

	MaxProcesses int           // programs that run at once; default 256
	MaxWait      time.Duration // how long a request waits for one of these; default 60 s
	MaxOutput    int64         // bytes of output kept of all programs together; default 256 MiB

	Timeout time.Duration // for requests that set none; default: none
	Grace   time.Duration // from TERM to KILL, for requests that set none; default 50 ms

	Logger *slog.Logger // default: none
}

// Runner starts programs. Its methods are safe for concurrent use.
type Runner struct {
	config Config
	keeper keeper
	budget *runner.Budget
	slots  chan struct{} // one for each program that runs

	mu      sync.Mutex // guards what follows
	closed  bool
	running sync.WaitGroup
	ended   context.Context // ends with Close
	end     context.CancelFunc
}

// name is what records call this runner.
const name = "exec"

// New returns a runner. Close it when the gateway has ended.
func New(c Config) (*Runner, error) {
	if c.MaxProcesses <= 0 {
		c.MaxProcesses = 256
	}
	if c.MaxWait <= 0 {
		c.MaxWait = time.Minute
	}
	if c.MaxOutput <= 0 {
		c.MaxOutput = 256 << 20
	}
	if c.Grace <= 0 {
		c.Grace = 50 * time.Millisecond
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	r := &Runner{config: c, keeper: newKeeper(c.Logger), budget: runner.NewBudget(c.MaxOutput), slots: make(chan struct{}, c.MaxProcesses)}
	r.ended, r.end = context.WithCancel(context.Background())
	return r, nil
}

// Containment tells how the runner knows the family of a program: cgroup, supervisor or group.
func (r *Runner) Containment() string { return r.keeper.kind() }

// Close kills every program that still runs, waits for that, and refuses further ones.
func (r *Runner) Close() error {
	r.mu.Lock()
	r.closed = true
	r.mu.Unlock()
	r.end()
	r.running.Wait()
	return r.keeper.close()
}

// enter counts a request that Close has to wait for.
func (r *Runner) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.closed {
		r.running.Add(1)
	}
	return !r.closed
}

// Run runs a program to its end.
func (r *Runner) Run(ctx context.Context, req *runner.Request, live runner.Live) *runner.Record {
	if !r.enter() {
		rec := runner.NewRecord(name, req)
		return rec.Fail(runner.ReasonCanceled, errors.New("the gateway ends"))
	}
	defer r.running.Done()
	if rec := r.check(req); rec != nil {
		return rec
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(r.ended, cancel)()
	if rec := r.takeSlot(ctx, req); rec != nil {
		return rec
	}
	defer func() { <-r.slots }()
	return r.run(ctx, req, live)
}

// check returns the record of a request that is refused, and nil for any other.
func (r *Runner) check(req *runner.Request) *runner.Record {
	rec := runner.NewRecord(name, req)
	switch {
	case len(req.Argv) == 0 && req.Command == "":
		return rec.Fail(runner.ReasonBadRequest, errors.New("no command is given"))
	case req.Command != "" && !req.Shell:
		return rec.Fail(runner.ReasonBadRequest, errors.New("a command line needs a shell: ask for one, or give program and arguments"))
	case len(req.Argv) > 0 && (req.Shell || req.Argv[0] == ""):
		return rec.Fail(runner.ReasonBadRequest, errors.New("program and arguments are given: they need a program, and no shell"))
	case r.config.Allow != nil && !r.config.Allow.Allow(req):
		return rec.Fail(runner.ReasonNotAllowed, errors.New("the gateway does not allow this command"))
	}
	return nil
}

// takeSlot waits for a slot. The record is that of a request that got none.
func (r *Runner) takeSlot(ctx context.Context, req *runner.Request) *runner.Record {
	select {
	case r.slots <- struct{}{}:
		return nil
	default:
	}
	rec := runner.NewRecord(name, req)
	limit := time.NewTimer(r.config.MaxWait)
	defer limit.Stop()
	select {
	case r.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return rec.Fail(endReason(ctx), errors.New("the caller left while the command waited for a slot"))
	case <-limit.C:
		return rec.Fail(runner.ReasonBusy, fmt.Errorf("%d programs run, none ended within %v", r.config.MaxProcesses, r.config.MaxWait))
	}
}

// run starts the program and follows it to its end.
func (r *Runner) run(ctx context.Context, req *runner.Request, live runner.Live) *runner.Record {
	rec := runner.NewRecord(name, req)
	rec.Enter(runner.StageStart)
	l, reason, err := r.prepare(req)
	if err != nil {
		return rec.Fail(reason, err)
	}
	out, err := newOutputs(l, req, r.budget, live)
	if err != nil {
		return rec.Fail(startReason(err), err)
	}
	t, err := r.start(ctx, l)
	out.started(l)
	if err != nil {
		out.finish()
		return rec.Fail(startReason(err), startError(l, err))
	}
	rec.Enter(runner.StageRun)
	reason, cause := r.supervise(ctx, req, t, out, rec.Start)
	killed := t.kill() // whoever is left, and before the leader is reaped
	rec.Enter(runner.StageRead)
	end, err := t.wait()
	held := out.finish()
	out.Into(rec)
	rec.Exited, rec.Exit, rec.Signal = end.exited, end.exit, end.signal
	if held {
		rec.Detail = []byte(`{"output_held":true}`)
	}
	switch {
	case reason != "":
		rec.Stage = runner.StageRun
		return rec.Fail(reason, cause)
	case err != nil:
		return rec.Fail(startReason(err), startError(l, err))
	case killed != nil:
		return rec.Fail(runner.ReasonFailed, killed)
	}
	return rec.End()
}

// start starts the program, again after a pause where the system is short of processes or descriptors.
func (r *Runner) start(ctx context.Context, l *launch) (task, error) {
	for pause := 10 * time.Millisecond; ; pause *= 2 {
		t, err := r.keeper.start(l)
		if err == nil || startReason(err) != runner.ReasonLocal || pause > 200*time.Millisecond {
			return t, err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// supervise waits for the end of the program, and ends it when one of its times has passed or the caller is gone. Reason is
// empty where it ended by itself.
func (r *Runner) supervise(ctx context.Context, req *runner.Request, t task, out *outputs, begun time.Time) (reason runner.Reason, err error) {
	var total, silence <-chan time.Time
	if limit := orDefault(req.Timeout, r.config.Timeout); limit > 0 {
		timer := time.NewTimer(time.Until(begun.Add(limit)))
		defer timer.Stop()
		total, err = timer.C, fmt.Errorf("ended after %v, the limit", limit)
	}
	var quiet *time.Timer
	if req.Silence > 0 {
		quiet = time.NewTimer(req.Silence)
		defer quiet.Stop()
		silence = quiet.C
	}
	for reason == "" {
		select {
		case <-t.exited():
			return "", nil
		case <-ctx.Done():
			reason, err = endReason(ctx), errors.New("ended, since the caller left or the gateway ends")
		case <-total:
			reason = runner.ReasonTimeout
		case <-silence:
			if left := req.Silence - out.Quiet(); left > 0 {
				quiet.Reset(left)
				continue
			}
			reason, err = runner.ReasonSilence, fmt.Errorf("ended after %v without output, the limit", req.Silence)
		}
	}
	t.terminate()
	r.allowGrace(t, min(orDefault(req.Grace, r.config.Grace), maxGrace))
	return reason, err
}

// maxGrace is the longest grace that a request can ask for.
const maxGrace = 30 * time.Second

// allowGrace waits for the end of a program that was told to end. Once Close is called the runner's own grace is the limit.
func (r *Runner) allowGrace(t task, limit time.Duration) {
	grace := time.NewTimer(limit)
	defer grace.Stop()
	select {
	case <-t.exited():
		return
	case <-grace.C:
		return
	case <-r.ended.Done():
	}
	grace.Reset(min(limit, r.config.Grace))
	select {
	case <-t.exited():
	case <-grace.C:
	}
}

// endReason tells why a context ended.
func endReason(ctx context.Context) runner.Reason {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return runner.ReasonTimeout
	}
	return runner.ReasonCanceled
}

func orDefault(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}
