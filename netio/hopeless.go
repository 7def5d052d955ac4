package netio

import "sync/atomic"

// When more is asked of a gateway than it can do, the tasks at the head of a queue are those that have waited longest:
// nearly as long as their deadline. To run them to a deadline that passes a moment before their end wastes the slots, and
// everything times out. So a task that has waited for more than half of its time while others wait behind it, and that
// cannot make its deadline any more, ends as timeout before it runs.

// hopeless reports whether a task of the batch that needs so many nanoseconds from now would miss its deadline, and keep
// others waiting for nothing. No lock may be held.
func (b *batch) hopeless(now, need int64) bool {
	return b.deadline != 0 && now+need > b.deadline && now-b.arrived > b.deadline-now && b.h.queue.Len() > 0
}

// pace is about how many nanoseconds a subroutine takes, as far as its tasks have deadlines.
type pace struct{ nanos atomic.Int64 }

// took takes a measurement in.
func (p *pace) took(nanos int64) {
	old := p.nanos.Load()
	p.nanos.Store(old + (nanos-old)/8)
}

// doubt makes the pace shorter a little: one that is too long would never be measured again.
func (p *pace) doubt() {
	old := p.nanos.Load()
	p.nanos.Store(old - old/64)
}
