package netio

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"
	"time"
)

// Result is the terminal answer of one item of a Map.
type Result struct {
	Index   int           // of the item in the input, from 0
	Body    []byte        // the caller's; results that came together share memory
	Elapsed time.Duration // from when the item was handed to a connection until its answer came
	ended   int64         // when that was, as monotonic has it; 0: it was never handed over
	Attempt int32         // how often the item was handed to a connection: 1, or more with Retries; 0: never
	More    bool          // another result is there already: whoever writes these need not flush yet
}

// End returns when the answer came; the zero time where the item was never sent. Start is Elapsed before.
func (r *Result) End() time.Time {
	if r.ended == 0 {
		return time.Time{}
	}
	return epoch.Add(time.Duration(r.ended - 1))
}

// Start returns when the item was sent, the last time; the zero time where it never was.
func (r *Result) Start() time.Time {
	if r.ended == 0 {
		return time.Time{}
	}
	return r.End().Add(-r.Elapsed)
}

// MapOptions says how a Map goes about it. Zero means the default.
type MapOptions struct {
	Batch    int  // items to a frame, which leaves when it is full or the input has ended; default 1: each at once, with others that are ready
	Ordered  bool // results in the order of the items, not as they finish
	InFlight int  // items sent and not yet yielded, at most, but with Ordered those not yet answered; default 65536 for each connection
	// Bytes bounds the answers that have come and are not yet yielded, with Ordered those too that wait for earlier ones. Above
	// it no more items are sent, and the gateway is not told that its answers have arrived: it goes on until it keeps
	// GatewayConfig.SendBuffer for each connection, then it runs no more of this swarm's tasks. Default 64 MiB.
	Bytes   int
	Timeout time.Duration // for each item, each time it is sent; default: the context's deadline alone
	// Key names an item for its gateway, in 1 to 64 bytes that no other item of its clients has: an idempotency key. A task that
	// comes again under its key, from a client that was killed and started anew, does not run again while the gateway has it,
	// and for GatewayConfig.SessionTimeout afterwards: it gets the answer of the first. Items with keys do not share frames.
	// Try counts how often this Map has sent the item, from 0; what is to run again needs another key. Key is called by several
	// goroutines. Default: none.
	Key func(index, try int) []byte
	// Arrived is called for each result as it comes, on the goroutine that takes the results, before it is yielded: with
	// Ordered that may be long before. More says that another comes at once. Default: none.
	Arrived func(r Result, err error)

	// OnRestart is what becomes of items with unknown outcome when the gateway restarts; default: what the context says
	// (WithRestart), or else the swarm.
	OnRestart RestartPolicy
	// Retries is how often an item is sent again, after a pause that doubles, that ended as timeout, busy or draining,
	// that reached no gateway, or that was lost under RestartRetry. In the long run the retries of a swarm are at most a
	// tenth of its items; what fails beyond that keeps its status. Default: none.
	Retries     int
	RetryFailed bool // also those that failed or panicked
}

