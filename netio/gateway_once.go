package netio

import (
	"bytes"
	"sync"

	"shoal/proto"
)

// onceTable knows the tasks that came with an idempotency key, by identity, subroutine and key, until a while after they have ended. A
// task that comes again, from a client that was killed and started anew, say, does not run again: it takes the place of the
// first while that waits for a worker, gets its answer while that runs, and the same answer afterwards. A task that ended
// before it ran is forgotten at once.
//
// Its mu is taken after that of a lane, and nothing is taken under it.
type onceTable struct {
	keep int64 // nanoseconds that an answer is remembered

	mu      sync.Mutex // guards what follows
	entries map[string]*onceEntry
	over    []*onceEntry // those that have ended, the oldest first
	first   int          // of over: those before it are forgotten
	bytes   int          // of the answers of these
}

// onceEntry is one of them. Guarded by the table's mu.
type onceEntry struct {
	key     string
	owner   *batch // whose one task is to run, or runs; nil: it has ended
	begun   bool
	waiting []*batch // those that get the same answer
	ended   int64    // as monotonic has it
	status  Status
	body    []byte
	fields  string
}

// Bounds of what is remembered of tasks that have ended.
const (
	mostOnce      = 1 << 17
	mostOnceBytes = 64 << 20
)

// join takes in the task of a batch that has just come, and says what becomes of it. The entry is that whose answer it gets.
func (o *onceTable) join(b *batch, key []byte) (*onceEntry, onceState) {
	id := b.h.session.owner + "\x00" + b.sub.info.Name + "\x00" + string(key) // an answer is for the identity that asked
	o.mu.Lock()
	defer o.mu.Unlock()
	e := o.entries[id]
	if e == nil {
		e = &onceEntry{key: id, owner: b}
		if o.entries == nil {
			o.entries = map[string]*onceEntry{}
		}
		o.entries[id] = e
	}
	switch {
	case e.owner == nil:
		return e, onceEnded
	case e.begun:
		b.keep.Store(true) // it may have its answer long before whoever gives it is done with it
		e.waiting = append(e.waiting, b)
		return e, onceRuns
	}
	e.owner, b.once = b, e
	return e, onceNew
}

// onceState is what a task meets that comes with an idempotency key.
type onceState int

const (
	onceNew   onceState = iota // it is to run
	onceRuns                   // another one runs, whose answer it gets
	onceEnded                  // another one has ended, whose answer it gets
)

// runsOnce reports whether the one task of a batch, which came with an idempotency key, is to run. If not, it has its answer or
// will get it.
func (h *handler) runsOnce(b *batch, key []byte) bool {
	switch e, state := h.gateway.once.join(b, key); state {
	case onceRuns:
		if b.deadline != 0 {
			h.timers.add(&b.timer, b.deadline, b)
		}
		return false
	case onceEnded:
		h.answer(&b.tasks[0], e.status, e.body, e.fields, true) // which do not change any more
		b.over()
		return false
	}
	return true
}

// begin reports whether the task of a batch is still the one that is to run.
func (o *onceTable) begin(b *batch) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if b.once.owner != b {
		return false
	}
	b.once.begun = true
	return true
}

// errAskedAgain ends a task whose place another one has taken.
var errAskedAgain = &StatusError{Status: proto.StatusCanceled, Text: "it was asked for again, and runs for that"}

// awaited reports whether the task of a batch runs for others too.
func (o *onceTable) awaited(b *batch) bool {
	if b.once == nil {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return b.once.owner == b && len(b.once.waiting) > 0
}

// end takes in how the task of a batch has ended, and answers those that wait for it. The caller holds the mu of the batch's
// lane.
func (o *onceTable) end(b *batch, status Status, body []byte, fields string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	e := b.once
	if e.owner != b {
		return
	}
	if e.owner = nil; !e.begun {
		delete(o.entries, e.key)
		return
	}
	e.ended, e.status, e.body, e.fields = monotonic(), status, bytes.Clone(body), fields
	o.over = append(o.over, e)
	o.bytes += len(body)
	o.forget(e.ended)
	if waiting := e.waiting; len(waiting) > 0 {
		e.waiting = nil
		go func() { // the lock of another lane may not be taken under that of this one; it ends when all have their answer
			for _, w := range waiting {
				w.h.answer(&w.tasks[0], e.status, e.body, e.fields, true)
				w.over()
			}
		}()
	}
}

// forget forgets the oldest, where there are too many or they are too old. The caller holds mu.
func (o *onceTable) forget(now int64) {
	for o.first < len(o.over) {
		e := o.over[o.first]
		if len(o.over)-o.first <= mostOnce && o.bytes <= mostOnceBytes && now-e.ended < o.keep {
			break
		}
		delete(o.entries, e.key)
		o.bytes -= len(e.body)
		o.over[o.first] = nil
		o.first++
	}
	if o.first > len(o.over)/2 {
		o.over = append(o.over[:0], o.over[o.first:]...)
		o.first = 0
	}
}

// sweep forgets what is too old.
func (o *onceTable) sweep(now int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.forget(now)
}
