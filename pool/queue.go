package pool

// Queue is a submitter's own bounded queue. Make one with Pool.NewQueue; its methods may be called
// from any goroutine, and none of them blocks.
//
// All fields but the first three are guarded by the shard's lock. The queue is in the shard's ring
// (next is not nil) exactly while it has waiting tasks and is not paused.
type Queue struct {
	shard  *shard // never changes
	limit  int    // never changes
	turned func() // see AfterTurn; does not change once there was a submit

	next, prev *Queue // in the ring, in the order of turns
	head, tail *chunk // batches with tasks that wait; nil if there are none
	waiting    int    // tasks
	first      uint8  // the head batch in head.entries
	end        uint8  // one past the last batch in tail.entries
	left       uint8  // of this turn, which began with quickQuantum
	paused     bool
	closed     bool
}

// Submit queues all tasks of the batch, or none: it returns ErrFull if they are more than the
// queue has room for (tasks in spans take no room), ErrClosed if the queue or the pool is closed. It never blocks. A batch of no
// tasks is taken and forgotten.
func (q *Queue) Submit(b Batch) error {
	n, grain := b.Len(), 1
	if quick, ok := b.(QuickBatch); ok {
		grain = min(quick.Grain(), mostGrain)
	}
	s := q.shard
	s.mu.Lock()
	switch {
	case q.closed || s.closed:
		s.mu.Unlock()
		return ErrClosed
	case n > q.limit-q.waiting:
		s.mu.Unlock()
		return ErrFull
	case n <= 0:
		s.mu.Unlock()
		return nil
	}
	q.push(entry{b, 0, int32(n), int32(grain)})
	q.waiting += n
	s.waiting += n
	q.enlist()
	s.mu.Unlock()
	s.wake()
	return nil
}

// AfterTurn has f called by each worker that has run tasks of this queue one after the other, when it turns to
// something else, parks, or has run 128 of them: so that what their runs have gathered, answers to write, say, can be
// seen to at once for all of them, and is seen to for the last. It must be called before the first Submit, and f must
// not block.
func (q *Queue) AfterTurn(f func()) { q.turned = f }

// Pause keeps what waits in the queue from starting, until Resume: its owner cannot take answers
// now. What has started goes on, and submits are taken as before. A closed queue does not pause.
func (q *Queue) Pause() {
	s := q.shard
	s.mu.Lock()
	if !q.paused && !q.closed {
		q.paused = true
		for i := len(s.open) - 1; i >= 0; i-- {
			if s.open[i].from == q {
				s.recall(s.open[i])
			}
		}
		if q.next != nil {
			s.unlink(q)
		}
	}
	s.mu.Unlock()
}

// Resume ends a pause.
func (q *Queue) Resume() {
	s := q.shard
	s.mu.Lock()
	q.paused = false
	q.enlist()
	s.mu.Unlock()
	s.wake()
}

// Close makes Submit return ErrClosed. What is queued still runs, even if it was paused.
func (q *Queue) Close() {
	s := q.shard
	s.mu.Lock()
	q.closed = true
	q.paused = false
	q.enlist()
	s.mu.Unlock()
	s.wake()
}

// Len is the number of tasks that wait.
func (q *Queue) Len() int {
	q.shard.mu.Lock()
	defer q.shard.mu.Unlock()
	return q.waiting + q.shard.spanned(q)
}

// enlist puts the queue into the ring if it belongs there.
func (q *Queue) enlist() {
	if q.next == nil && q.waiting > 0 && !q.paused {
		q.shard.link(q)
	}
}

// push appends a batch to the list.
func (q *Queue) push(e entry) {
	switch {
	case q.tail == nil:
		q.head = q.shard.newChunk()
		q.tail, q.first, q.end = q.head, 0, 0
	case q.end == chunkEntries:
		c := q.shard.newChunk()
		q.tail.next = c
		q.tail, q.end = c, 0
	}
	q.tail.entries[q.end] = e
	q.end++
}

// grain is how many of the first waiting tasks may be taken at once, and whether they are quick ones; there is one.
func (q *Queue) grain() (n int, quick bool) {
	e := &q.head.entries[q.first]
	return int(min(e.grain, e.end-e.next)), e.grain > 1
}

// pop takes the first n waiting tasks from the list, not more than grain says or 1.
func (q *Queue) pop(n int) task {
	e := &q.head.entries[q.first]
	t := task{e.batch, int(e.next), n, q}
	q.waiting -= n
	if e.next += int32(n); e.next < e.end {
		return t
	}
	*e = entry{} // the batch is its runners' now
	q.first++
	switch c := q.head; {
	case q.waiting == 0:
		q.head, q.tail = nil, nil
		q.shard.freeChunk(c)
	case q.first == chunkEntries:
		q.head, q.first = c.next, 0
		q.shard.freeChunk(c)
	}
	return t
}

// unpop puts a task back to the front of the list.
func (q *Queue) unpop(t task) {
	i := int32(t.index)
	q.waiting++
	switch {
	case q.head == nil:
		q.head = q.shard.newChunk()
		q.tail, q.first, q.end = q.head, chunkEntries, chunkEntries
	case q.first == 0:
		c := q.shard.newChunk()
		c.next = q.head
		q.head, q.first = c, chunkEntries
	}
	q.first--
	q.head.entries[q.first] = entry{t.batch, i, i + 1, 1}
}