// Map calls a subroutine for each item and yields the results as they finish, each with its own error or nil. Items are
// pulled as fast as the gateway takes them, at most 1,024 or 256 KiB ahead, so they need not be in memory; each must not
// change any more. Nil options are the defaults. Breaking the loop, or the end of ctx, cancels what is under way; after the
// end of ctx, the items that were handed out are still yielded, with their status. Map waits for the iterator of the items
// to return.
func (s *Swarm) Map(ctx context.Context, name string, items iter.Seq[[]byte], options *MapOptions) iter.Seq2[Result, error] {
	o, err := options.settle(len(s.lanes))
	o.OnRestart = s.policyFor(ctx, o.OnRestart)
	return func(yield func(Result, error) bool) {
		fields, badFields := fieldsOf(ctx)
		if err = errors.Join(err, badFields); err == nil {
			err = checkName(name)
		}
		if err != nil {
			yield(Result{}, err)
			return
		}
		feeding, stop := context.WithCancel(ctx)
		m := &mapRun{swarm: s, name: name, fields: fields, options: o, ctx: feeding, wake: make(chan struct{}, 1)}
		m.backlog.m = m
		m.feeder = feeder{m: m, room: make(chan struct{}, 1), offer: make(chan struct{}, 1)}
		m.sinks = make([]mapSink, len(s.lanes))
		if len(s.config.Interceptors) > 0 {
			m.calling = make(chan struct{}, interceptedAtOnce)
		}
		for i := range m.sinks {
			m.sinks[i].m = m
		}
		if o.Retries > 0 {
			m.retries = &retrier{m: m, wake: make(chan struct{}, 1)}
			m.working.Go(m.retries.run)
		}
		m.working.Go(func() { m.feeder.feed(items) })
		defer func() {
			if v := m.feeder.panicked; v != nil { // on the goroutine of the caller, who can recover it
				panic(v)
			}
		}()
		defer m.callers.Wait()
		defer m.working.Wait()
		defer m.backlog.end()
		defer m.cancelRest()
		defer stop()
		if o.Ordered {
			m.yieldOrdered(yield)
		} else {
			m.yieldAll(yield)
		}
	}
}

// settle returns the options with their defaults in place of what is not set.
func (given *MapOptions) settle(lanes int) (o MapOptions, err error) {
	if given != nil {
		o = *given
	}
	var s settings
	setting(&s, "Batch", &o.Batch, 1)
	setting(&s, "InFlight", &o.InFlight, 65536*lanes)
	o.InFlight = max(o.InFlight, o.Batch)
	setting(&s, "Bytes", &o.Bytes, 64<<20)
	setting(&s, "Timeout", &o.Timeout, 0)
	setting(&s, "Retries", &o.Retries, 0)
	return o, s.err
}

// mapRun is one Map under way. Its feeder pulls items and hands them to lanes (map_feed.go); the lanes' readers settle
// them (map_sink.go); the caller's goroutine yields the results.
type mapRun struct {
	swarm   *Swarm
	name    string
	fields  string // of the frames of its items
	options MapOptions
	ctx     context.Context // ends when the caller has had enough
	feeder  feeder
	sinks   []mapSink      // one for each lane
	retries *retrier       // nil: there are none
	working sync.WaitGroup // the goroutines of the feeder and the retrier
	calling chan struct{}  // a slot for each item inside interceptors; nil: there are none
	callers sync.WaitGroup // the goroutines of these

	wake     chan struct{} // one slot: results have come, or the feeder has ended
	yielded  atomic.Int64  // results taken by the caller
	answered atomic.Int64  // results that have come; counted where they are yielded in order
	backlog  backlog       // the bytes of those that have come and are not taken

	mu      sync.Mutex // guards what follows
	results [][]mapResult
	spare   [][]mapResult // memory of results that were yielded, for the next
	ended   bool          // the caller is gone: results are dropped
}

type mapResult struct {
	Result
	err error
}

// add gives the caller results, which are the caller's from now on.
func (m *mapRun) add(some ...mapResult) {
	bytes := 0
	for i := range some {
		bytes += len(some[i].Body)
	}
	m.backlog.add(bytes)
	m.mu.Lock()
	if !m.ended {
		if m.results = append(m.results, some); len(m.results) == 1 {
			wake(m.wake)
		}
	}
	m.mu.Unlock()
	if m.options.Ordered {
		m.answered.Add(int64(len(some)))
		wake(m.feeder.room)
	}
}

// next returns the results that have come, and waits for some; none at the end. Spare is memory to use again. Wanted is the
// item without which nothing is yielded, negative where there is none.
func (m *mapRun) next(spare [][]mapResult, wanted int) [][]mapResult {
	cancelled := m.ctx.Done()
	for {
		var stuck <-chan time.Time
		if wanted >= 0 {
			stuck = m.backlog.stuck(wanted)
		}
		m.mu.Lock()
		if got := m.results; len(got) > 0 {
			m.results = spare[:0]
			m.mu.Unlock()
			return got
		}
		m.mu.Unlock()
		if pulled, all := m.feeder.pulledAll(); all && pulled == m.yielded.Load() {
			return nil
		}
		select {
		case <-m.wake:
		case <-stuck:
			m.backlog.letThrough(wanted)
		case <-cancelled:
			cancelled = nil
			m.cancelHanded()
		}
	}
}

