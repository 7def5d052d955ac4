package bench

import (
	"bufio"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shoal/bench/internal/latency"
	"shoal/bench/internal/workload"
)

// floorCalls is a second client of the floor, for the loads of many callers: the least with which a goroutine can call
// and wait for its own answer. Callers append under a lock, a goroutine writes what has been appended, another reads
// and wakes the callers.
type floorCalls struct {
	b     *testing.B
	conns []*callConn
	keys  []byte
	users int
}

type callConn struct {
	conn    net.Conn
	wake    chan struct{} // one slot: there is something to write
	waiters []callWaiter  // by id, which is the caller's alone

	mu  sync.Mutex
	out []byte
}

type callWaiter struct {
	done   chan struct{} // one slot
	answer []byte
}

func dialFloorCalls(b *testing.B, address string, keys []byte, conns, users int) *floorCalls {
	b.Helper()
	c := &floorCalls{b: b, keys: keys, users: users}
	for range conns {
		cc := &callConn{conn: dialFloorConn(b, address, floorSingles), wake: make(chan struct{}, 1),
			waiters: make([]callWaiter, users/conns)}
		for i := range cc.waiters {
			cc.waiters[i].done = make(chan struct{}, 1)
		}
		c.conns = append(c.conns, cc)
		go cc.write() // both end with the connection
		go cc.read()
		b.Cleanup(func() { close(cc.wake) })
	}
	return c
}

func (cc *callConn) write() {
	var spare []byte
	for range cc.wake {
		cc.mu.Lock()
		out := cc.out
		cc.out = spare[:0]
		cc.mu.Unlock()
		if _, err := cc.conn.Write(out); err != nil {
			return
		}
		spare = out
	}
}

func (cc *callConn) read() {
	r := bufio.NewReaderSize(cc.conn, floorBuffer)
	for {
		frame, err := r.Peek(8 + workload.AnswerSize)
		if err != nil {
			return
		}
		w := &cc.waiters[binary.LittleEndian.Uint32(frame[4:])]
		w.answer = append([]byte(nil), frame[8:]...)
		_, _ = r.Discard(8 + workload.AnswerSize)
		w.done <- struct{}{}
	}
}

func (cc *callConn) call(id uint32, key []byte) []byte {
	cc.mu.Lock()
	cc.out = binary.LittleEndian.AppendUint32(cc.out, 4+workload.KeySize)
	cc.out = binary.LittleEndian.AppendUint32(cc.out, id)
	cc.out = append(cc.out, key...)
	cc.mu.Unlock()
	select {
	case cc.wake <- struct{}{}:
	default:
	}
	w := &cc.waiters[id]
	<-w.done
	return w.answer
}

func (c *floorCalls) run(d time.Duration) *work {
	var stop atomic.Bool
	var running sync.WaitGroup
	hists := make([]latency.Histogram, c.users)
	for i := range hists {
		running.Go(func() {
			cc, id := c.conns[i%len(c.conns)], uint32(i/len(c.conns))
			cursor, last := workload.NewCursor(c.keys, i), time.Now()
			for first := true; first || !stop.Load(); first = false {
				if answer := cc.call(id, cursor.Next()); answer[0] != workload.KeyStart {
					c.b.Error(workload.ErrWrongAnswer)
					return
				}
				now := time.Now()
				hists[i].Add(now.Sub(last))
				last = now
			}
		})
	}
	time.Sleep(d)
	stop.Store(true)
	running.Wait()
	total := &latency.Histogram{}
	for i := range hists {
		total.Merge(&hists[i])
	}
	return &work{tasks: total.N, latencies: total}
}
