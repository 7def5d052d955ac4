package netio

import (
	"sync"
	"sync/atomic"
	"time"
)

// backlog counts the bytes of the answers of one Map that have come and are not yielded. Above MapOptions.Bytes it makes the
// lanes keep their acks back. A gateway keeps no more than its SendBuffer of what is not acknowledged: then it runs no more
// tasks of this client, while connections, heartbeats and what else is on them go on. So a slow caller costs a bounded amount
// of memory at both ends, however large the answers are, and slows itself alone.
//
// Where results are yielded in order, all wait for one item, which may be queued at a gateway that has paused. So its lane
// acknowledges what has come, at once, and then after pauses that double, since the item may as well be one that runs for
// long. Of an item that was sent again, and so stands behind others, the pauses stay short: only their answers bring it.
type backlog struct {
	m     *mapRun
	bytes atomic.Int64

	mu    sync.Mutex // guards what follows; taken before lane.mu
	held  bool       // the lanes keep their acks back for us, since it was full and until half of it is taken
	ended bool

	// The caller's goroutine alone.
	wanted int           // the item that is waited for
	pause  time.Duration // before the next look for it
}

const (
	firstPause = 100 * time.Millisecond
	shortPause = 5 * time.Millisecond
)

// stuck returns when an ordered Map that waits for an item has to call letThrough; nil if it need not.
func (b *backlog) stuck(wanted int) <-chan time.Time {
	b.mu.Lock()
	held := b.held
	b.mu.Unlock()
	if !held {
		b.pause = 0
		return nil
	}
	if b.pause == 0 || b.wanted != wanted {
		b.wanted, b.pause = wanted, 0
		b.letThrough(wanted)
	}
	return time.After(b.pause)
}

// full reports whether so much has come that no more is wanted.
func (b *backlog) full() bool { return b.bytes.Load() > int64(b.m.options.Bytes) }

// add counts what has come.
func (b *backlog) add(n int) {
	if n == 0 {
		return
	}
	now, most := b.bytes.Add(int64(n)), int64(b.m.options.Bytes)
	if now <= most || now-int64(n) > most {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.held || b.ended || !b.full() {
		return
	}
	b.held = true
	for _, l := range b.m.swarm.lanes {
		l.holdAcks(1)
	}
}

// take counts what was yielded. Lanes acknowledge again when half of the room is free.
func (b *backlog) take(n int) {
	if n == 0 {
		return
	}
	now, half := b.bytes.Add(-int64(n)), int64(b.m.options.Bytes)/2
	if now <= half && now+int64(n) > half {
		b.release(false)
	}
}

// end lets all lanes acknowledge, for good.
func (b *backlog) end() { b.release(true) }

func (b *backlog) release(end bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ended = b.ended || end
	if !b.held {
		return
	}
	b.held = false
	for _, l := range b.m.swarm.lanes {
		l.holdAcks(-1)
	}
}

// letThrough makes the lane that has an item acknowledge what has arrived.
func (b *backlog) letThrough(index int) {
	if b.pause = max(firstPause, 2*b.pause); b.m.retries.tried(index) > 0 || b.m.swarm.resent.Load() {
		b.pause = shortPause
	}
	for i, l := range b.m.swarm.lanes {
		if l.letThrough(&b.m.sinks[i], index) {
			return
		}
	}
}

func (l *swarmLane) letThrough(who sink, index int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range l.slots {
		if l.slots[i].sink == who && l.slots[i].index == index {
			l.acknowledgeAll()
			return true
		}
	}
	return false
}

// holdAcks makes one Map more, or one less, keep the lane's acks back; after the last, what has arrived is acknowledged.
func (l *swarmLane) holdAcks(change int32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.holders.Add(change) == 0 {
		l.acknowledgeAll()
	}
}

// acknowledgeAll tells the gateway what has arrived, whatever it was told. The caller holds mu.
func (l *swarmLane) acknowledgeAll() {
	l.out.AckAgain()
	l.startFlush()
}

// keepAcksBack makes the lane behave as if the gateway knew what has arrived. Where a gateway drains, which ends with its last
// ack, it is told. The reader calls it after each burst.
func (l *swarmLane) keepAcksBack(keep bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.holders.Load() == 0:
	case keep:
		l.out.HoldAcks(l.in.Received())
	default:
		l.acknowledgeAll()
	}
}