// count records that the caller has taken results.
func (m *mapRun) count(n, bytes int) {
	m.yielded.Add(int64(n))
	m.backlog.take(bytes)
	wake(m.feeder.room)
}

// used gives the memory of results back that were yielded.
func (m *mapRun) used(some []mapResult) {
	clear(some)
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.spare) < 2*len(m.sinks) {
		m.spare = append(m.spare, some[:0])
	}
}

func (m *mapRun) yieldAll(yield func(Result, error) bool) {
	const often = 64 // results after which the feeder learns of them
	var got [][]mapResult
	for {
		if got = m.next(got, -1); got == nil {
			return
		}
		for i, some := range got {
			bytes := 0
			for k := range some {
				bytes += len(some[k].Body)
				some[k].More = k < len(some)-1 || i < len(got)-1
				if m.options.Arrived != nil {
					m.options.Arrived(some[k].Result, some[k].err)
				}
				if !yield(some[k].Result, some[k].err) {
					return
				}
				if k%often == often-1 {
					m.count(often, bytes)
					bytes = 0
				}
			}
			m.count(len(some)%often, bytes)
			m.used(some)
			got[i] = nil
		}
	}
}

// yieldOrdered holds back what has overtaken; Bytes bounds how much.
func (m *mapRun) yieldOrdered(yield func(Result, error) bool) {
	early := map[int]mapResult{}
	var got [][]mapResult
	for index := 0; ; {
		if got = m.next(got, index); got == nil {
			return
		}
		for i, some := range got {
			for k, r := range some {
				if m.options.Arrived != nil {
					r.More = k < len(some)-1 || i < len(got)-1
					m.options.Arrived(r.Result, r.err)
				}
				early[r.Index] = r
			}
			m.used(some)
			got[i] = nil
		}
		for {
			r, ok := early[index]
			if !ok {
				break
			}
			delete(early, index)
			index++
			_, r.More = early[index]
			if !yield(r.Result, r.err) {
				return
			}
			m.count(1, len(r.Body))
		}
	}
}

// cancelHanded cancels what is under way; each task still gets its status.
func (m *mapRun) cancelHanded() {
	for _, l := range m.swarm.lanes {
		l.cancelAll(m.sinkFor(l))
	}
}

// cancelRest drops what the caller did not wait for.
func (m *mapRun) cancelRest() {
	m.mu.Lock()
	m.ended = true
	m.results = nil
	m.mu.Unlock()
	m.cancelHanded()
}

// cancelAll cancels the tasks of one sink at the gateway. Their answers come: canceled, or what they were before the
// cancel arrived; if the connection is away, they end here, as canceled where they were never sent, else as lost.
func (l *swarmLane) cancelAll(who sink) {
	var away []ending
	var asked, cancelled *request
	var unseen map[uint32]struct{}
	l.mu.Lock()
	if l.link == nil {
		unseen = l.unseen(false)
	}
	for id := range l.slots {
		s := l.slots[id]
		switch {
		case s.sink != who || s.request.cancelled:
		case l.link == nil || s.parked():
			e := ending{slot: s, status: StatusCanceled}
			if _, never := unseen[uint32(id)]; !never && !s.parked() {
				e.status, e.err.Text = StatusLost, "cancelled while the gateway was away, which may have run it"
			}
			away = append(away, e)
			l.dismiss(uint32(id))
		default:
			l.cancelSlot(uint32(id))
			if s.request != asked {
				again := *s.request
				again.cancelled = true
				asked, cancelled = s.request, &again
			}
			l.slots[id].request = cancelled
		}
	}
	l.mu.Unlock()
	l.deliver(away)
}
