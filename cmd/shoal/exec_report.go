package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"shoal/netio"
	"shoal/netio/rollout"
)

// execReport is what a person or a program sees of commands: results on standard output and standard error, progress, and
// what did not end well.
type execReport struct {
	p        *process
	flags    *execOutputFlags
	quiet    bool
	progress *progress
	summary  summary
	failed   *failedTargets
	outdir   *hostFiles
	errdir   *hostFiles
	largest  int // exit status
	work     *execWork

	mu     sync.Mutex // guards what follows: groups are shown by a goroutine of their own too
	out    *execWriter
	gather *gatherer // nil: results are shown as they come
}

// runExec hands tasks to a gateway as a roll-out lets it, and reports what comes.
func runExec(p *process, client *clientCommand, flags *execOutputFlags, embedded bool, runners *embeddedFlags, work *execWork) error {
	if err := p.stdout.usable(); err != nil {
		return err
	}
	r, err := newExecReport(p, client, flags, work)
	if err != nil {
		return err
	}
	defer r.close()
	url := client.url()
	if !embedded && runners.given() {
		return usage("--ssh-config and --known-hosts go with --embedded: give them to 'shoal server' otherwise")
	}
	if embedded {
		address, stop, err := runners.start(p, client, work.via, work.config.Fanout, work.hosts)
		if err != nil {
			return err
		}
		defer stop()
		url = address
	}
	s, err := client.dial(p.ctx, p, url, netio.SwarmConfig{})
	if err != nil {
		return err
	}
	defer s.Close()
	hurry := func() { _ = s.Close() }
	p.interrupt.hurry.Store(&hurry)
	return r.run(s, work)
}

func newExecReport(p *process, client *clientCommand, flags *execOutputFlags, work *execWork) (*execReport, error) {
	r := &execReport{p: p, flags: flags, quiet: client.Quiet, work: work}
	r.summary.noSum = true
	var err error
	if r.outdir, err = openHostFiles("--outdir", flags.Outdir); err != nil {
		return nil, err
	}
	if r.errdir, err = openHostFiles("--errdir", flags.Errdir); err != nil {
		return nil, err
	}
	if r.failed, err = openFailedTargets(p, work.failedFile); err != nil {
		return nil, err
	}
	r.progress = newProgress(p.stderr, progressOptions{Total: int64(work.total), Quiet: client.Quiet, Plain: client.Stats})
	r.out = newExecWriter(r.progress.beside(p.stdout), r.progress.besideStderr(p.stderr), work.output)
	r.out.live = flags.Live
	if flags.Gather {
		r.gather = newGatherer(flags.GatherTime)
	}
	return r, nil
}

// close gives up what the report holds.
func (r *execReport) close() {
	r.progress.close()
	_ = r.failed.close()
	_ = r.outdir.close()
	_ = r.errdir.close()
}

// run is the roll-out.
func (r *execReport) run(s *netio.Swarm, work *execWork) error {
	options := rollout.Options{Judge: judge, Map: work.options}
	if r.flags.Live {
		options.Each = r.live(s, work.via)
	}
	roll, err := rollout.New(work.config, options)
	if err != nil {
		return usage("%w", err)
	}
	// The roll-out's context ends after it has been said what was under way.
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.p.ctx))
	defer cancel()
	show := func() { writeUnderway(r.progress.besideStderr(r.p.stderr), roll.Underway()) }
	defer context.AfterFunc(r.p.ctx, func() {
		if !r.quiet {
			show()
		}
		cancel()
		time.AfterFunc(patience, func() { _ = s.Close() }) // a gateway that does not answer holds nobody up for longer
	})()
	defer showOnSignal(show)()
	defer r.showGroups(cancel)()
	began := time.Now()
	var done, failed int64
	for result, err := range roll.Map(ctx, s, work.via, work.tasks) {
		if result.Index < 0 {
			return err
		}
		t := work.take(result.Index)
		one := newExecResult(work.via, t.host, t.command, t.text, &result, err)
		if done++; one.Status != statusOK {
			failed++
		}
		if err := r.add(one, t.task, result.More); err != nil {
			cancel()
		}
		r.progress.set(done, failed)
	}
	r.summary.elapsed = time.Since(began)
	if work.total > 0 {
		r.summary.unsent = work.total - r.summary.total
	}
	if work.prior != nil {
		r.summary.before = work.prior()
	}
	return r.end()
}

// add takes a result in. The error is that of standard output.
func (r *execReport) add(one *execResult, t task, more bool) error {
	if one.Status == statusNotStarted {
		r.summary.unsent++
	} else {
		r.summary.add(&record{Status: one.Status})
		r.outdir.write(one.Host, one.Record.Stdout)
		r.errdir.write(one.Host, one.Record.Stderr)
	}
	if one.Status != statusOK {
		r.failed.add(one)
	}
	r.largest = max(r.largest, one.largestExit())
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gather != nil {
		r.gather.add(one, time.Now())
		return r.out.failed
	}
	err := r.out.write(one)
	if r.work.log != nil && one.Status != statusNotStarted {
		r.work.log.add(t.key, t.n, one.logged())
	}
	if err == nil && more {
		return nil
	}
	return r.flushLocked()
}

// flushLocked writes what is buffered. Results go first: what the job log has is done for good.
func (r *execReport) flushLocked() error {
	err := r.out.flush()
	switch {
	case r.work.log == nil:
	case err == nil:
		err = r.work.log.flush()
	default:
		r.work.log.drop()
	}
	return err
}

// showGroups starts the goroutine that shows groups when they are complete. The function that it returns ends it, and shows
// those that are left.
func (r *execReport) showGroups(failed func()) (stop func()) {
	if r.gather == nil {
		return func() {}
	}
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(max(r.flags.GatherTime/4, time.Millisecond))
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if r.writeGroups(false) != nil {
					failed()
				}
			case <-stopped:
				return
			}
		}
	}()
	return func() { close(stopped); <-done }
}

func (r *execReport) writeGroups(all bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for group := range r.gather.complete(time.Now(), all) {
		if err := r.out.writeGroup(group); err != nil {
			return err
		}
	}
	return r.out.failed
}

// flush writes all that is held back or buffered.
func (r *execReport) flush() error {
	if r.gather != nil {
		return r.writeGroups(true)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.flushLocked()
}

// input says why there were fewer tasks than there should have been.
func (r *execReport) input() error {
	if r.work.err == nil {
		return nil
	}
	return r.work.err()
}

// end shows what is left, and returns the outcome.
func (r *execReport) end() error {
	err := errors.Join(r.flush(), r.input(), r.outdir.close(), r.errdir.close(), r.failed.close())
	r.progress.close()
	r.summary.hadEnough = hadEnough(err)
	if !r.quiet {
		r.failed.write(r.p.stderr)
		_ = r.summary.write(r.p.stderr)
	}
	switch {
	case r.p.ctx.Err() != nil:
		return r.p.interruptedWith(err)
	case err != nil && !hadEnough(err):
		return err
	case r.flags.MaxStatus && r.largest != exitOK:
		return &exitError{status: r.largest}
	case r.flags.MaxStatus:
		return nil
	case r.summary.exitCode() != exitOK:
		return &exitError{status: r.summary.exitCode()}
	}
	return nil
}
