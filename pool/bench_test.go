package pool

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// load is a batch that ends a benchmark when its last task is done.
type load struct {
	n    int
	work time.Duration
	left *atomic.Int64
	end  chan bool
}

func (l *load) Len() int                  { return l.n }
func (l *load) Panicked(int, any, []byte) {}
func (l *load) Run(int) bool {
	if l.work > 0 {
		for start := time.Now(); time.Since(start) < l.work; {
		}
	}
	if l.left.Add(-1) == 0 {
		l.end <- true
	}
	return false
}

// BenchmarkPool gives the time per task, from the first submit until the last task is done.
func BenchmarkPool(b *testing.B) {
	for _, work := range []time.Duration{0, time.Microsecond} {
		for _, size := range []int{1, 64} {
			for _, producers := range []int{1, 8} {
				b.Run(fmt.Sprintf("work=%v/batch=%d/producers=%d", work, size, producers), func(b *testing.B) {
					benchPool(b, work, size, producers)
				})
			}
		}
	}
}

func benchPool(b *testing.B, work time.Duration, size, producers int) {
	p := New(Config{})
	each := b.N/(size*producers) + 1
	var left atomic.Int64
	left.Store(int64(each * size * producers))
	l := &load{n: size, work: work, left: &left, end: make(chan bool, 1)}
	var wg sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for range producers {
		q := p.NewQueue(8192)
		wg.Go(func() {
			for range each {
				for q.Submit(l) != nil {
					time.Sleep(20 * time.Microsecond)
				}
			}
		})
	}
	wg.Wait()
	<-l.end
	b.StopTimer()
	if err := p.Close(context.Background()); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkRoundTrip is a single task in an idle pool: what waking a worker costs.
func BenchmarkRoundTrip(b *testing.B) {
	p := New(Config{})
	q := p.NewQueue(1)
	var left atomic.Int64
	l := &load{n: 1, left: &left, end: make(chan bool)}
	for b.Loop() {
		left.Store(1)
		if err := q.Submit(l); err != nil {
			b.Fatal(err)
		}
		<-l.end
	}
	_ = p.Close(context.Background())
}

// held is a batch of tasks that are held, and released by the goroutine that reads out.
type held struct {
	n   int
	out chan bool
}

func (h *held) Len() int                  { return h.n }
func (h *held) Panicked(int, any, []byte) {}
func (h *held) Run(int) bool              { h.out <- true; return true }

// BenchmarkHeld is a task that is held and released, with slots free and with all of them taken.
func BenchmarkHeld(b *testing.B) {
	for _, workers := range []int{4, 1 << 20} {
		b.Run(fmt.Sprintf("slots=%d", workers), func(b *testing.B) {
			p := New(Config{Workers: workers})
			q := p.NewQueue(1 << 16)
			h := &held{64, make(chan bool, 1024)}
			rounds := b.N/64 + 1
			b.ResetTimer()
			go func() {
				for range rounds {
					for q.Submit(h) != nil {
						time.Sleep(20 * time.Microsecond)
					}
				}
			}()
			for range rounds * 64 {
				<-h.out
				p.Release()
			}
			b.StopTimer()
			_ = p.Close(context.Background())
		})
	}
}

// BenchmarkGoroutines is the same load on plain goroutines: one a task.
func BenchmarkGoroutines(b *testing.B) {
	for _, work := range []time.Duration{0, time.Microsecond} {
		b.Run(fmt.Sprintf("work=%v", work), func(b *testing.B) {
			var left atomic.Int64
			left.Store(int64(b.N))
			l := &load{n: 1, work: work, left: &left, end: make(chan bool, 1)}
			for range b.N {
				go l.Run(0)
			}
			<-l.end
		})
	}
}

// BenchmarkChannel is the same trivial tasks through a channel of slices of 64, and two goroutines:
// what can be had without queues, limits, fairness and tasks that block.
func BenchmarkChannel(b *testing.B) {
	var left atomic.Int64
	rounds := b.N/64 + 1
	left.Store(int64(rounds * 64))
	l := &load{n: 1, left: &left, end: make(chan bool, 1)}
	tasks := make([]Batch, 64)
	for i := range tasks {
		tasks[i] = l
	}
	c := make(chan []Batch, 128)
	for range 2 {
		go func() {
			for s := range c {
				for i, t := range s {
					t.Run(i)
				}
			}
		}()
	}
	for range rounds {
		c <- tasks
	}
	<-l.end
	close(c)
}
