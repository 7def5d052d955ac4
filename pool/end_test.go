package pool

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func TestPanicAndGoexitEndOneTask(t *testing.T) { bothWays(t, testPanicAndGoexitEndOneTask) }

func testPanicAndGoexitEndOneTask(t *testing.T, New func(Config) *Pool) {
	boom := errors.New("boom")
	p := New(Config{Workers: 2, Shards: 2})
	q := p.NewQueue(1000)
	var ran, broken atomic.Int32
	kind := func(i int) int { return i % 5 }
	submit(t, q, &funcs{
		n: 500,
		run: func(i int) bool {
			switch kind(i) {
			case 1, 3:
				panic(boom)
			case 2, 4:
				runtime.Goexit()
			}
			ran.Add(1)
			return false
		},
		panicked: func(i int, v any, stack []byte) {
			broken.Add(1)
			want := boom
			if kind(i)%2 == 0 {
				want = ErrGoexit
			}
			if v != want {
				t.Errorf("task %d: %v", i, v)
			}
			if !strings.Contains(string(stack), "end_test.go") {
				t.Errorf("task %d: the stack does not show it:\n%s", i, stack)
			}
			switch kind(i) {
			case 3:
				panic("in Panicked")
			case 4:
				runtime.Goexit()
			}
		},
	})
	shut(t, p)
	if ran.Load() != 100 || broken.Load() != 400 || p.Stats().Panicked != 400 {
		t.Errorf("%d ran, %d broken; %+v", ran.Load(), broken.Load(), p.Stats())
	}
}

func TestCloseWaitsForHeldAndPaused(t *testing.T) { bothWays(t, testCloseWaitsForHeldAndPaused) }

func testCloseWaitsForHeldAndPaused(t *testing.T, New func(Config) *Pool) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Workers: 2})
		q, paused := p.NewQueue(10), p.NewQueue(10)
		paused.Pause()
		submit(t, paused, each(1, func(int) {}))
		gate := make(chan bool)
		submit(t, q, &funcs{n: 3, run: func(i int) bool {
			if i > 0 {
				<-gate
			}
			return i == 0
		}})
		synctest.Wait()
		for _, want := range []string{"1 running, 1 held, 2 queued", "0 running, 1 held, 1 queued", "0 running, 0 held, 1 queued"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			err := p.Close(ctx)
			cancel()
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), want) {
				t.Errorf("Close: %v, want %s", err, want)
			}
			switch want[0] {
			case '1':
				close(gate)
			default:
				if p.Stats().Held == 1 {
					p.Release()
				}
			}
			synctest.Wait()
		}
		go func() {
			time.Sleep(time.Second)
			paused.Resume()
		}()
		shut(t, p)
		shut(t, p)
	})
}

// A pool that was closed without patience ends its workers by itself.
func TestCloseGoesOnByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{})
		gate := make(chan bool)
		submit(t, p.NewQueue(10), each(4, func(int) { <-gate }))
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Close(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("Close: %v", err)
		}
		close(gate)
		synctest.Wait()
		if st := p.Stats(); st.Workers != 0 {
			t.Errorf("%+v", st)
		}
		if err := p.Close(ctx); err != nil {
			t.Errorf("Close of a drained pool: %v", err)
		}
	})
}

func TestIdleWorkersRetire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Workers: 100, IdleTimeout: 8 * time.Second})
		q := p.NewQueue(100)
		nap := func(n int, d time.Duration) {
			submit(t, q, each(n, func(int) { time.Sleep(d) }))
			synctest.Wait()
		}
		workers := func(when string, want int) {
			t.Helper()
			synctest.Wait()
			if st := p.Stats(); st.Workers != want {
				t.Errorf("%s: %+v, want %d workers", when, st, want)
			}
		}
		nap(50, time.Second)
		workers("all busy", 50)
		time.Sleep(time.Second)
		synctest.Wait()     // they have parked
		for i := range 12 { // five of them stay in use
			time.Sleep(time.Second)
			if i == 7 { // idle for 8s now
				workers("after 8s", 50)
			}
			nap(5, time.Second/2)
		}
		workers("after 12s", 5)
		time.Sleep(11 * time.Second)
		workers("after 11s of rest", 0)
		p.mu.Lock()
		if p.armed || p.idle != nil {
			t.Errorf("no worker left, and the timer runs")
		}
		p.mu.Unlock()
		nap(7, time.Second)
		workers("after the rest", 7)
		shut(t, p)
	})
}
