package main

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"shoal/bench/internal/latency"
	"shoal/bench/internal/workload"
)

// pipe is a connection, or a stream on it, whose messages are answered in order. A message and its answer begin with a
// u32, the id.
type pipe interface {
	send(message []byte) error // the message may change afterwards
	flush() error
	recv() (answer []byte, more bool, err error) // the answer may change with the next recv; more have come already
	io.Closer
}

// pipes drives a peer that is streamed to: for each connection a goroutine that writes and one that reads. What a burst
// of answers has freed goes out again as one burst, the clock is looked at once a burst, and answers are looked at
// where they lie.
type pipes struct {
	load  load
	conns []*pipeConn
}

type pipeConn struct {
	pipe
	batch   int
	cursor  workload.Cursor
	message []byte // the writer's
	sent    []time.Duration
	start   time.Time
	hist    *latency.Histogram // the reader's
	slots   *slots
	burst   int // answers after which ids are handed back although more have come
	stop    atomic.Bool
}

// newPipes opens the connections of the load.
func newPipes(l load, open func(i int) (pipe, error)) (*pipes, error) {
	p := &pipes{load: l}
	keys := workload.Keys(workload.ClientSeed)
	for i := range l.Conns {
		opened, err := open(i)
		if err != nil {
			closeAll(p.conns)
			return nil, err
		}
		p.conns = append(p.conns, &pipeConn{pipe: opened, batch: l.Batch, cursor: workload.NewCursor(keys, i),
			sent: make([]time.Duration, l.slots()), slots: newSlots()})
	}
	return p, nil
}

// run keeps the window full for so long and waits for the last answers.
func (p *pipes) run(d time.Duration) (work, error) {
	late := time.AfterFunc(d, func() {
		for _, c := range p.conns {
			c.stop.Store(true)
		}
	})
	defer late.Stop()
	ids := p.load.messages() / p.load.Conns
	return p.drive(time.Now(), ids, ids, func(c *pipeConn, _ int) error { return c.write() })
}

// drive runs a writer and a reader on every connection, with so many ids in flight on each, until the writers return
// and the last answers are there.
func (p *pipes) drive(start time.Time, ids, burst int, write func(c *pipeConn, i int) error) (work, error) {
	var running sync.WaitGroup
	errs := make([]error, 2*len(p.conns))
	for i, c := range p.conns {
		c.start, c.hist, c.burst = start, &latency.Histogram{}, burst
		c.slots.reset(ids)
		c.stop.Store(false)
		running.Go(func() {
			err := write(c, i)
			if err == nil {
				err = c.sendLast()
			}
			errs[2*i] = c.ended(err)
		})
		running.Go(func() { errs[2*i+1] = c.ended(c.read()) })
	}
	running.Wait()
	total := &latency.Histogram{}
	for _, c := range p.conns {
		total.Merge(c.hist)
	}
	return work{tasks: total.N * p.load.Batch, latencies: total}, errors.Join(errs...)
}

// ended makes both goroutines of a connection end when one has failed.
func (c *pipeConn) ended(err error) error {
	if err != nil {
		c.stop.Store(true)
		_ = c.Close()
		c.slots.wakeUp()
	}
	return err
}

// lastID is that of the message after which a round is over.
const lastID = ^uint32(0)

func (c *pipeConn) sendLast() error {
	if err := c.sendNext(lastID); err != nil {
		return err
	}
	return c.flush()
}

// sendNext sends the next message under an id.
func (c *pipeConn) sendNext(id uint32) error {
	c.message = c.cursor.AppendMessage(binary.LittleEndian.AppendUint32(c.message[:0], id), c.batch)
	return c.send(c.message)
}

// write sends a message for each free id, once at least, until told to stop.
func (c *pipeConn) write() error {
	for first := true; first || !c.stop.Load(); first = false {
		ids := c.slots.takeAll()
		if len(ids) == 0 {
			c.slots.wait()
			continue
		}
		now := time.Since(c.start)
		for _, id := range ids {
			c.sent[id] = now
			if err := c.sendNext(id); err != nil {
				return err
			}
		}
		if err := c.flush(); err != nil {
			return err
		}
	}
	return nil
}

// clockEvery is how many answers of one burst share a look at the clock.
const clockEvery = 32

// read takes answers until that of the last message. A latency is counted from when the message was written, or was due.
func (c *pipeConn) read() error {
	var back []uint32
	now := time.Duration(0)
	for {
		answer, more, err := c.recv()
		if err != nil {
			return err
		}
		if len(answer) < idSize {
			return workload.ErrWrongAnswer
		}
		if err := workload.CheckAnswer(answer[idSize:], c.batch); err != nil {
			return err
		}
		id := binary.LittleEndian.Uint32(answer)
		if id != lastID {
			if int(id) >= len(c.sent) {
				return workload.ErrWrongAnswer
			}
			if len(back)%clockEvery == 0 {
				now = time.Since(c.start)
			}
			c.hist.Add(now - c.sent[id])
			back = append(back, id)
		}
		if !more || len(back) >= c.burst || id == lastID {
			c.slots.give(back...)
			back = back[:0]
		}
		if id == lastID {
			return nil
		}
	}
}
