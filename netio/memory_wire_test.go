package netio

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"
)

// memoryWire is a connection in memory whose bytes arrive when the test says so, and which breaks when it says so.
type memoryWire struct {
	mu              sync.Mutex // guards both ends
	client, gateway *memoryEnd
}

// memoryEnd is one end; it is a net.Conn. A write never blocks.
type memoryEnd struct {
	wire    *memoryWire
	peer    *memoryEnd
	changed *sync.Cond

	transit  []byte // on the way to this end
	arrived  []byte
	closed   bool
	broken   bool
	deadline time.Time // of reads
}

func newMemoryWire() *memoryWire {
	w := &memoryWire{}
	w.client = &memoryEnd{wire: w, changed: sync.NewCond(&w.mu)}
	w.gateway = &memoryEnd{wire: w, changed: sync.NewCond(&w.mu), peer: w.client}
	w.client.peer = w.gateway
	return w
}

var errWireBroken = errors.New("wire is broken")

func (e *memoryEnd) Read(p []byte) (int, error) {
	e.wire.mu.Lock()
	defer e.wire.mu.Unlock()
	for {
		switch {
		case e.closed:
			return 0, net.ErrClosed
		case !e.deadline.IsZero() && !time.Now().Before(e.deadline):
			return 0, os.ErrDeadlineExceeded
		case len(e.arrived) > 0:
			n := copy(p, e.arrived)
			e.arrived = e.arrived[n:]
			return n, nil
		case e.broken:
			return 0, errWireBroken
		case e.peer.closed && len(e.transit) == 0:
			return 0, io.EOF
		}
		e.changed.Wait()
	}
}

func (e *memoryEnd) Write(p []byte) (int, error) {
	e.wire.mu.Lock()
	defer e.wire.mu.Unlock()
	switch {
	case e.closed:
		return 0, net.ErrClosed
	case e.broken:
		return 0, errWireBroken
	}
	e.peer.transit = append(e.peer.transit, p...)
	return len(p), nil
}

func (e *memoryEnd) Close() error {
	e.wire.mu.Lock()
	defer e.wire.mu.Unlock()
	e.closed = true
	e.changed.Broadcast()
	e.peer.changed.Broadcast()
	return nil
}

func (e *memoryEnd) SetReadDeadline(at time.Time) error {
	e.wire.mu.Lock()
	defer e.wire.mu.Unlock()
	e.deadline = at
	if !at.IsZero() {
		time.AfterFunc(time.Until(at), func() {
			e.wire.mu.Lock()
			defer e.wire.mu.Unlock()
			e.changed.Broadcast()
		})
	}
	e.changed.Broadcast()
	return nil
}

func (e *memoryEnd) SetDeadline(at time.Time) error      { return e.SetReadDeadline(at) }
func (e *memoryEnd) SetWriteDeadline(at time.Time) error { return nil }
func (e *memoryEnd) LocalAddr() net.Addr                 { return &net.UnixAddr{Name: "memory", Net: "unix"} }
func (e *memoryEnd) RemoteAddr() net.Addr                { return e.LocalAddr() }

// deliver lets so many bytes arrive at an end; it reports how many did.
func (w *memoryWire) deliver(to *memoryEnd, n int) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	n = min(n, len(to.transit))
	to.arrived = append(to.arrived, to.transit[:n]...)
	to.transit = to.transit[n:]
	to.changed.Broadcast()
	return n
}

// cut breaks both ends; what is on the way is gone.
func (w *memoryWire) cut() {
	w.cutFor(w.client)
	w.cutFor(w.gateway)
}

// cutFor breaks one end; the other has not noticed, and what is on the way to it may still arrive.
func (w *memoryWire) cutFor(e *memoryEnd) {
	w.mu.Lock()
	defer w.mu.Unlock()
	e.broken = true
	e.transit = nil
	e.changed.Broadcast()
}

// over reports whether both ends have been closed by those who held them.
func (w *memoryWire) over() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.client.closed && w.gateway.closed
}
