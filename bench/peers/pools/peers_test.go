package pools

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"time"

	"github.com/alitto/pond"
	"github.com/panjf2000/ants/v2"
	conc "github.com/sourcegraph/conc/pool"

	"shoal/pool"
)

const (
	workers    = 1024 // tasks that run at once, of every pool
	queueLimit = 8192 // tasks that wait, where there is a queue
	fullPause  = 20 * time.Microsecond
)

// peer is one kind of pool.
type peer struct {
	name string
	open func() opened
	// survives: a task that panics does not end the process.
	survives bool
}

// opened is a pool that takes tasks.
type opened struct {
	// producer returns what one producer submits batches with.
	producer func() func(l *load)
	close    func()
}

var peers = []peer{
	{name: shoalName, open: func() opened { return openShoal(func(l *load) pool.Batch { return l }) }, survives: true},
	{name: "shoal-quick", open: func() opened { return openShoal(func(l *load) pool.Batch { return &l.quick }) }, survives: true},
	{name: "go", open: openGo},
	{name: "channel", open: openChannel},
	{name: "slices", open: openSlices},
	{name: "ants", open: openAnts, survives: true},
	{name: "pond", open: openPond, survives: true},
	{name: "conc", open: openConc, survives: true},
}

const shoalName = "shoal"

func openShoal(batchOf func(l *load) pool.Batch) opened {
	p := pool.New(pool.Config{Workers: workers})
	return opened{
		producer: func() func(l *load) {
			q := p.NewQueue(queueLimit)
			return func(l *load) {
				for errors.Is(q.Submit(batchOf(l)), pool.ErrFull) {
					time.Sleep(fullPause)
				}
			}
		},
		close: func() { _ = p.Close(context.Background()) },
	}
}

// each is the producer of a pool that takes functions one by one.
func each(submit func(task func())) func() func(l *load) {
	return func() func(l *load) {
		return func(l *load) {
			for range l.batch {
				submit(l.task)
			}
		}
	}
}

func openGo() opened {
	slots := make(chan struct{}, workers)
	return opened{
		producer: each(func(task func()) {
			slots <- struct{}{}
			go func() {
				task()
				<-slots
			}()
		}),
		close: func() {},
	}
}

func openChannel() opened {
	tasks := make(chan func(), queueLimit)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for task := range tasks {
				task()
			}
		})
	}
	return opened{
		producer: each(func(task func()) { tasks <- task }),
		close: func() {
			close(tasks)
			running.Wait()
		},
	}
}

func openSlices() opened {
	batches := make(chan []func(), queueLimit/batchSize)
	var running sync.WaitGroup
	for range workers {
		running.Go(func() {
			for batch := range batches {
				for _, task := range batch {
					task()
				}
			}
		})
	}
	return opened{
		producer: func() func(l *load) { return func(l *load) { batches <- l.tasks } },
		close: func() {
			close(batches)
			running.Wait()
		},
	}
}

func openAnts() opened {
	pools := runtime.GOMAXPROCS(0)
	p, err := ants.NewMultiPool(pools, workers/pools, ants.RoundRobin, ants.WithPanicHandler(func(any) {}))
	if err != nil {
		panic(err)
	}
	return opened{
		producer: each(func(task func()) {
			if err := p.Submit(task); err != nil {
				panic(err)
			}
		}),
		close: func() { _ = p.ReleaseTimeout(time.Minute) },
	}
}

func openPond() opened {
	p := pond.New(workers, queueLimit, pond.PanicHandler(func(any) {}))
	return opened{producer: each(p.Submit), close: p.StopAndWait}
}

func openConc() opened {
	p := conc.New().WithMaxGoroutines(workers)
	return opened{
		producer: each(p.Go),
		close: func() {
			defer func() { _ = recover() }() // Wait panics for a task that did
			p.Wait()
		},
	}
}
