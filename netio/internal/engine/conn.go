package engine

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/panjf2000/gnet/v2"
	"golang.org/x/sys/unix"
)

// Conn is one connection of an engine, as its writers see it. Its methods are safe for concurrent use, but only one
// goroutine at a time may write.
type Conn struct {
	handler Handler
	conn    gnet.Conn // set before the loop reads it
	loop    ownerCheck
	opened  atomic.Bool // the loop has taken it

	mu      sync.Mutex // guards what follows, and the descriptor against being closed
	open    bool
	fd      int
	waiting *os.File  // the descriptor with which a write waits for the socket; nil: none does
	writeBy time.Time // deadline of writes; zero: none
}

// AskTurn has the loop call Handler.Received again, with what has arrived until then, which may be nothing. Others get their
// turn before.
func (c *Conn) AskTurn() { _ = c.conn.Wake(nil) }

// Close ends the connection in both directions. The loop finds the end, reads what is there, and calls Handler.Closed.
func (c *Conn) Close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open {
		_ = unix.Shutdown(c.fd, unix.SHUT_RDWR)
	}
}

// CloseWrite tells the peer that nothing more comes. It returns net.ErrClosed after the connection's end.
func (c *Conn) CloseWrite() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return net.ErrClosed
	}
	return os.NewSyscallError("shutdown", unix.Shutdown(c.fd, unix.SHUT_WR))
}

// SetWriteDeadline bounds how long Write waits, also one that is under way.
func (c *Conn) SetWriteDeadline(at time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writeBy = at
	if c.waiting != nil {
		_ = c.waiting.SetWriteDeadline(at)
	}
}

// release is called by the loop when the descriptor is about to be closed. A write that waits returns.
func (c *Conn) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = false
	if c.waiting != nil {
		_ = c.waiting.Close()
		c.waiting = nil
	}
}

// TryWrite writes what the socket takes at once and returns how many bytes that were; 0 without an error means that it takes
// nothing now. The pieces are not changed.
func (c *Conn) TryWrite(pieces [][]byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open {
		return 0, net.ErrClosed
	}
	return writeNow(c.fd, pieces)
}

// Write writes all pieces and waits for the socket where it must. It returns how many bytes were written. The slice of
// pieces is used up; their bytes are not changed.
func (c *Conn) Write(pieces [][]byte) (total int64, err error) {
	n, err := c.TryWrite(pieces)
	total = int64(n)
	if pieces = skip(pieces, n); err != nil || len(pieces) == 0 {
		return total, err
	}
	f, err := c.startWaiting()
	if err != nil {
		return total, err
	}
	defer c.stopWaiting(f)
	raw, err := f.SyscallConn()
	for err == nil && len(pieces) > 0 {
		var failed error
		err = raw.Write(func(fd uintptr) bool {
			n, failed = writeNow(int(fd), pieces)
			return n > 0 || failed != nil
		})
		if err == nil {
			err = failed
			total += int64(n)
			pieces = skip(pieces, n)
		}
	}
	return total, err
}

// noDescriptorPause is how long a write waits that has run out of descriptors to wait with.
const noDescriptorPause = 5 * time.Millisecond

// startWaiting opens the descriptor with which a write waits. Without one to be had, it waits for that.
func (c *Conn) startWaiting() (*os.File, error) {
	for {
		f, err := c.tryWaiting()
		if !errors.Is(err, syscall.EMFILE) && !errors.Is(err, syscall.ENFILE) {
			return f, err
		}
		time.Sleep(noDescriptorPause)
	}
}

func (c *Conn) tryWaiting() (*os.File, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.open:
		return nil, net.ErrClosed
	case !c.writeBy.IsZero() && !time.Now().Before(c.writeBy):
		return nil, os.ErrDeadlineExceeded
	}
	fd, err := unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	c.waiting = os.NewFile(uintptr(fd), "socket")
	_ = c.waiting.SetWriteDeadline(c.writeBy)
	return c.waiting, nil
}

func (c *Conn) stopWaiting(f *os.File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.waiting == f {
		c.waiting = nil
		_ = f.Close()
	}
}

// maxPieces is how many pieces the system takes in one write.
const maxPieces = 1024

// writeNow is one write that does not wait; 0 without an error means that the socket takes nothing.
func writeNow(fd int, pieces [][]byte) (n int, err error) {
	releaseWire()
	for {
		if len(pieces) == 1 {
			n, err = syscall.Write(fd, pieces[0])
		} else {
			n, err = unix.Writev(fd, pieces[:min(len(pieces), maxPieces)])
		}
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			return 0, nil
		}
		return max(0, n), err
	}
}

// skip returns the pieces without their first n bytes.
func skip(pieces [][]byte, n int) [][]byte {
	for len(pieces) > 0 && n >= len(pieces[0]) {
		n -= len(pieces[0])
		pieces = pieces[1:]
	}
	if n > 0 {
		pieces[0] = pieces[0][n:]
	}
	return pieces
}
