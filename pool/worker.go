package pool

import (
	"runtime"
	"runtime/debug"
)

// worker is a goroutine that runs tasks, one after the other, while it finds any. It is owned by
// the pool. It has a slot except while it is parked; it ends when the idle timer retires it or the
// pool is closed and drained.
type worker struct {
	pool  *Pool
	home  int         // the shard it looks at first
	woken *shard      // the shard whose waking flag it has to clear, or nil
	task  task        // what it runs, or zero: how a deferred function knows that a task was cut off
	wake  chan *shard // while parked: the shard it is woken for, and a slot with it; nil: end
	since uint64      // guarded by Pool.mu: the epoch it parked in
	span  span        // what it has claimed for later
	queue *Queue      // whose tasks it has run since it last called turned, or nil
	ran   int         // how many
	spent int         // tasks run since it last let others go first
}

// run is the goroutine. A task that calls Goexit takes the goroutine away; the worker goes on in
// another one.
func (w *worker) run() {
	ended := false
	defer func() {
		if !ended {
			go w.run()
		}
	}()
	for w.work() {
	}
	ended = true
	w.pool.gone()
}

// work runs tasks until none is found, then parks; it returns true when it should be called again.
// The deferred function is here, not around each task, as that would cost more than the task.
func (w *worker) work() (again bool) {
	defer func() {
		if w.task.batch != nil {
			w.cutOff(recover())
			again = true
		}
	}()
	for {
		if w.spent >= turnTasks && w.woken == nil && !w.yield() { // a woken worker looks first: others wait for it
			w.turn(nil)
			w.leave()
			return w.park(true)
		}
		t, ok := w.span.pop()
		if !ok {
			t, ok = w.next()
		}
		if !ok {
			w.turn(nil)
			return w.park(true)
		}
		if t.queue != w.queue || w.ran >= turnTasks {
			w.turn(t.queue)
		}
		w.ran += t.n
		w.spent += t.n
		if !w.runTask(t) {
			w.turn(nil)
			w.leave()
			return w.park(false)
		}
	}
}

// yield lets the goroutines go first that are ready to run: a worker that always finds work would otherwise keep its
// processor for 10 ms at a time, from those, too, who bring the work of others. It returns false if the worker is one
// too many. Who has come as far as this does not block, and more such workers than processors only wait for each other;
// should the others be blocked, parking wakes the next.
func (w *worker) yield() bool {
	w.spent = 0 // so that one who is woken never parks before it has seen to its shard's waking flag
	// Not slots are counted: one worker has many of them for quick tasks.
	if w.pool.awake() > w.pool.processors+1 {
		return false
	}
	runtime.Gosched()
	return true
}

// runTask runs what was claimed; false: what is held has taken the worker's slot, and there is no other.
func (w *worker) runTask(t task) bool {
	w.task = t
	if t.n == 1 {
		held := t.batch.Run(t.index)
		w.task = task{}
		return !held || w.pool.slots.hold()
	}
	held := t.batch.(QuickBatch).RunSome(t.index, t.n)
	w.task = task{}
	kept, used, given := w.pool.slots.settle(t.n, held)
	if given > 0 {
		w.pool.freed(used, given)
	}
	return kept
}

// turn ends the worker's run of tasks of one queue, and begins one of the next.
func (w *worker) turn(next *Queue) {
	if q := w.queue; q != nil && q.turned != nil {
		q.turned()
	}
	w.queue, w.ran = next, 0
}

// cutOff tells the batch that its task panicked with v or, if v is nil, called Goexit.
func (w *worker) cutOff(v any) {
	t := w.task
	w.task = task{}
	if v == nil {
		v = ErrGoexit
	}
	if t.n > 1 {
		_, used, given := w.pool.slots.settle(t.n, 0)
		defer w.pool.freed(used, given)
	}
	w.pool.panicked.Add(uint64(t.n))
	defer func() { _ = recover() }() // from Panicked; see doc.go
	for i := range t.n {
		t.batch.Panicked(t.index+i, v, debug.Stack())
	}
}

// next finds a task. A worker that was woken sees here that the next one is.
func (w *worker) next() (task, bool) {
	t, ok := w.find()
	if w.woken == nil {
		return t, ok
	}
	s := w.woken
	w.woken = nil
	s.waking.Store(false)
	if !ok {
		// Who submitted while the flag was set has left it to us.
		return w.find()
	}
	s.wake()
	return t, true
}

// find claims a task from the first shard that has one, its home first.
func (w *worker) find() (task, bool) {
	shards := w.pool.shards
	for range shards {
		s := shards[w.home]
		if s.ready.Load() {
			if w.span.at != s {
				w.leave()
			}
			if t, leave, ok := s.claim(&w.span); ok {
				if leave {
					w.advance()
				}
				return t, true
			}
		}
		w.advance()
	}
	return task{}, false
}

// leave gives back what the worker has claimed, so that it may go to another shard or park.
func (w *worker) leave() {
	s := w.span.at
	if s == nil {
		return
	}
	s.mu.Lock()
	if w.span.open {
		s.recall(&w.span)
	}
	s.mu.Unlock()
	w.span.at = nil
	s.wake()
}

func (w *worker) advance() {
	if w.home++; w.home == len(w.pool.shards) {
		w.home = 0
	}
}

// park gives the worker's slot back, if it has one, and waits to be woken; false: it is to end.
func (w *worker) park(slot bool) bool {
	p := w.pool
	parked := p.pushIdle(w)
	// Only now the slot, so that who gets it finds this worker rather than start a new one.
	if slot {
		p.freed(p.slots.give(), 1)
		p.wakeAll() // who parks need not have found nothing
	}
	if !parked {
		return false
	}
	s := <-w.wake
	if s == nil {
		return false
	}
	w.home, w.woken, w.spent = s.index, s, 0
	return true
}

// wake sees to it that a worker comes, if the shard has a task that may start and a slot is free.
// It must be called after each change that could make both true.
func (s *shard) wake() {
	p := s.pool
	// Again after a failure: who came while the flag was set has left it to us.
	for s.ready.Load() && !s.waking.Load() && !p.slots.full() {
		if !s.waking.CompareAndSwap(false, true) {
			return
		}
		if p.slots.take() {
			p.summon(s)
			return
		}
		s.waking.Store(false)
	}
}

// wakeAll wakes a worker for each shard that needs one, as far as there are slots; another shard
// is the first every time.
func (p *Pool) wakeAll() {
	n := uint32(len(p.shards))
	first := p.turn.Add(1)
	for i := range n {
		if p.slots.full() {
			return
		}
		p.shards[(first+i)%n].wake()
	}
}
