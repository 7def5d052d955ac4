package pool

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// funcs is a batch of n tasks that a test describes by a function.
type funcs struct {
	n        int
	run      func(i int) bool
	panicked func(i int, v any, stack []byte)
}

func (f *funcs) Len() int       { return f.n }
func (f *funcs) Run(i int) bool { return f.run(i) }
func (f *funcs) Panicked(i int, v any, stack []byte) {
	if f.panicked == nil {
		panic(v)
	}
	f.panicked(i, v, stack)
}

// each makes a batch of n plain tasks.
func each(n int, f func(i int)) *funcs {
	return &funcs{n: n, run: func(i int) bool { f(i); return false }}
}

// newGrabbing makes a pool whose workers claim as many tasks at once as they may, as they otherwise
// do only where a shard's lock is contended.
func newGrabbing(c Config) *Pool {
	p := New(c)
	for _, s := range p.shards {
		s.grab = 1 << 40 // claims without contention take it down by one each
	}
	return p
}

// bothWays runs a test with tasks claimed as it comes, and many at once.
func bothWays(t *testing.T, f func(t *testing.T, New func(Config) *Pool)) {
	t.Run("plain", func(t *testing.T) { f(t, New) })
	t.Run("grabbing", func(t *testing.T) { f(t, newGrabbing) })
}

// shut closes the pool, which must end all that was left, with no goroutine and no slot over.
func shut(t *testing.T, p *Pool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := p.Close(ctx); err != nil {
		t.Fatalf("Close: %v; %+v", err, p.Stats())
	}
	st := p.Stats()
	if st.Workers != 0 || st.Idle != 0 || st.Running != 0 || st.Held != 0 || st.Queued != 0 {
		t.Fatalf("after Close: %+v", st)
	}
}

func submit(t *testing.T, q *Queue, b Batch) {
	t.Helper()
	if err := q.Submit(b); err != nil {
		t.Fatalf("Submit: %v", err)
	}
}

func TestConfigDefaults(t *testing.T) {
	for _, c := range []Config{{}, {Workers: -1, Shards: -1, IdleTimeout: -1}} {
		p := New(c)
		if got := int(p.slots.limit); got != DefaultWorkers {
			t.Errorf("%+v: %d slots", c, got)
		}
		if got := len(p.shards); got != runtime.GOMAXPROCS(0) {
			t.Errorf("%+v: %d shards", c, got)
		}
		if got := p.idlePeriod * idleTicks; got != DefaultIdleTimeout {
			t.Errorf("%+v: idle timeout %v", c, got)
		}
		if got := p.NewQueue(0).limit; got != DefaultQueueLimit {
			t.Errorf("%+v: queue limit %d", c, got)
		}
		shut(t, p)
	}
}

func TestEveryTaskRunsOnce(t *testing.T) { bothWays(t, testEveryTaskRunsOnce) }

func testEveryTaskRunsOnce(t *testing.T, New func(Config) *Pool) {
	for _, c := range []Config{
		{Workers: 1, Shards: 1}, {Workers: 1, Shards: 8}, {Workers: 3, Shards: 2}, {},
	} {
		p := New(c)
		var q [5]*Queue
		for i := range q {
			q[i] = p.NewQueue(10_000)
		}
		var ran [5000]atomic.Int32
		next := 0
		for size := 1; next < len(ran); size = size*2%97 + 1 {
			size = min(size, len(ran)-next)
			base := next
			submit(t, q[next%len(q)], each(size, func(i int) { ran[base+i].Add(1) }))
			next += size
		}
		shut(t, p)
		for i := range ran {
			if n := ran[i].Load(); n != 1 {
				t.Fatalf("%+v: task %d ran %d times", c, i, n)
			}
		}
		if st := p.Stats(); st.Started != uint64(len(ran)) {
			t.Errorf("%+v: started %d", c, st.Started)
		}
	}
}

// All tasks of the batch must be in Run at once for any of them to return.
func TestBlockingBatchRunsInParallel(t *testing.T) { bothWays(t, testBlockingBatchRunsInParallel) }

