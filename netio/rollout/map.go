package rollout

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"shoal/netio"
)

// ErrNotStarted is the error of a task that never started: the roll-out was halted or cancelled before, or StartWithin
// passed.
var ErrNotStarted = errors.New("not started")

// Task is one task of a roll-out.
type Task struct {
	Target string // what PerTarget counts by
	// Body returns what the subroutine gets at an attempt, from 1 on. It is called on a goroutine of Map's, which waits;
	// what it returns must not change any more.
	Body func(attempt int) []byte
}

// Result is how a task ended for good.
type Result struct {
	// Result is that of the last attempt; its Index is the number of the task in the order given, from 0, and -1 where the
	// error is that of all of them.
	netio.Result
	Target  string    // as in the task
	Attempt int       // how often it has started
	Start   time.Time // of the last attempt; zero where it never started
}

// Options are what a Rollout can be told beside its Config.
type Options struct {
	Map netio.MapOptions // for the tasks at the gateway; its Retries, RetryFailed and Ordered are left aside

	// Each, where it is set, is called for each attempt in place of the gateway's subroutine, on a goroutine of its own; it
	// returns when ctx ends. Whoever wants more of a task than its answer, such as a stream, asks for that here.
	Each func(ctx context.Context, body []byte) ([]byte, error)

	// Judge says what a result amounts to, with the error of the task. Default: JudgeStatus, which looks at err alone. It
	// is called by one goroutine at a time.
	Judge func(body []byte, err error) Outcome
}

// JudgeStatus is the default of Options.Judge: what the gateway refuses for good, and what was cancelled, is final.
func JudgeStatus(_ []byte, err error) Outcome {
	switch {
	case err == nil:
		return OK
	case errors.Is(err, netio.ErrCanceled), errors.Is(err, netio.ErrNotAllowed), errors.Is(err, netio.ErrBadArgument),
		errors.Is(err, netio.ErrUnknownSubroutine), errors.Is(err, netio.ErrUnknownTask), errors.Is(err, netio.ErrTooLarge),
		errors.Is(err, netio.ErrWrongShape):
		return Final
	}
	return Failed
}

// Underway is a task that has started and not ended.
type Underway struct {
	Task    int
	Target  string
	Attempt int
	Since   time.Time
}

// Rollout drives one Schedule: its Map is called once. Halt, Underway and Halted may be called from any goroutine.
type Rollout struct {
	options Options
	began   time.Time
	wake    chan struct{} // one slot: something has happened that Step should see

	mu       sync.Mutex // guards what follows
	schedule *Schedule
	tasks    map[int]*state
	started  int         // starts so far: items of netio's Map
	byItem   map[int]int // the task of each item that is under way
	cancel   context.CancelFunc
}

// state is a task that is not over.
type state struct {
	task    Task
	attempt int // the last that has started
	since   time.Time
	running bool
	last    finished // how the last attempt that has ended did
}

// finished is a result and its error.
type finished struct {
	Result
	err error
}

// New returns a roll-out. The error says what of the configuration makes no sense.
func New(c Config, o Options) (*Rollout, error) {
	if err := c.Check(); err != nil {
		return nil, err
	}
	if o.Judge == nil {
		o.Judge = JudgeStatus
	}
	o.Map.Retries, o.Map.RetryFailed, o.Map.Ordered = 0, false, false
	return &Rollout{
		options: o, wake: make(chan struct{}, 1), schedule: NewSchedule(c), tasks: map[int]*state{},
		byItem: map[int]int{}, cancel: func() {},
	}, nil
}

// Map calls a subroutine of the gateway for each task, when the schedule lets it, and yields how each ended, with its error
// or nil. A task that never started has ErrNotStarted. Breaking the loop, or the end of ctx, cancels what is under way; after
// the end of ctx, results still come for all tasks that were pulled. Map waits for the iterator of the tasks to return.
func (r *Rollout) Map(ctx context.Context, s *netio.Swarm, name string, tasks iter.Seq[Task]) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		r.mu.Lock()
		r.began, r.cancel = time.Now(), cancel
		r.mu.Unlock()
		m := &mapping{Rollout: r, ctx: ctx, pulled: make(chan Task), results: make(chan finished, 256), gone: make(chan struct{})}
		var working sync.WaitGroup
		defer working.Wait()
		defer close(m.gone)
		defer cancel()
		// The end of the context halts: what waits is dropped, and reported.
		defer context.AfterFunc(ctx, func() { r.Halt(true) })()
		working.Go(func() { m.pull(tasks) })
		working.Go(func() {
			defer close(m.results)
			attempts := m.each(r.options.Each)
			if r.options.Each == nil {
				attempts = s.Map(ctx, name, m.items, &r.options.Map)
			}
			for result, err := range attempts {
				m.ended(result, err)
			}
			m.windUp()
		})
		for f := range m.results {
			f.More = len(m.results) > 0
			if !yield(f.Result, f.err) {
				return
			}
		}
	}
}

// Halt lets nothing start any more; with cancel it cancels what is under way too.
func (r *Rollout) Halt(cancel bool) {
	r.mu.Lock()
	r.schedule.Halt(cancel)
	r.mu.Unlock()
	r.changed()
}

// Halted reports whether failures, a call of Halt or the end of the context have stopped the roll-out.
func (r *Rollout) Halted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.schedule.Halted()
}

// Underway returns the tasks that have started and not ended, the oldest first.
func (r *Rollout) Underway() []Underway {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []Underway
	for index, t := range r.tasks {
		if t.running {
			list = append(list, Underway{index, t.task.Target, t.attempt, t.since})
		}
	}
	slices.SortFunc(list, func(a, b Underway) int { return a.Since.Compare(b.Since) })
	return list
}

