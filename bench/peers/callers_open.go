package main

import (
	"errors"
	"sync"
	"time"

	"shoal/bench/internal/latency"
	"shoal/bench/internal/workload"
)

// offer starts a goroutine for each message when it is due, as a program does that is called itself.
func (c *callers) offer(o offer) (work, error) {
	conns := make([]*callsOnConn, c.load.Conns)
	errs := make([]error, len(conns))
	var running sync.WaitGroup
	start := time.Now()
	for i := range conns {
		on := &callsOnConn{callers: c, conn: i, cursor: workload.NewCursor(c.keys, i), slots: newSlots(), start: start}
		on.slots.reset(c.load.slots())
		conns[i] = on
		running.Go(func() { errs[i] = on.run(o) })
	}
	running.Wait()
	w := work{latencies: &latency.Histogram{}}
	for _, on := range conns {
		w.tasks += on.answered.N * c.load.Batch
		w.offered += (on.answered.N + on.missed.N) * c.load.Batch
		w.latencies.Merge(&on.answered)
		w.latencies.Merge(&on.missed)
	}
	return w, errors.Join(errs...)
}

// callsOnConn are the calls over one connection.
type callsOnConn struct {
	*callers
	conn   int
	cursor workload.Cursor
	slots  *slots
	start  time.Time
	missed latency.Histogram // due and not sent

	mu       sync.Mutex // guards what follows
	answered latency.Histogram
	err      error // the first
}

// run returns when every call has.
func (c *callsOnConn) run(o offer) error {
	pacer, err := newPacer(o, c.load, c.start, c.conn, c.load.Conns)
	if err != nil {
		return err
	}
	defer pacer.close()
	var calling sync.WaitGroup
	err = pacer.run(func(due time.Duration) error {
		id, ok := c.slots.take()
		for ; !ok; id, ok = c.slots.take() {
			c.slots.wait()
		}
		message := c.cursor.AppendMessage(make([]byte, 0, c.load.Batch*(4+workload.KeySize)), c.load.Batch)
		calling.Go(func() {
			c.callDue(id, message, due)
			c.slots.give(id)
		})
		return nil
	}, c.failed)
	calling.Wait()
	pacer.countRest(&c.missed)
	return errors.Join(err, c.failed())
}

func (c *callsOnConn) callDue(id uint32, message []byte, due time.Duration) {
	answer, err := c.call(int(id)*c.load.Conns+c.conn, message)
	if err == nil {
		err = workload.CheckAnswer(answer, c.load.Batch)
	}
	took := time.Since(c.start) - due
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil && c.err == nil {
		c.err = err
	}
	c.answered.Add(took)
}

func (c *callsOnConn) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}