func testBlockingBatchRunsInParallel(t *testing.T, New func(Config) *Pool) {
	for _, shards := range []int{1, 4} {
		p := New(Config{Workers: 16, Shards: shards})
		for range 50 {
			var all sync.WaitGroup
			all.Add(16)
			done := make(chan bool, 16)
			submit(t, p.NewQueue(16), each(16, func(int) { all.Done(); all.Wait(); done <- true }))
			for range 16 {
				<-done
			}
		}
		shut(t, p)
	}
}

// A worker blocked in one shard must not keep the others from being served.
func TestSlotOfOneShardServesAnother(t *testing.T) { bothWays(t, testSlotOfOneShardServesAnother) }

func testSlotOfOneShardServesAnother(t *testing.T, New func(Config) *Pool) {
	p := New(Config{Workers: 2, Shards: 2})
	a, b := p.NewQueue(10), p.NewQueue(10)
	block, done := make(chan bool), make(chan bool)
	submit(t, a, each(1, func(int) { <-block }))
	for range 5 {
		submit(t, b, each(1, func(int) { done <- true }))
		<-done
	}
	close(block)
	shut(t, p)
}

func TestHeldTasks(t *testing.T) { bothWays(t, testHeldTasks) }

func testHeldTasks(t *testing.T, New func(Config) *Pool) {
	p := New(Config{Workers: 3, Shards: 2})
	q := p.NewQueue(100)
	ran := make(chan int, 100)
	submit(t, q, &funcs{n: 10, run: func(i int) bool { ran <- i; return true }})
	for want := range 10 {
		<-ran
		if want < 2 {
			continue
		}
		for p.Stats().Held != 3 || p.Stats().Running != 0 {
			runtime.Gosched()
		}
		if len(ran) != 0 || q.Len() != 10-want-1 {
			t.Fatalf("%d ran, %d queued while all slots are held", want+1, q.Len())
		}
		p.Release()
	}
	p.Release()
	p.Release()
	shut(t, p)
}

func TestReleaseBeforeRunReturns(t *testing.T) { bothWays(t, testReleaseBeforeRunReturns) }

func testReleaseBeforeRunReturns(t *testing.T, New func(Config) *Pool) {
	p := New(Config{Workers: 2, Shards: 2})
	q := p.NewQueue(2000)
	submit(t, q, &funcs{n: 2000, run: func(int) bool { p.Release(); return true }})
	shut(t, p)
}

func TestReleaseTooOftenPanics(t *testing.T) {
	p := New(Config{})
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
		shut(t, p)
	}()
	p.Release()
}

func TestSubmitErrors(t *testing.T) {
	p := New(Config{Workers: 1})
	q := p.NewQueue(5)
	q.Pause()
	var ran atomic.Int32
	count := func(int) { ran.Add(1) }
	for _, step := range []struct {
		n, len int
		err    error
	}{
		{6, 0, ErrFull}, {0, 0, nil}, {3, 3, nil}, {3, 3, ErrFull}, {2, 5, nil}, {1, 5, ErrFull}, {0, 5, nil},
	} {
		if err := q.Submit(each(step.n, count)); !errors.Is(err, step.err) {
			t.Errorf("Submit of %d: %v, want %v", step.n, err, step.err)
		}
		if q.Len() != step.len {
			t.Errorf("after %d: Len %d, want %d", step.n, q.Len(), step.len)
		}
	}
	q.Close()
	if err := q.Submit(each(1, count)); !errors.Is(err, ErrClosed) {
		t.Errorf("Submit to a closed queue: %v", err)
	}
	other := p.NewQueue(5)
	submit(t, other, each(1, count))
	shut(t, p)
	if ran.Load() != 6 {
		t.Errorf("%d tasks ran, want 6", ran.Load())
	}
	if err := other.Submit(each(1, count)); !errors.Is(err, ErrClosed) {
		t.Errorf("Submit to a closed pool: %v", err)
	}
}

func TestPauseAndResume(t *testing.T) { bothWays(t, testPauseAndResume) }

