package netio

import (
	"sync"
	"time"
)

// timers fires many waits with one runtime timer: a 4-ary heap whose nodes live in what waits, so that a wait
// allocates nothing and costs no goroutine, and ends early in logarithmic time.
type timers struct {
	mu    sync.Mutex // guards what follows, and the nodes in the heap
	heap  []heapEntry
	timer *time.Timer
	armed int64 // when the runtime timer fires; 0: it is not set
}

// timerNode is one wait; its target owns it. The zero node is ready for use.
type timerNode struct {
	pos    int // in the heap, plus one; 0: not there
	target expirer
}

// expirer is what a timer tells that its time has come; it is called without locks, on the timers' own goroutine.
type expirer interface{ expire() }

type heapEntry struct {
	when int64
	node *timerNode
}

const heapArity = 4

// add makes the node fire at the given reading of monotonic.
func (t *timers) add(n *timerNode, when int64, target expirer) {
	t.mu.Lock()
	defer t.mu.Unlock()
	when = max(when, 1) // below, or beyond the end of the clock, it would count as the earliest for ever
	n.target = target
	t.heap = append(t.heap, heapEntry{when, n})
	n.pos = len(t.heap)
	t.up(len(t.heap) - 1)
	if t.armed == 0 || when < t.armed {
		t.arm(when)
	}
}

// remove reports whether it took the node out before it fired; if not, expire has been called or is about to be.
func (t *timers) remove(n *timerNode) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n.pos == 0 {
		return false
	}
	t.take(n.pos - 1)
	return true
}

// arm sets the runtime timer. The caller holds mu.
func (t *timers) arm(when int64) {
	t.armed = when
	d := time.Duration(when - monotonic())
	if t.timer == nil {
		t.timer = time.AfterFunc(d, t.fire)
	} else {
		t.timer.Reset(d)
	}
}

// fireAtOnce is how many due nodes are taken under one lock.
const fireAtOnce = 256

// fire tells all that are due, then waits for the next.
func (t *timers) fire() {
	var due [fireAtOnce]expirer
	for {
		n := 0
		t.mu.Lock()
		now := monotonic()
		for n < len(due) && len(t.heap) > 0 && t.heap[0].when <= now {
			due[n] = t.heap[0].node.target
			t.take(0)
			n++
		}
		if n == 0 {
			if len(t.heap) > 0 {
				t.arm(t.heap[0].when)
			} else {
				t.armed, t.heap = 0, nil
			}
			t.mu.Unlock()
			return
		}
		t.mu.Unlock()
		for i := range due[:n] {
			due[i].expire()
			due[i] = nil
		}
	}
}

// take removes the entry at i from the heap.
func (t *timers) take(i int) {
	last := len(t.heap) - 1
	t.heap[i].node.pos = 0
	moved := t.heap[last]
	t.heap[last] = heapEntry{}
	t.heap = t.heap[:last]
	if i < last {
		t.heap[i] = moved
		moved.node.pos = i + 1
		t.down(i)
		t.up(i)
	}
}

func (t *timers) up(i int) {
	e := t.heap[i]
	for i > 0 {
		parent := (i - 1) / heapArity
		if t.heap[parent].when <= e.when {
			break
		}
		t.heap[i] = t.heap[parent]
		t.heap[i].node.pos = i + 1
		i = parent
	}
	t.heap[i] = e
	e.node.pos = i + 1
}

func (t *timers) down(i int) {
	e := t.heap[i]
	for {
		first := heapArity*i + 1
		if first >= len(t.heap) {
			break
		}
		least := first
		for c := first + 1; c < min(first+heapArity, len(t.heap)); c++ {
			if t.heap[c].when < t.heap[least].when {
				least = c
			}
		}
		if e.when <= t.heap[least].when {
			break
		}
		t.heap[i] = t.heap[least]
		t.heap[i].node.pos = i + 1
		i = least
	}
	t.heap[i] = e
	e.node.pos = i + 1
}
