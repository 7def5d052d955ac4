package pool

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// What a blocked worker has in its span is queued as before: it counts, it pauses, it resumes.
func TestPauseRecallsSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newGrabbing(Config{Workers: 1, Shards: 1})
		q := p.NewQueue(100)
		gate := make(chan bool)
		var order []int
		submit(t, q, each(10, func(i int) {
			if i == 0 {
				<-gate
			}
			order = append(order, i)
		}))
		synctest.Wait()
		if n := p.shards[0].spanned(q); n != 4 {
			t.Errorf("%d tasks in the span, want 4", n)
		}
		if st := p.Stats(); q.Len() != 9 || st.Queued != 9 || st.Started != 1 {
			t.Errorf("%d wait; %+v", q.Len(), st)
		}
		q.Pause()
		close(gate)
		synctest.Wait()
		if len(order) != 1 || q.Len() != 9 {
			t.Errorf("paused: %d ran, %d wait", len(order), q.Len())
		}
		q.Resume()
		shut(t, p)
		for i, got := range order {
			if got != i {
				t.Fatalf("ran in the order %v", order)
			}
		}
	})
}

// The tasks behind one that blocks, in its worker's span, start although there is other work
// without end.
func TestBlockedTaskHoldsUpNoSibling(t *testing.T) {
	const bound = 6 * quantum
	p := newGrabbing(Config{Workers: 2, Shards: 1})
	a, b := p.NewQueue(10), p.NewQueue(100_000)
	gate := make(chan bool)
	submit(t, p.NewQueue(2), each(2, func(int) { <-gate }))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var left, others atomic.Int64
	left.Store(7)
	submit(t, a, each(8, func(i int) {
		if i == 0 {
			<-ctx.Done()
		} else if left.Add(-1) == 0 {
			cancel()
		}
	}))
	submit(t, b, each(10_000, func(int) {
		if others.Add(1) > bound {
			<-ctx.Done()
		}
	}))
	close(gate)
	<-ctx.Done()
	if !errors.Is(ctx.Err(), context.Canceled) {
		t.Errorf("%d siblings were not begun after %d other tasks", left.Load(), bound)
	}
	shut(t, p)
}

// A held task for which there is no second slot leaves its worker's span to others.
func TestHeldTaskLeavesSpan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newGrabbing(Config{Workers: 1, Shards: 2})
		q := p.NewQueue(100)
		var ran int
		submit(t, q, &funcs{n: 9, run: func(int) bool { ran++; return true }})
		for want := 1; want <= 9; want++ {
			synctest.Wait()
			if n := p.shards[q.shard.index].spanned(nil); ran != want || n != 0 || q.Len() != 9-want {
				t.Fatalf("%d ran, want %d; %d in spans, %d wait", ran, want, n, q.Len())
			}
			p.Release()
		}
		shut(t, p)
	})
}
