package main

import (
	"context"
	"errors"
	"time"

	"shoal/netio"
)

// report is what a person or a program sees of many results: lines on standard output, progress and counts on
// standard error, and the job log.
type report struct {
	p        *process
	client   *clientCommand
	feed     *taskFeed
	out      *resultWriter
	progress *progress
	summary  summary
	failed   *failedTasks
	quiet    bool
	started  time.Time
	ordered  bool   // results wait for those of earlier tasks, their ends in the job log do not
	pending  []task // of ordered results: those that are in the job log and not yet on standard output
}

func newReport(p *process, client *clientCommand, format string, feed *taskFeed, failed *failedTasks) *report {
	total := int64(0)
	if feed.input.all {
		total = int64(feed.input.total)
	}
	pr := newProgress(p.stderr, progressOptions{Total: total, Before: int64(feed.expected()), Quiet: client.Quiet, Plain: client.Stats})
	r := &report{p: p, client: client, feed: feed, out: newResultWriter(pr.beside(p.stdout), format), progress: pr, failed: failed,
		quiet: client.Quiet, started: time.Now()}
	if most := p.stdout.atomicWrite(); most > 0 {
		r.out.most = most
	}
	if p.stdout.continued() || !p.stdout.mode.IsRegular() && feed.log != nil && feed.log.resumed {
		r.out.continues()
	}
	return r
}

// close gives up what the report holds.
func (r *report) close() {
	r.progress.close()
	_ = r.failed.close()
	r.feed.close()
}

// swarmConfig is what the swarm of a report is told: to say so when no connection is left, and what happens next.
func (r *report) swarmConfig() netio.SwarmConfig {
	o := r.client.outage(r.progress.note)
	if r.quiet {
		o.say = func(string) {}
	}
	return netio.SwarmConfig{OnConnection: o.happened}
}

// resultBytes bounds the answers that have come and are not printed yet.
const resultBytes = 4 << 20

// patience is how long an interrupted client waits for the gateway to confirm what it cancelled.
const patience = 3 * time.Second

// run maps a subroutine over the tasks, reports the results, and returns the command's outcome. Without a batch of the
// user's, most is the most tasks to a frame.
func (r *report) run(ctx context.Context, s *netio.Swarm, name string, o netio.MapOptions, batch *int, most int) error {
	hurry := func() { _ = s.Close() }
	r.p.interrupt.hurry.Store(&hurry)
	r.started = time.Now()
	o.Bytes = resultBytes
	if o.Batch = orElse(batch, most); o.InFlight == 0 {
		workers := gatewayWorkers(ctx, s)
		o.Batch = orElse(batch, min(most, workers))
		o.InFlight = inFlight(workers, o)
	}
	return r.end(ctx, r.mapped(ctx, s, name, o))
}

// gatewayWorkers is how many tasks the gateway runs at once.
func gatewayWorkers(ctx context.Context, s *netio.Swarm) int {
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	workers, err := s.GatewayWorkers(ctx)
	if err != nil || workers <= 0 {
		return 1024 // the default of a server; it is too busy to say, or of another release
	}
	return workers
}

// inFlight is how many tasks may be under way: what the gateway's workers can use, and a little more, so that no worker waits
// for the client. A task with a timeout should not wait there for a worker, since that would count; and what has not begun
// is lost too when the gateway dies.
func inFlight(workers int, o netio.MapOptions) int {
	if o.Timeout > 0 {
		return workers + o.Batch - 1
	}
	return 3 * workers
}

// askTime is how long a gateway may take to say how many workers it has.
const askTime = 500 * time.Millisecond

