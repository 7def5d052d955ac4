package pools

import (
	"sync"
	"sync/atomic"
	"time"
)

const batchSize = 64

// scenario is what all pools are put to.
type scenario struct {
	producers int
	batch     int // tasks of a submit
	work      time.Duration
}

// load is one round's tasks: the same function again and again, so that no pool pays for making them. It is the
// pool.Batch of shoal.
type load struct {
	batch int
	spins int // of busy work
	left  atomic.Int64
	end   chan struct{} // the last task is done

	task  func()
	tasks []func() // batch of them
	quick quickLoad
}

func newLoad(batch, spins, tasks int) *load {
	l := &load{batch: batch, spins: spins, end: make(chan struct{})}
	l.left.Store(int64(tasks))
	l.task = l.one
	for range batch {
		l.tasks = append(l.tasks, l.task)
	}
	l.quick.load = l
	return l
}

func (l *load) one() {
	spin(l.spins)
	if l.left.Add(-1) == 0 {
		close(l.end)
	}
}

func (l *load) Len() int                  { return l.batch }
func (l *load) Run(int) bool              { l.one(); return false }
func (l *load) Panicked(int, any, []byte) {}

// quickLoad is the load as a pool.QuickBatch.
type quickLoad struct{ *load }

func (q *quickLoad) Grain() int { return 32 }

func (q *quickLoad) RunSome(_, n int) int {
	for range n {
		q.one()
	}
	return 0
}

// submitAll has the producers submit so many batches each and returns the time until the last task is done.
func submitAll(producers []func(l *load), l *load, batches int) time.Duration {
	var running sync.WaitGroup
	start := time.Now()
	for _, submit := range producers {
		running.Go(func() {
			for range batches {
				submit(l)
			}
		})
	}
	<-l.end
	elapsed := time.Since(start)
	running.Wait()
	return elapsed
}

var spun atomic.Uint64 // keeps the compiler from leaving the loop out

func spin(n int) {
	x := uint64(n) | 1
	for range n {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	if x == 0 { // never
		spun.Add(x)
	}
}

// spinsFor finds how many turns of the loop take so long when nothing else runs.
func spinsFor(work time.Duration) int {
	if work == 0 {
		return 0
	}
	const turns = 1_000_000
	fastest := time.Hour
	for range 10 {
		start := time.Now()
		spin(turns)
		fastest = min(fastest, time.Since(start))
	}
	return int(turns * work / fastest)
}
