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
	Body    []byte        // the caller's; results of one frame share memory
	Elapsed time.Duration // from when the item was handed to a connection until its answer came
	More    bool          // another result is there already: whoever writes these need not flush yet
}

// MapOptions says how a Map goes about it. Zero means the default.
type MapOptions struct {
	Batch    int           // items to a frame: a frame leaves when it is full or the input has ended; default 1: each at once
	Ordered  bool          // results in the order of the items, not as they finish
	InFlight int           // items sent and not yet yielded, at most; default 65536 for each connection
	Timeout  time.Duration // for each item, each time it is sent; default: the context's deadline alone

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
// pulled as fast as the gateway takes them, so they need not be in memory; each must not change any more. Breaking the
// loop, or the end of ctx, cancels what is under way; after the end of ctx, the items that were handed out are still
// yielded, with their status.
func (s *Swarm) Map(ctx context.Context, name string, items iter.Seq[[]byte]) iter.Seq2[Result, error] {
	return s.MapWith(ctx, name, items, MapOptions{})
}

// MapWith is Map with options.
func (s *Swarm) MapWith(ctx context.Context, name string, items iter.Seq[[]byte], o MapOptions) iter.Seq2[Result, error] {
	o.Batch = max(1, o.Batch)
	o.OnRestart = s.policyFor(ctx, o.OnRestart)
	o.InFlight = max(o.Batch, orDefault(o.InFlight, 65536*len(s.lanes)))
	return func(yield func(Result, error) bool) {
		if err := checkName(name); err != nil {
			yield(Result{}, err)
			return
		}
		feeding, stop := context.WithCancel(ctx)
		m := &mapRun{swarm: s, name: name, options: o, ctx: feeding, wake: make(chan struct{}, 1), room: make(chan struct{}, 1)}
		if len(s.config.Interceptors) > 0 {
			m.calling = make(chan struct{}, interceptedAtOnce)
		}
		var feeder sync.WaitGroup
		if o.Retries > 0 {
			m.retries = &retrier{m: m, wake: make(chan struct{}, 1)}
			feeder.Go(m.retries.run)
		}
		feeder.Go(func() { m.feed(items) })
		defer m.callers.Wait()
		defer feeder.Wait()
		defer m.cancelRest()
		defer stop()
		if o.Ordered {
			m.yieldOrdered(yield)
		} else {
			m.yieldAll(yield)
		}
	}
}

// mapRun is one Map under way. Its feeder goroutine pulls items and hands them to lanes; the lanes' readers deliver
// results; the caller's goroutine yields them.
type mapRun struct {
	swarm   *Swarm
	name    string
	options MapOptions
	ctx     context.Context // ends when the caller has had enough
	wake    chan struct{}   // one slot: results have come, or the feeder has ended
	room    chan struct{}   // one slot: results were yielded
	retries *retrier        // nil: there are none
	calling chan struct{}   // a slot for each item inside interceptors; nil: there are none
	callers sync.WaitGroup  // the goroutines of these

	sent    atomic.Int64 // items handed out
	yielded atomic.Int64 // results taken by the caller

	mu      sync.Mutex // guards what follows
	results []mapResult
	pulled  bool // no more items come
	ended   bool // the caller is gone: results are dropped
}

type mapResult struct {
	Result
	err error
}

// deliver takes results from a lane's reader. Their bodies are copied into one piece of memory.
func (m *mapRun) deliver(answers []answer) {
	size := 0
	for i := range answers {
		if answers[i].status == StatusOK {
			size += len(answers[i].body)
		}
	}
	bodies := make([]byte, 0, size)
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range answers {
		a := &answers[i]
		r := mapResult{Result: Result{Index: a.index, Elapsed: a.elapsed}}
		if a.status == StatusOK {
			start := len(bodies)
			bodies = append(bodies, a.body...)
			r.Body = bodies[start:len(bodies):len(bodies)]
			m.retries.over(a.index)
		} else {
			r.err = decodeError(a.name, a.status, a.body)
			if m.retries.again(outgoing{sink: m, index: a.index, body: a.task, policy: m.options.OnRestart}, r) {
				continue
			}
		}
		m.addLocked(r)
	}
}

// add gives the caller a result.
func (m *mapRun) add(r mapResult) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.addLocked(r)
}

// addLocked is add with mu held.
func (m *mapRun) addLocked(r mapResult) {
	if m.ended {
		return
	}
	if m.results = append(m.results, r); len(m.results) == 1 {
		wake(m.wake)
	}
}

// feed hands out the items, a batch at a time.
func (m *mapRun) feed(items iter.Seq[[]byte]) {
	batch := make([]outgoing, 0, min(m.options.Batch, 4096))
	index := 0
	for item := range items {
		batch = append(batch, outgoing{sink: m, index: index, body: item, policy: m.options.OnRestart})
		index++
		if len(batch) == m.options.Batch {
			if !m.hand(batch) {
				batch = batch[:0]
				break
			}
			batch = batch[:0]
		}
		if m.ctx.Err() != nil {
			break
		}
	}
	if len(batch) > 0 {
		m.hand(batch)
	}
	m.mu.Lock()
	m.pulled = true
	m.mu.Unlock()
	wake(m.wake)
}

