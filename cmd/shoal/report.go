package main

import (
	"context"
	"errors"
	"iter"
	"time"

	"shoal/netio"
)

// report is what a person or a program sees of many results: lines on standard output, progress and counts on
// standard error.
type report struct {
	p        *process
	out      *resultWriter
	progress *progress
	summary  summary
	total    int          // 0: not known
	log      *loggedTasks // nil: none
	quiet    bool
	started  time.Time
}

func newReport(p *process, format string, total int, quiet bool) *report {
	pr := newProgress(p.stderr, progressOptions{Total: int64(total), Quiet: quiet})
	return &report{p: p, out: newResultWriter(pr.beside(p.stdout), format), progress: pr, total: total, quiet: quiet,
		started: time.Now()}
}

// taskSource gives tasks while their answers come, and knows what the output calls them.
type taskSource interface {
	tasks(ctx context.Context, yield func(item []byte) bool)
	text(index int) string
	failed() error // why there were fewer tasks than there should have been
}

// patience is how long an interrupted client waits for the gateway to confirm what it cancelled.
const patience = 3 * time.Second

// mapped maps a subroutine over the tasks and reports the results. When they cannot be written any more, the tasks under
// way are cancelled, and still counted.
func (r *report) mapped(ctx context.Context, s *netio.Swarm, name string, from taskSource, o netio.MapOptions) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() {
		// A gateway that does not answer holds nobody up for longer.
		time.AfterFunc(patience, func() { _ = s.Close() })
	})()
	tasks := func(yield func([]byte) bool) { from.tasks(ctx, yield) }
	err := r.results(s.MapWith(ctx, name, tasks, o), from.text, cancel)
	return errors.Join(err, from.failed())
}

// results prints each result; task gives the text of an item. A write that fails calls cancel, and only counts from there.
func (r *report) results(results iter.Seq2[netio.Result, error], task func(index int) string, cancel func()) error {
	var done, failed int64
	for result, err := range results {
		rec := record{Task: task(result.Index), ID: result.Index, Status: netio.StatusOf(err).String(),
			Response: result.Body, Elapsed: result.Elapsed}
		if err != nil {
			rec.Error = errorText(err)
			failed++
		}
		done++
		r.summary.add(&rec)
		err := r.out.Write(&rec)
		if r.log != nil {
			r.log.done(result.Index, rec.Status)
		}
		if err == nil && !result.More {
			err = r.flush()
		}
		if err != nil {
			cancel()
		}
		r.progress.set(done, failed)
	}
	return r.flush()
}

// flush writes what is buffered. Results go first: what the log has is done for good.
func (r *report) flush() error {
	err := r.out.Flush()
	switch {
	case r.log == nil:
	case err == nil:
		err = r.log.log.flush()
	default:
		r.log.log.drop()
	}
	return err
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
	if r.log != nil {
		r.summary.done, r.summary.doneNotOK = r.log.skipped, r.log.notOK
	}
	r.summary.unsent = max(0, r.total-r.summary.total-r.summary.done)
	r.progress.close()
	if !r.quiet {
		_ = r.summary.write(r.p.stderr)
	}
	switch {
	case ctx.Err() != nil:
		return &exitError{status: exitInterrupted}
	case err != nil && !hadEnough(err):
		return err
	case r.summary.exitCode() != exitOK:
		return &exitError{status: r.summary.exitCode()}
	}
	return nil
}
