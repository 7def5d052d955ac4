package pool

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
)

// quick is a QuickBatch that counts how often each of its tasks ran; some of them it holds.
type quick struct {
	ran      []atomic.Int32
	grain    int
	most     atomic.Int32 // the most tasks in one RunSome
	panicked atomic.Int32
	hold     func(i int) bool
	some     func(i, n int)
}

func newQuick(n, grain int) *quick {
	return &quick{ran: make([]atomic.Int32, n), grain: grain, hold: func(int) bool { return false }, some: func(int, int) {}}
}

func (b *quick) Len() int   { return len(b.ran) }
func (b *quick) Grain() int { return b.grain }

func (b *quick) Run(i int) bool {
	b.ran[i].Add(1)
	return b.hold(i)
}

func (b *quick) RunSome(i, n int) (held int) {
	for k := i; k < i+n; k++ {
		if b.Run(k) {
			held++
		}
	}
	for most := b.most.Load(); int(most) < n && !b.most.CompareAndSwap(most, int32(n)); most = b.most.Load() {
	}
	b.some(i, n)
	return held
}

func (b *quick) Panicked(int, any, []byte) { b.panicked.Add(1) }

// onceEach fails the test unless every task of the batch ran once.
func (b *quick) onceEach(t *testing.T) {
	t.Helper()
	for i := range b.ran {
		if n := b.ran[i].Load(); n != 1 {
			t.Fatalf("task %d ran %d times", i, n)
		}
	}
}

// What is claimed at once is bounded by the grain and by the slots that are free.
func TestQuickGrain(t *testing.T) {
	for _, c := range []struct{ tasks, grain, workers, most int }{
		{100, 16, 1000, 16}, {100, 1, 1000, 0}, {5, 16, 1000, 5}, {100, 1000, 1000, mostGrain}, {100, 16, 4, 4}, {100, 16, 1, 1},
	} {
		p := New(Config{Workers: c.workers, Shards: 1})
		b := newQuick(c.tasks, c.grain)
		if err := p.NewQueue(c.tasks).Submit(b); err != nil {
			t.Fatal(err)
		}
		if err := p.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		b.onceEach(t)
		if got := int(b.most.Load()); got > c.most || got == 0 && c.most > 1 {
			t.Errorf("%+v: %d at once", c, got)
		}
	}
}

// Held tasks of quick batches, released early, late and from elsewhere, never take more slots than there are, and none
// is lost.
func TestQuickHeldStress(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	for _, workers := range []int{1, 3, 40} {
		p := New(Config{Workers: workers, Shards: 3})
		var held, most atomic.Int32
		var submitters, releases sync.WaitGroup
		var batches sync.Map
		for s := range 4 {
			submitters.Go(func() {
				random := rand.New(rand.NewPCG(seed, uint64(s)))
				q := p.NewQueue(1 << 20)
				for range 300 {
					b := newQuick(1+random.IntN(60), 1+random.IntN(40))
					stride := 1 + random.IntN(5)
					b.hold = func(i int) bool {
						if i%stride != 0 {
							return false
						}
						n := held.Add(1)
						for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
						}
						releases.Go(func() {
							held.Add(-1)
							p.Release()
						})
						return true
					}
					batches.Store(b, true)
					if err := q.Submit(b); err != nil {
						t.Error(err)
					}
				}
			})
		}
		submitters.Wait()
		if err := p.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		releases.Wait()
		batches.Range(func(b, _ any) bool {
			b.(*quick).onceEach(t)
			return true
		})
		if got := int(most.Load()); got > workers {
			t.Errorf("%d tasks held at once on %d slots", got, workers)
		}
		if st := p.Stats(); st.Running != 0 || st.Held != 0 || st.Queued != 0 {
			t.Errorf("afterwards: %+v", st)
		}
	}
}

// A panic in RunSome, which is a mistake, is told for each task of the run and costs no slot.
func TestQuickPanic(t *testing.T) {
	p := New(Config{Workers: 8, Shards: 1})
	q := p.NewQueue(100)
	b := newQuick(8, 8)
	b.some = func(int, int) { panic(errors.New("mistake")) }
	if err := q.Submit(b); err != nil {
		t.Fatal(err)
	}
	after := newQuick(50, 4)
	if err := q.Submit(after); err != nil {
		t.Fatal(err)
	}
	if err := p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if n := b.panicked.Load(); n != 8 {
		t.Errorf("%d of 8 told as panicked", n)
	}
	after.onceEach(t)
}

// The owner of a queue is told after each turn, and after the last task in any case.
func TestAfterTurn(t *testing.T) {
	p := New(Config{Workers: 4})
	var done, told atomic.Int32
	q := p.NewQueue(10_000)
	q.AfterTurn(func() { told.Store(done.Load()) })
	for range 20 {
		submit(t, q, each(100, func(int) { done.Add(1) }))
	}
	if err := p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if told.Load() == 0 {
		t.Error("nobody was told")
	}
	// Workers may be told side by side; a last turn that overlaps with nothing must have seen everything.
	p = New(Config{Workers: 1})
	q = p.NewQueue(10_000)
	q.AfterTurn(func() { told.Store(done.Load()) })
	done.Store(0)
	submit(t, q, each(1000, func(int) { done.Add(1) }))
	if err := p.Close(context.Background()); err != nil {
		t.Fatal(err)
	}
	if told.Load() != 1000 {
		t.Errorf("told after %d of 1000", told.Load())
	}
}

// A turn has quickQuantum quick tasks of one queue, and quantum of others, beside another queue.
func TestTurnOfQuickTasks(t *testing.T) {
	for _, c := range []struct{ grain, want int }{{mostGrain, quickQuantum}, {1, quantum}} {
		p := New(Config{Workers: 1, Shards: 1})
		first := each(1, func(int) {})
		gate := make(chan struct{})
		first.run = func(int) bool { <-gate; return false } // so that all is queued before any of it runs
		submit(t, p.NewQueue(1), first)
		var mu sync.Mutex
		var order []int
		for i := range 2 {
			q := p.NewQueue(10_000)
			for range 8 {
				b := newQuick(mostGrain, c.grain)
				b.hold = func(int) bool {
					mu.Lock()
					defer mu.Unlock()
					order = append(order, i)
					return false
				}
				submit(t, q, b)
			}
		}
		close(gate)
		if err := p.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
		run := 1
		for run < len(order) && order[run] == order[0] {
			run++
		}
		if run != c.want || len(order) != 2*8*mostGrain {
			t.Errorf("grain %d: %d tasks of one queue in a row, want %d; %d in all", c.grain, run, c.want, len(order))
		}
	}
}

// TestYieldCountsWorkers: the slots that another worker has for quick tasks do not make this one too many.
func TestYieldCountsWorkers(t *testing.T) {
	p := New(Config{})
	p.processors, p.alive = 2, 2
	p.slots.take()
	p.slots.takeMore(mostGrain)
	w := &worker{pool: p}
	if !w.yield() {
		t.Error("one of two workers on two processors is to park")
	}
	p.alive = 4
	if w.yield() {
		t.Error("one of four workers on two processors is to go on")
	}
}