// mapped reports each result. When they cannot be written any more, the tasks under way are cancelled, and still counted.
func (r *report) mapped(ctx context.Context, s *netio.Swarm, name string, o netio.MapOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		r.feed.input.stop()
		// A gateway that does not answer holds nobody up for longer.
		time.AfterFunc(patience, func() { _ = s.Close() })
	})()
	if log := r.feed.log; log != nil && log.job != nil {
		o.Key = func(index, try int) []byte { return log.key(r.feed.get(index), try) }
	}
	if r.ordered = o.Ordered && r.feed.log != nil; r.ordered {
		o.Arrived = r.logEarly
	}
	var done, failed int64
	for result, err := range s.Map(ctx, name, r.feed.items(), &o) {
		t := r.feed.take(result.Index)
		rec := r.record(t, &result, err)
		if err != nil {
			failed++
			if rec.Status != "canceled" || ctx.Err() == nil {
				r.failed.add(&rec)
			}
		}
		done++
		if rec.Status == statusUnreachable {
			r.feed.input.stop() // what is left would only end likewise
		}
		r.summary.add(&rec)
		if err := r.write(t, &rec, result.More); err != nil {
			cancel()
		}
		r.progress.set(done, failed)
	}
	return errors.Join(r.flush(), r.feed.failed())
}

// record is what is said of a result.
func (r *report) record(t task, result *netio.Result, err error) record {
	rec := record{Task: t.text, ID: t.id, Status: netio.StatusOf(err).String(), Response: result.Body, Elapsed: result.Elapsed,
		Attempt: int(result.Attempt), Start: result.Start(), End: result.End()}
	rec.Host, rec.Command = r.feed.input.format.split(t.key)
	if err != nil {
		rec.Error = errorText(err)
		if errors.Is(err, netio.ErrUnreachable) {
			rec.Status = statusUnreachable
		}
	}
	return rec
}

// write writes a result, and logs it.
func (r *report) write(t task, rec *record, more bool) error {
	err := r.out.Write(rec)
	switch {
	case r.feed.log == nil:
	case r.ordered:
		r.pending = append(r.pending, t)
	default:
		r.feed.log.add(t.key, t.n, rec)
	}
	if err == nil && more {
		return nil
	}
	return r.flush()
}

// flush writes what is buffered. Results go first: what the log has is done for good. Only where results wait for those of
// earlier tasks does the log have them already, and is told when they could not be written.
func (r *report) flush() error {
	err := r.out.Flush()
	log := r.feed.log
	switch {
	case log == nil:
		return err
	case err == nil:
		r.pending = r.pending[:0]
		return log.flush()
	case !r.ordered:
		log.drop()
		return err
	}
	for _, t := range r.pending {
		log.add(t.key, t.n, &record{Status: statusUnwritten})
	}
	r.pending = r.pending[:0]
	_ = log.flush() // what went wrong first is said
	return err
}

// logEarly records how a task ended whose result waits for those of earlier tasks.
func (r *report) logEarly(result netio.Result, err error) {
	t := r.feed.get(result.Index)
	rec := r.record(t, &result, err)
	r.feed.log.add(t.key, t.n, &rec)
	if !result.More {
		_ = r.feed.log.flush() // the error stays, and flush returns it
	}
}

// errorText returns what the subroutine or shoal said, without what the status says already.
func errorText(err error) string {
	te, ok := errors.AsType[*netio.TaskError](err)
	switch {
	case !ok:
		return err.Error()
	case te.Text == "":
		return te.Status.String()
	}
	return te.Text
}

// end prints the counts and returns the command's outcome.
func (r *report) end(ctx context.Context, err error) error {
	r.summary.elapsed = time.Since(r.started)
	r.summary.before = r.feed.before()
	r.summary.skipped = int(r.feed.input.skipped.Load())
	r.summary.hadEnough = hadEnough(err)
	if r.feed.input.all {
		r.summary.unsent = max(0, r.feed.input.total-r.summary.total-r.summary.before.tasks)
	}
	r.progress.close()
	if !r.quiet {
		r.failed.write(r.p.stderr)
		_ = r.summary.write(r.p.stderr)
	}
	if failed := r.failed.close(); err == nil {
		err = failed
	}
	switch {
	case ctx.Err() != nil:
		return r.p.interruptedWith(err)
	case err != nil && !hadEnough(err):
		return err
	case r.summary.exitCode() != exitOK:
		return &exitError{status: r.summary.exitCode()}
	}
	return nil
}
