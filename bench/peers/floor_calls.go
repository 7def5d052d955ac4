package main

import (
	"bufio"
	"encoding/binary"
	"net"
	"sync"
)

// callConn is the least with which many goroutines can call over one connection and wait each for its own answer.
// Callers append under a lock, a goroutine writes what has been appended, another reads and wakes the callers.
type callConn struct {
	conn    net.Conn
	wake    chan struct{} // one slot: there is something to write
	waiters []callWaiter  // by id, which is the caller's alone

	mu  sync.Mutex
	out []byte
}

type callWaiter struct {
	done   chan error // one slot
	answer []byte
}

// dialFloorCalls returns callers; the goroutines of their connections end with the process, or when one fails.
func dialFloorCalls(address string, l load) (driver, error) {
	var conns []*callConn
	for range l.Conns {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			for _, opened := range conns {
				_ = opened.conn.Close()
			}
			return nil, err
		}
		c := &callConn{conn: conn, wake: make(chan struct{}, 1), waiters: make([]callWaiter, l.slots())}
		for i := range c.waiters {
			c.waiters[i].done = make(chan error, 1)
		}
		conns = append(conns, c)
		go c.write()
		go c.read()
	}
	return newCallers(l, func(user int, key []byte) ([]byte, error) {
		return conns[user%len(conns)].call(uint32(user/len(conns)), key)
	}), nil
}

func (c *callConn) write() {
	var spare []byte
	for range c.wake {
		c.mu.Lock()
		out := c.out
		c.out = spare[:0]
		c.mu.Unlock()
		if _, err := c.conn.Write(out); err != nil {
			return // the reader sees it too
		}
		spare = out
	}
}

func (c *callConn) read() {
	r := bufio.NewReaderSize(c.conn, floorBuffer)
	for {
		frame, err := peekFrame(r)
		if err != nil {
			for i := range c.waiters {
				c.waiters[i].done <- err
			}
			return
		}
		w := &c.waiters[binary.LittleEndian.Uint32(frame[floorHeader:])]
		w.answer = append([]byte(nil), frame[floorHeader+idSize:]...)
		_, _ = r.Discard(len(frame))
		w.done <- nil
	}
}

func (c *callConn) call(id uint32, key []byte) ([]byte, error) {
	c.mu.Lock()
	c.out = binary.LittleEndian.AppendUint32(c.out, uint32(idSize+len(key)))
	c.out = binary.LittleEndian.AppendUint32(c.out, id)
	c.out = append(c.out, key...)
	c.mu.Unlock()
	select {
	case c.wake <- struct{}{}:
	default:
	}
	w := &c.waiters[id]
	err := <-w.done
	return w.answer, err
}