func testPauseAndResume(t *testing.T, New func(Config) *Pool) {
	synctest.Test(t, func(t *testing.T) {
		p := New(Config{Workers: 4, Shards: 2})
		q := p.NewQueue(100)
		var ran atomic.Int32
		gate := make(chan bool)
		submit(t, q, each(6, func(int) { ran.Add(1); <-gate }))
		synctest.Wait()
		q.Pause()
		q.Pause()
		close(gate)
		synctest.Wait()
		if ran.Load() != 4 || q.Len() != 2 {
			t.Errorf("paused: %d ran, %d wait", ran.Load(), q.Len())
		}
		submit(t, q, each(3, func(int) { ran.Add(1) }))
		synctest.Wait()
		if ran.Load() != 4 || q.Len() != 5 {
			t.Errorf("submitted while paused: %d ran, %d wait", ran.Load(), q.Len())
		}
		q.Resume()
		q.Resume()
		synctest.Wait()
		if ran.Load() != 9 || q.Len() != 0 {
			t.Errorf("resumed: %d ran, %d wait", ran.Load(), q.Len())
		}
		q.Pause()
		submit(t, q, each(3, func(int) { ran.Add(1) }))
		q.Close()
		q.Pause()
		synctest.Wait()
		if ran.Load() != 12 {
			t.Errorf("closed while paused: %d ran", ran.Load())
		}
		shut(t, p)
	})
}

// A queue that waits gets its turn after a bounded number of the others' tasks.
func TestFairness(t *testing.T) { bothWays(t, testFairness) }

func testFairness(t *testing.T, New func(Config) *Pool) {
	for _, c := range []struct {
		name            string
		shards, workers int
	}{
		{"one shard", 1, 1}, {"one shard, 4 workers", 1, 4}, {"two shards", 2, 1}, {"8 shards, 3 workers", 8, 3},
	} {
		// A turn of each shard and queue; and a claim that each worker may have before it.
		bound := 3*quantum + c.workers*quantum
		t.Run(c.name, func(t *testing.T) {
			p := New(Config{Workers: c.workers, Shards: c.shards})
			big, small := p.NewQueue(100_000), p.NewQueue(10)
			// Not one task may start before all is queued.
			gate := make(chan bool)
			submit(t, p.NewQueue(c.workers), each(c.workers, func(int) { <-gate }))
			// More of the others than the bound wait for the ten; so a scheduler that lets one
			// worker wait does not matter, and a pool that is unfair gets stuck.
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			var others, left atomic.Int64
			left.Store(10)
			for range 100 {
				submit(t, big, each(1000, func(int) {
					if others.Add(1) > int64(bound) {
						<-ctx.Done()
					}
				}))
			}
			submit(t, small, each(10, func(int) {
				if left.Add(-1) == 0 {
					cancel()
				}
			}))
			close(gate)
			<-ctx.Done()
			if !errors.Is(ctx.Err(), context.Canceled) {
				t.Errorf("%d of the ten were not begun after %d of the others", left.Load(), bound)
			}
			shut(t, p)
		})
	}
}

func TestQueueSize(t *testing.T) {
	p := New(Config{Shards: 1})
	q := p.NewQueue(10_000)
	q.Pause()
	for range 5000 {
		submit(t, q, each(2, func(int) {}))
	}
	q.Resume()
	shut(t, p)
	if q.head != nil || q.tail != nil || p.shards[0].spares != spareChunks {
		t.Errorf("an idle queue keeps chunks; %d spare", p.shards[0].spares)
	}
}

type counter struct {
	n    int
	done sync.WaitGroup
}

func (c *counter) Len() int                  { return c.n }
func (c *counter) Run(int) bool              { c.done.Done(); return false }
func (c *counter) Panicked(int, any, []byte) {}

func TestAllocs(t *testing.T) { bothWays(t, testAllocs) }

func testAllocs(t *testing.T, New func(Config) *Pool) {
	p := New(Config{})
	q := p.NewQueue(10_000)
	one, many := &counter{n: 1}, &counter{n: 64}
	round := func() {
		one.done.Add(100)
		many.done.Add(640)
		for range 10 {
			for range 10 {
				submit(t, q, one)
			}
			submit(t, q, many)
		}
		one.done.Wait()
		many.done.Wait()
	}
	round()
	if n := testing.AllocsPerRun(100, round); n >= 1 {
		t.Errorf("%v allocations for 740 tasks", n)
	}
	shut(t, p)
}
