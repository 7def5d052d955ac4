package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"time"

	"shoal/netio"
)

// Remote is a scan that a gateway makes for a client. It alone decides what is probed again when a gateway is lost: it
// counts for each position what its reader has got, and asks the next gateway for the others. What was in a buffer, on the
// wire or found but not sent when a gateway went away is so found again, and nothing is missing or there twice.
//
// One goroutine at a time uses it.
type Remote struct {
	swarm    *netio.Swarm
	name     string
	scan     Scan
	plan     *plan
	answered *tracker
	counts   Counts
	options  RemoteOptions
	resumes  int
}

// RemoteOptions are what a client may say beside the scan. Zero means the default.
type RemoteOptions struct {
	Subroutine string        // default "probe"
	GiveUp     time.Duration // without an answer for so long, and no gateway that goes on, the scan ends; default 60 s
	Status     func(Status)  // is called with what the gateway says the scan is at, after the results before it
	Resumed    func(error)   // is called when the scan is about to go on, with what cut it off
}

// ErrIncomplete says that a scan ended with positions that have no answer. Remote.Rest describes them.
var ErrIncomplete = errors.New("scan is incomplete")

// NewRemote prepares a scan over a swarm. The error is ErrBadScan.
func NewRemote(sw *netio.Swarm, s Scan, o RemoteOptions) (*Remote, error) {
	p, err := newPlan(&s)
	if err != nil {
		return nil, err
	}
	if _, err := s.options(); err != nil {
		return nil, err
	}
	answered := newTracker(p.total, s.From)
	if err := answered.restore(s.Answered); err != nil {
		return nil, badScan("answered: %w", err)
	}
	if o.Subroutine == "" {
		o.Subroutine = Subroutine
	}
	if o.GiveUp <= 0 {
		o.GiveUp = 60 * time.Second
	}
	return &Remote{swarm: sw, name: o.Subroutine, scan: s, plan: p, answered: answered, options: o}, nil
}

// Total returns how many positions the scan has, with those that had their answer before.
func (r *Remote) Total() uint64 { return r.plan.total }

// Answered returns how many positions have their answer, with those that had it before.
func (r *Remote) Answered() uint64 { return r.answered.count }

// Counts returns the answers that Results has yielded.
func (r *Remote) Counts() Counts { return r.counts }

// Resumes returns how often the scan went on after it was cut off.
func (r *Remote) Resumes() int { return r.resumes }

// Rest returns the scan of the positions that have no answer yet: those before From and those in Answered are left out. What
// Results is yielding counts as answered only when the loop's body has returned.
func (r *Remote) Rest() Scan {
	rest := r.scan
	rest.From, rest.Answered = r.answered.low, r.answered.beyond()
	return rest
}

// Results makes the scan and yields each answer, once. After the last, an error is yielded with the zero Result if positions
// are left without an answer: it matches ErrIncomplete, and what the gateway said. Breaking the loop ends the scan at the
// gateway; Results may be called again for the rest.
func (r *Remote) Results(ctx context.Context) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		enough := false
		each := func(res Result) bool {
			enough = !yield(res, nil)
			return !enough
		}
		if err := r.scanAll(ctx, each); err != nil && !enough {
			left := r.plan.total - r.answered.count
			yield(Result{}, fmt.Errorf("%w: %d of %d probes have no answer: %w", ErrIncomplete, left, r.plan.total, err))
		}
	}
}

// scanAll opens the subroutine again and again until every position has its answer.
func (r *Remote) scanAll(ctx context.Context, each func(Result) bool) error {
	const firstPause, longestPause = 20 * time.Millisecond, time.Second
	pause := firstPause
	progress := time.Now()
	for {
		before := r.answered.count
		err := r.stream(ctx, each)
		if r.answered.complete() || errors.Is(err, errEnough) {
			return nil
		}
		if err == nil { // the gateway calls it done; the count says that it is not
			err = fmt.Errorf("%w: the gateway ended the scan early", netio.ErrLost)
		}
		if r.answered.count > before {
			pause, progress = firstPause, time.Now()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !goesOn(err) || time.Since(progress) > r.options.GiveUp {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return ctx.Err()
		}
		pause = min(longestPause, 2*pause)
		r.resumes++
		if r.options.Resumed != nil {
			r.options.Resumed(err)
		}
	}
}

// goesOn reports whether a scan that was cut off by err can go on at the gateway, or at its successor.
func goesOn(err error) bool {
	for _, passing := range []error{netio.ErrLost, netio.ErrDraining, netio.ErrUnreachable, netio.ErrBusy} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// errEnough says that the reader has had enough.
var errEnough = errors.New("enough")

// stream opens the subroutine once, and takes in what it sends.
func (r *Remote) stream(ctx context.Context, each func(Result) bool) error {
	rest := r.Rest()
	rest.Version = scanVersion
	argument, err := json.Marshal(rest)
	if err != nil {
		return err
	}
	next := int64(0)
	for chunk, err := range r.swarm.Stream(ctx, r.name, argument) {
		if err != nil {
			return err
		}
		if len(chunk.Body) == 0 || chunk.Ident != next {
			return fmt.Errorf("%w: chunk %d, %d expected", errWire, chunk.Ident, next)
		}
		next++
		if err := r.take(chunk, each); err != nil {
			return err
		}
	}
	return nil
}

// take takes a chunk in.
func (r *Remote) take(c netio.Chunk, each func(Result) bool) error {
	body := c.Body[1:]
	if (c.Body[0] == chunkHello) != (c.Ident == 0) {
		return fmt.Errorf("%w: kind %d at %d", errWire, c.Body[0], c.Ident)
	}
	switch c.Body[0] {
	case chunkHello:
		return r.hello(body)
	case chunkAnswers:
		for last := uint64(0); len(body) > 0; {
			f, rest, err := parseAnswer(body, last)
			if err != nil {
				return err
			}
			body, last = rest, f.position
			if err := r.yield(&f, c.More || len(body) > 0, each); err != nil {
				return err
			}
		}
	case chunkResult:
		f, err := parseResult(body)
		if err != nil {
			return err
		}
		return r.yield(&f, c.More, each)
	case chunkStatus:
		var s Status
		if err := json.Unmarshal(body, &s); err != nil {
			return fmt.Errorf("%w: %w", errWire, err)
		}
		if r.options.Status != nil {
			r.options.Status(s)
		}
	}
	return nil // a kind that came later is skipped
}

func (r *Remote) hello(body []byte) error {
	var h helloJSON
	if err := json.Unmarshal(body, &h); err != nil {
		return fmt.Errorf("%w: %w", errWire, err)
	}
	if h.Version != scanVersion || h.Total != r.plan.total {
		return fmt.Errorf("%w: the gateway counts %d probes, this client %d", errWire, h.Total, r.plan.total)
	}
	return nil
}

// yield hands a result over and then counts it: where the reader stops at one, it has that one.
func (r *Remote) yield(f *finding, more bool, each func(Result) bool) error {
	if err := r.answered.check(f.position); err != nil {
		return fmt.Errorf("%w: %w", errWire, err)
	}
	result := r.plan.result(f)
	result.More = more
	goOn := each(result)
	r.answered.mark(f.position)
	r.counts.Add(f.answer)
	if !goOn {
		return errEnough
	}
	return nil
}
