package main

import (
	"time"

	"shoal/bench/internal/latency"
)

// offer sends what is due on each connection as one burst, and then pauses.
func (p *pipes) offer(o offer) (work, error) {
	missed := make([]latency.Histogram, len(p.conns))
	start := time.Now()
	w, err := p.drive(start, p.load.slots(), clockEvery, func(c *pipeConn, i int) error {
		pacer, err := newPacer(o, p.load, start, i, len(p.conns))
		if err != nil {
			return err
		}
		defer pacer.close()
		err = pacer.run(c.sendDue, c.flush)
		pacer.countRest(&missed[i])
		return err
	})
	w.offered = w.tasks
	for i := range missed {
		w.offered += missed[i].N * p.load.Batch
		w.latencies.Merge(&missed[i])
	}
	return w, err
}

// sendDue sends a message that was due then, when an id is free.
func (c *pipeConn) sendDue(due time.Duration) error {
	id, ok := c.slots.take()
	for ; !ok; id, ok = c.slots.take() {
		if err := c.flush(); err != nil {
			return err
		}
		if c.slots.wait(); c.stop.Load() {
			return errStopped
		}
	}
	c.sent[id] = due
	return c.sendNext(id)
}
