package pool

import "sync/atomic"

// span is what a worker has claimed beyond the task it runs: tasks of one queue, taken under one
// lock. A worker takes a span only where the shard's lock is contended, which is where tasks are
// so short that the lock is what they cost. They still count as queued, and anybody may recall
// them to the front of their queue with the shard's lock held: so a task that blocks never holds
// up those behind it for longer than it takes the next worker to look.
//
// The range in word says which tasks are left. The worker takes the first, recall takes all; each
// by an atomic exchange, and what was got so is the getter's alone. Everything else is guarded by
// the lock of the shard at; at itself is the worker's, who changes it when the span is not listed.
type span struct {
	word  atomic.Uint64      // first<<32 | end
	tasks *[quantum - 1]task // made when first needed; written while the range is empty
	at    *shard             // where the span is, or was last, listed in open
	from  *Queue
	place int    // in at.open
	open  bool   // it is listed; a listed span may be empty
	seen  uint64 // the word when a claimer last looked
}

// pop takes the next task. It is for the owner.
func (sp *span) pop() (task, bool) {
	for {
		v := sp.word.Load()
		first, end := v>>32, v&(1<<32-1)
		if first == end {
			return task{}, false
		}
		if sp.word.CompareAndSwap(v, v+1<<32) {
			t := sp.tasks[first]
			sp.tasks[first] = task{}
			return t, true
		}
	}
}

func (sp *span) len() int {
	v := sp.word.Load()
	return int(v&(1<<32-1) - v>>32)
}

// fill moves n tasks from the front of the queue to the worker's span, and lists it.
func (s *shard) fill(sp *span, q *Queue, n int) {
	if sp.tasks == nil {
		sp.tasks = new([quantum - 1]task)
	}
	for i := range n {
		sp.tasks[i] = q.pop(1)
	}
	sp.at, sp.from, sp.seen = s, q, 0
	sp.place, sp.open = len(s.open), true
	s.open = append(s.open, sp)
	sp.word.Store(uint64(n))
}

// recall unlists a span and puts what is left of it back to the front of its queue.
func (s *shard) recall(sp *span) {
	s.unlist(sp)
	v := sp.word.Swap(0)
	first, end := int(v>>32), int(v&(1<<32-1))
	if first == end {
		return
	}
	for i := end - 1; i >= first; i-- {
		sp.from.unpop(sp.tasks[i])
		sp.tasks[i] = task{}
	}
	s.waiting += end - first
	s.started -= uint64(end - first)
	sp.from.enlist()
}

func (s *shard) unlist(sp *span) {
	last := len(s.open) - 1
	s.open[sp.place] = s.open[last]
	s.open[sp.place].place = sp.place
	s.open[last] = nil
	s.open = s.open[:last]
	sp.open = false
}

// look recalls spans whose owners may be blocked. While there are other tasks to claim it looks at
// one span each time, and recalls it if nothing was taken from it since the last look at it.
// When there are none, it recalls spans until it finds something in them.
func (s *shard) look() {
	for s.turn == nil && len(s.open) > 0 {
		s.recall(s.open[len(s.open)-1])
	}
	if len(s.open) == 0 {
		return
	}
	s.looks++
	sp := s.open[s.looks%uint(len(s.open))]
	if v := sp.word.Load(); v == sp.seen || sp.len() == 0 {
		s.recall(sp)
	} else {
		sp.seen = v
	}
}

// spanned counts the tasks in spans, of one queue or, for nil, of all.
func (s *shard) spanned(q *Queue) (n int) {
	for _, sp := range s.open {
		if q == nil || sp.from == q {
			n += sp.len()
		}
	}
	return n
}
