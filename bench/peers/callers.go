package main

import (
	"sync"
	"sync/atomic"
	"time"

	"shoal/bench/internal/latency"
	"shoal/bench/internal/workload"
)

// callers drives a peer that is called: for each message in flight a goroutine that waits for its own answer. The user
// says which connection: user modulo their number.
type callers struct {
	load load
	keys []byte
	call func(user int, message []byte) (answer []byte, err error)
}

func newCallers(l load, call func(user int, message []byte) ([]byte, error)) *callers {
	return &callers{load: l, keys: workload.Keys(workload.ClientSeed), call: call}
}

func (c *callers) run(d time.Duration) (work, error) {
	var stop atomic.Bool
	var running sync.WaitGroup
	var failed atomic.Pointer[error]
	hists := make([]latency.Histogram, c.load.messages())
	for user := range hists {
		running.Go(func() {
			cursor, last := workload.NewCursor(c.keys, user), time.Now()
			for first := true; first || !stop.Load(); first = false {
				// A message of its own each time: who may keep it for how long differs from peer to peer.
				message := cursor.AppendMessage(make([]byte, 0, c.load.Batch*(4+workload.KeySize)), c.load.Batch)
				answer, err := c.call(user, message)
				if err == nil {
					err = workload.CheckAnswer(answer, c.load.Batch)
				}
				if err != nil {
					failed.Store(&err)
					stop.Store(true)
					return
				}
				now := time.Now()
				hists[user].Add(now.Sub(last))
				last = now
			}
		})
	}
	time.Sleep(d)
	stop.Store(true)
	running.Wait()
	if err := failed.Load(); err != nil {
		return work{}, *err
	}
	total := &latency.Histogram{}
	for i := range hists {
		total.Merge(&hists[i])
	}
	return work{tasks: total.N * c.load.Batch, latencies: total}, nil
}
