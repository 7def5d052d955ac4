package main

import (
	"encoding/binary"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"
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
	batch  int
	cursor cursor
	sent   []time.Duration // when each id was written, after start
	start  time.Time
	hist   *histogram
	stop   atomic.Bool

	wake chan struct{} // one slot: ids were handed back

	mu   sync.Mutex
	free []uint32
}

// newPipes opens the connections of the load.
func newPipes(l load, open func(i int) (pipe, error)) (*pipes, error) {
	p := &pipes{load: l}
	keys := tableKeys(clientSeed)
	for i := range l.Conns {
		opened, err := open(i)
		if err != nil {
			closeAll(p.conns)
			return nil, err
		}
		ids := l.messages() / l.Conns
		c := &pipeConn{pipe: opened, batch: l.Batch, cursor: newCursor(keys, i), sent: make([]time.Duration, ids), wake: make(chan struct{}, 1)}
		for id := range ids {
			c.free = append(c.free, uint32(id))
		}
		p.conns = append(p.conns, c)
	}
	return p, nil
}

// run keeps the window full for so long and waits for the last answers.
func (p *pipes) run(d time.Duration) (work, error) {
	start := time.Now()
	var running sync.WaitGroup
	errs := make([]error, 2*len(p.conns))
	for i, c := range p.conns {
		c.start, c.hist = start, &histogram{}
		c.stop.Store(false)
		running.Go(func() { errs[2*i] = c.ended(c.write()) })
		running.Go(func() { errs[2*i+1] = c.ended(c.read()) })
	}
	time.Sleep(d)
	for _, c := range p.conns {
		c.stop.Store(true)
	}
	running.Wait()
	total := &histogram{}
	for _, c := range p.conns {
		total.merge(c.hist)
	}
	return work{tasks: total.n * p.load.Batch, latencies: total}, errors.Join(errs...)
}

// ended makes both goroutines of a connection end when one has failed.
func (c *pipeConn) ended(err error) error {
	if err != nil {
		c.stop.Store(true)
		_ = c.Close()
		c.wakeUp()
	}
	return err
}

func (c *pipeConn) wakeUp() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// lastID is that of the message after which a round is over.
const lastID = ^uint32(0)

// write sends a message for each free id, until told to stop.
func (c *pipeConn) write() error {
	var ids []uint32
	var message []byte
	for !c.stop.Load() {
		c.mu.Lock()
		ids, c.free = c.free, ids[:0]
		c.mu.Unlock()
		if len(ids) == 0 {
			<-c.wake
			continue
		}
		now := time.Since(c.start)
		for _, id := range ids {
			c.sent[id] = now
			message = c.cursor.appendMessage(binary.LittleEndian.AppendUint32(message[:0], id), c.batch)
			if err := c.send(message); err != nil {
				return err
			}
		}
		if err := c.flush(); err != nil {
			return err
		}
	}
	message = c.cursor.appendMessage(binary.LittleEndian.AppendUint32(message[:0], lastID), c.batch)
	if err := c.send(message); err != nil {
		return err
	}
	return c.flush()
}

// read takes answers until that of the last message.
func (c *pipeConn) read() error {
	var back []uint32
	now := time.Duration(0)
	for {
		answer, more, err := c.recv()
		if err != nil {
			return err
		}
		if len(answer) < idSize {
			return errWrongAnswer
		}
		if err := checkAnswer(answer[idSize:], c.batch); err != nil {
			return err
		}
		id := binary.LittleEndian.Uint32(answer)
		if id != lastID {
			if len(back) == 0 {
				now = time.Since(c.start)
			}
			c.hist.add(now - c.sent[id])
			back = append(back, id)
		}
		if !more || len(back) == len(c.sent) || id == lastID {
			c.mu.Lock()
			c.free = append(c.free, back...)
			c.mu.Unlock()
			back = back[:0]
			c.wakeUp()
		}
		if id == lastID {
			return nil
		}
	}
}