// changed lets whoever waits for the schedule ask it again.
func (r *Rollout) changed() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// mapping is a Map under way.
type mapping struct {
	*Rollout
	ctx     context.Context
	pulled  chan Task // what comes from the caller; closed at its end
	results chan finished
	gone    chan struct{} // closed when the caller's loop has ended
}

// pull is the goroutine that reads the caller's tasks.
func (m *mapping) pull(tasks iter.Seq[Task]) {
	defer close(m.pulled)
	for t := range tasks {
		select {
		case m.pulled <- t:
		case <-m.ctx.Done():
			return
		}
	}
}

// items are the bodies of the tasks, each when it is to start. It is the iterator of netio's Map, on a goroutine of that.
func (m *mapping) items(yield func([]byte) bool) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		action, t := m.step()
		switch action.Kind {
		case Start:
			if !yield(t.task.Body(action.Attempt)) {
				return
			}
		case Drop:
			m.report(t.dropped(action.Task, m.Halted()))
		case Finished:
			return
		case Pull:
			m.wait(timer, action.Until, m.pulled)
		case Wait:
			m.wait(timer, action.Until, nil)
		}
	}
}

// each makes the attempts by a function: the schedule's fan-out bounds its goroutines, which all end before it returns.
func (m *mapping) each(do func(context.Context, []byte) ([]byte, error)) iter.Seq2[netio.Result, error] {
	type attempt struct {
		netio.Result
		err error
	}
	return func(yield func(netio.Result, error) bool) {
		ends := make(chan attempt)
		go func() { // ends when the schedule has nothing more and every attempt has ended
			defer close(ends)
			var working sync.WaitGroup
			defer working.Wait()
			index := 0
			for body := range m.items {
				number := index
				index++
				working.Go(func() {
					answer, err := do(m.ctx, body)
					ends <- attempt{netio.Result{Index: number, Body: answer}, err}
				})
			}
		}()
		for a := range ends { // to the end: what is under way is cancelled by the context
			yield(a.Result, a.err)
		}
	}
}

// step asks the schedule, and records what starts and what is over.
func (m *mapping) step() (Action, *state) {
	m.mu.Lock()
	defer m.mu.Unlock()
	action := m.schedule.Step(time.Since(m.began))
	t := m.tasks[action.Task]
	switch action.Kind {
	case Start:
		m.byItem[m.started] = action.Task
		m.started++
		t.attempt, t.since, t.running = action.Attempt, time.Now(), true
	case Drop:
		delete(m.tasks, action.Task)
	}
	if m.schedule.Canceled() {
		m.cancel()
	}
	return action, t
}

// wait returns when something has happened, the time has come, or a task was pulled, which it offers.
func (m *mapping) wait(timer *time.Timer, until time.Duration, pulled chan Task) {
	var due <-chan time.Time
	if until > 0 {
		timer.Reset(until - time.Since(m.began))
		due = timer.C
	}
	select {
	case t, ok := <-pulled:
		m.mu.Lock()
		defer m.mu.Unlock()
		if !ok {
			m.schedule.NoMore()
			return
		}
		m.tasks[m.schedule.Offer(t.Target)] = &state{task: t}
	case <-m.wake:
	case <-due:
	}
}

// ended takes the result of an item of netio's Map.
func (m *mapping) ended(result netio.Result, err error) {
	outcome := m.options.Judge(result.Body, err)
	m.mu.Lock()
	index, known := m.byItem[result.Index]
	if !known { // an error of netio's Map itself: no subroutine can have this name
		m.mu.Unlock()
		result.Index = -1
		m.report(finished{Result{Result: result}, err})
		return
	}
	delete(m.byItem, result.Index)
	t := m.tasks[index]
	t.running = false
	result.Index = index
	t.last = finished{Result{Result: result, Target: t.task.Target, Attempt: t.attempt, Start: t.since}, err}
	final := m.schedule.Ended(index, outcome, time.Since(m.began))
	if final {
		delete(m.tasks, index)
	}
	m.mu.Unlock()
	m.changed()
	if final {
		m.report(t.last)
	}
}

// windUp reports what is left when netio's Map has ended: after a cancel, or with a swarm that was closed, there may be tasks
// that it has not taken.
func (m *mapping) windUp() {
	m.mu.Lock()
	m.schedule.Halt(true)
	var left []finished
	for _, index := range m.byItem {
		t := m.tasks[index]
		t.running = false
		t.attempt--
		m.schedule.Ended(index, Final, time.Since(m.began))
		delete(m.tasks, index)
		left = append(left, t.dropped(index, true))
	}
	clear(m.byItem)
	for {
		action := m.schedule.Step(time.Since(m.began))
		if action.Kind != Drop {
			break
		}
		left = append(left, m.tasks[action.Task].dropped(action.Task, true))
		delete(m.tasks, action.Task)
	}
	m.mu.Unlock()
	for _, f := range left {
		m.report(f)
	}
}

// dropped is the end of a task that starts no more.
func (t *state) dropped(index int, halted bool) finished {
	never := Result{Result: netio.Result{Index: index}, Target: t.task.Target}
	switch {
	case t.attempt > 0:
		return t.last
	case halted:
		return finished{never, fmt.Errorf("%w: the roll-out was stopped before", ErrNotStarted)}
	}
	return finished{never, fmt.Errorf("%w within the time for that", ErrNotStarted)}
}

// report gives the caller's loop a result, unless that has ended.
func (m *mapping) report(f finished) {
	select {
	case m.results <- f:
	case <-m.gone:
	}
}