// hand gives a batch to a lane. False means that no more items are wanted.
func (m *mapRun) hand(batch []outgoing) bool {
	if !m.waitForRoom(len(batch)) {
		return false
	}
	m.sent.Add(int64(len(batch)))
	if m.retries != nil {
		m.swarm.retries.earn(len(batch))
	}
	return m.submit(batch)
}

// submit hands tasks to lanes; those that no lane takes end here. False means that no more items are wanted.
func (m *mapRun) submit(batch []outgoing) bool {
	if m.calling != nil {
		for _, t := range batch {
			m.call(t)
		}
		return m.ctx.Err() == nil
	}
	r := request{name: m.name, deadline: deadlineOf(m.ctx)}
	if m.options.Timeout > 0 {
		if d := deadlineIn(m.options.Timeout); r.deadline == 0 || d < r.deadline {
			r.deadline = d
		}
	}
	together := mostTogether
	for len(batch) > 0 {
		n := min(together, m.swarm.frameful(batch))
		_, _, err := m.swarm.submit(m.ctx, r, batch[:n], false)
		if errors.Is(err, ErrTooLarge) { // one that is too large does not stop the others
			if n == 1 {
				m.add(mapResult{Result{Index: batch[0].index}, err})
				batch = batch[1:]
			}
			together = 1
			continue
		}
		if err != nil {
			retried := false
			for _, t := range batch {
				last := mapResult{Result{Index: t.index}, err}
				if m.retries.again(t, last) {
					retried = true
				} else {
					m.add(last)
				}
			}
			return retried
		}
		if m.ctx.Err() != nil {
			m.cancelHanded() // whoever cancels may have been here before
		}
		batch = batch[n:]
	}
	return true
}

// These bound the tasks of one frame, as the window does.
const (
	mostTogether      = 1024
	mostBytesTogether = 256 << 10
)

// frameful returns how many of the first tasks of a batch go into one frame: at least one.
func (s *Swarm) frameful(batch []outgoing) int {
	if len(batch) == 1 {
		return 1
	}
	l := s.lanes[0] // the first that was welcome: it knows the gateway's window
	l.mu.Lock()
	window, most := l.window, min(mostBytesTogether, l.windowBytes)
	l.mu.Unlock()
	size := int64(0)
	for i := range batch {
		if size += int64(len(batch[i].body)); size > most || i == window {
			return max(1, i)
		}
	}
	return len(batch)
}

// waitForRoom waits until n more items may be in flight.
func (m *mapRun) waitForRoom(n int) bool {
	for {
		if free := int64(m.options.InFlight) - (m.sent.Load() - m.yielded.Load()); free >= int64(n) {
			return m.ctx.Err() == nil
		}
		select {
		case <-m.room:
		case <-m.ctx.Done():
			return false
		}
	}
}

// next returns the results that have come, and waits for some; none at the end. Spare is memory to use again.
func (m *mapRun) next(spare []mapResult) []mapResult {
	cancelled := m.ctx.Done()
	for {
		m.mu.Lock()
		if got := m.results; len(got) > 0 {
			m.results = spare[:0]
			m.mu.Unlock()
			return got
		}
		end := m.pulled && m.sent.Load() == m.yielded.Load()
		m.mu.Unlock()
		if end {
			return nil
		}
		select {
		case <-m.wake:
		case <-cancelled:
			cancelled = nil
			m.cancelHanded()
		}
	}
}

// count records that the caller has taken results.
func (m *mapRun) count(n int) {
	m.yielded.Add(int64(n))
	wake(m.room)
}

func (m *mapRun) yieldAll(yield func(Result, error) bool) {
	var results []mapResult
	for {
		if results = m.next(results); results == nil {
			return
		}
		for i := range results {
			results[i].More = i < len(results)-1
			if !yield(results[i].Result, results[i].err) {
				return
			}
			results[i] = mapResult{}
			if i%64 == 63 {
				m.count(64)
			}
		}
		m.count(len(results) % 64)
	}
}

// yieldOrdered holds back what has overtaken; InFlight bounds how much.
func (m *mapRun) yieldOrdered(yield func(Result, error) bool) {
	early := map[int]mapResult{}
	var results []mapResult
	for index := 0; ; {
		if results = m.next(results); results == nil {
			return
		}
		for i := range results {
			early[results[i].Index] = results[i]
			results[i] = mapResult{}
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
			m.count(1)
		}
	}
}

// cancelHanded cancels what is under way; each task still gets its status.
func (m *mapRun) cancelHanded() {
	for _, l := range m.swarm.lanes {
		l.cancelAll(m)
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
// cancel arrived; if the connection is away, they end as canceled here.
func (l *swarmLane) cancelAll(who sink) {
	var away []slot
	l.mu.Lock()
	for id := range l.slots {
		s := l.slots[id]
		switch {
		case s.sink != who:
		case l.link == nil || s.parked:
			away = append(away, s)
			l.dismiss(uint32(id))
		default:
			l.cancelSlot(uint32(id))
		}
	}
	l.mu.Unlock()
	for _, s := range away {
		s.sink.deliver([]answer{s.answer(StatusCanceled, nil)})
	}
}
