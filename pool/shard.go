package pool

import (
	"sync"
	"sync/atomic"
)

const (
	// quantum is how many tasks of one queue start in its turn, and how many claims a worker's
	// stay at a shard is measured by: large enough that the answers of a batch come together.
	quantum = 32
	// quickQuantum is the same of quick tasks. They are over at once, so others wait little for them, and
	// what ends a turn, a write for example, is paid for by more of them.
	quickQuantum = 128
	// taskCost is what a task uses up of a turn, of quickQuantum in all; a quick one uses 1.
	taskCost = quickQuantum / quantum

	// turnTasks is how many tasks of one queue a worker runs before it calls what AfterTurn was given.
	turnTasks = 128

	// grabStep claims without contention make the next ones smaller by a task.
	grabStep = 256

	// mostGrain bounds what is claimed at once of a quick batch, as one queue's turn does.
	mostGrain = quantum

	// A chunk of a queue is 360 bytes, so that it fits a size class of the allocator.
	chunkEntries = 11
	// spareChunks is how many empty chunks a shard keeps (90 KiB): work for 2816 batches comes
	// and goes without allocation.
	spareChunks = 256
)

// shard is a share of the queues under one lock.
type shard struct {
	pool  *Pool
	index int

	// ready: the ring is not empty, or there are open spans (which may turn out to be empty).
	// Written under mu, read without it.
	ready atomic.Bool
	// waking: a worker has been woken for this shard and has not claimed yet.
	waking atomic.Bool

	_ [64]byte // wakers read the flags while others change what follows

	mu      sync.Mutex // guards the following, and every field of the shard's queues
	turn    *Queue     // the ring: queues that have waiting tasks and are not paused; next served
	waiting int        // tasks in all queues, paused ones too
	started uint64     // tasks claimed
	spent   uint64     // what they cost
	open    []*span    // the spans claimed here
	looks   uint       // which of them is looked at next
	grab    int        // claim takes grab/grabStep tasks at once; it grows while mu is contended
	closed  bool       // no more submits
	spare   *chunk     // empty chunks, linked by next
	spares  int        // how many

	_ [64]byte
}

// chunk is a piece of a queue's list of batches. Chunks belong to a queue while they hold a
// batch, then to its shard: so an idle queue has none, and a busy one allocates none.
type chunk struct {
	next    *chunk
	entries [chunkEntries]entry
}

// entry is what waits of a batch: its tasks from next to end. The length of the batch is kept so
// that Len is not called under the lock.
type entry struct {
	batch     Batch
	next, end int32
	grain     int32 // how many may be claimed at once
}

// task is one claimed task of a batch, or several of a quick one.
type task struct {
	batch Batch
	index int
	n     int
	queue *Queue
}

// claim takes the next task of the shard for the owner of the (empty) span, and perhaps more into
// the span. leave is set after every quantum of claims: the worker should look at another shard
// next.
func (s *shard) claim(sp *span) (t task, leave, ok bool) {
	if !s.mu.TryLock() {
		s.mu.Lock()
		s.grab = min(2*s.grab+grabStep, quantum*grabStep)
	} else if s.grab > 0 {
		s.grab--
	}
	if sp.open {
		s.unlist(sp)
	}
	s.look()
	q := s.turn
	if q == nil {
		s.ready.Store(false)
		s.mu.Unlock()
		return task{}, false, false
	}
	// Half of a queue is left to the next worker.
	n := max(1, min(s.grab/grabStep, int(q.left)/taskCost, (q.waiting+1)/2))
	cost := taskCost * n
	if grain, quick := q.grain(); quick {
		n = 1 + s.pool.slots.takeMore(min(grain, int(q.left))-1)
		cost = n
		t = q.pop(n)
	} else {
		t = q.pop(1)
		if n > 1 {
			s.fill(sp, q, n-1)
		}
	}
	s.waiting -= n
	leave = s.spent/quickQuantum != (s.spent+uint64(cost))/quickQuantum
	s.started += uint64(n)
	s.spent += uint64(cost)
	q.left -= uint8(min(cost, int(q.left)))
	if q.waiting == 0 {
		s.unlink(q)
	} else if q.left == 0 {
		q.left = quickQuantum
		s.turn = q.next
	}
	s.mu.Unlock()
	return t, leave, true
}

// link puts a queue at the end of the ring: before the one whose turn it is.
func (s *shard) link(q *Queue) {
	q.left = quickQuantum
	if s.turn == nil {
		q.next, q.prev = q, q
		s.turn = q
		s.ready.Store(true)
		return
	}
	q.next, q.prev = s.turn, s.turn.prev
	q.prev.next, q.next.prev = q, q
}

// unlink takes a queue out of the ring.
func (s *shard) unlink(q *Queue) {
	if q.next == q {
		s.turn = nil
		s.ready.Store(len(s.open) > 0)
	} else {
		q.prev.next, q.next.prev = q.next, q.prev
		if s.turn == q {
			s.turn = q.next
		}
	}
	q.next, q.prev = nil, nil
}

func (s *shard) newChunk() *chunk {
	c := s.spare
	if c == nil {
		return new(chunk)
	}
	s.spare, c.next = c.next, nil
	s.spares--
	return c
}

// freeChunk keeps a chunk whose entries are cleared.
func (s *shard) freeChunk(c *chunk) {
	c.next = nil
	if s.spares == spareChunks {
		return
	}
	s.spare, c.next = c, s.spare
	s.spares++
}
