package probe

import (
	"context"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// finding is the answer to one probe on its way from the loop to the consumer.
type finding struct {
	position uint64
	answer   Answer
	elapsed  time.Duration
	more     *details // nil where there is no more to say
}

// details is what some answers have beside the rest.
type details struct {
	address  netip.Addr // where it differs from the target's text
	reason   string
	attempts int
	service  *Service
}

// findings is the queue between the loop, which puts, and the consumer, which takes. It is bounded by the loop, which
// starts no probe for whose answer there is no room.
type findings struct {
	queued  atomic.Int64 // put and not yet released
	starved atomic.Bool  // the loop waits for release
	wake    func()       // wakes the loop
	ready   chan struct{}

	mu     sync.Mutex // guards what follows
	list   []finding
	status Status
	fresh  bool // status has not been taken
	ended  bool
}

func newFindings(wake func()) *findings {
	return &findings{wake: wake, ready: make(chan struct{}, 1)}
}

func (q *findings) put(f finding) {
	q.queued.Add(1)
	q.mu.Lock()
	q.list = append(q.list, f)
	first := len(q.list) == 1
	q.mu.Unlock()
	if first {
		q.signal()
	}
}

func (q *findings) setStatus(s Status) {
	q.mu.Lock()
	q.status, q.fresh = s, true
	q.mu.Unlock()
	q.signal()
}

// end says that nothing more is put.
func (q *findings) end() {
	q.mu.Lock()
	q.ended = true
	q.mu.Unlock()
	q.signal()
}

func (q *findings) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// take waits for findings or a fresh status, and returns them. The list is the caller's; spare is one that it is done with.
// ok is false after the end, or when ctx has ended.
func (q *findings) take(ctx context.Context, spare []finding) (list []finding, status *Status, ok bool) {
	for {
		q.mu.Lock()
		if len(q.list) > 0 || q.fresh {
			list, q.list = q.list, spare[:0]
			if q.fresh {
				s := q.status
				status, q.fresh = &s, false
			}
			q.mu.Unlock()
			return list, status, true
		}
		ended := q.ended
		q.mu.Unlock()
		if ended {
			return nil, nil, false
		}
		select {
		case <-q.ready:
		case <-ctx.Done():
			return nil, nil, false
		}
	}
}

// release says that n of the findings taken are done with.
func (q *findings) release(n int) {
	q.queued.Add(int64(-n))
	if n > 0 && q.starved.Swap(false) {
		q.wake()
	}
}
