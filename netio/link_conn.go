package netio

import (
	"errors"
	"io"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"shoal/netio/internal/record"
	"shoal/netio/internal/session"
	"shoal/proto"
)

// connCarrier carries the bytes of a link over a net.Conn, which a goroutine reads.
type connCarrier struct {
	conn net.Conn
	raw  syscall.RawConn // nil where the connection has no descriptor: an in-memory pair, TLS

	readErr error
	read    func(fd uintptr) bool // readNow, kept so that it is allocated once

	trying [][]byte // what TryWrite is at, and how it went
	tried  int
	tryErr error
	try    func(fd uintptr) bool // writeNow, kept so that it is allocated once

	link *link
}

// newConnLink returns a link over a net.Conn. Its owner calls readLoop.
func newConnLink(conn net.Conn) *link {
	k := &link{}
	k.open(newConnCarrier(conn, k))
	return k
}

func newConnCarrier(conn net.Conn, k *link) *connCarrier {
	c := &connCarrier{conn: conn, link: k}
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw, c.read, c.try = raw, c.readNow, c.writeNow
		}
	}
	return c
}

func (c *connCarrier) Close() { _ = c.conn.Close() }

func (c *connCarrier) SetWriteDeadline(at time.Time) { _ = c.conn.SetWriteDeadline(at) }

func (c *connCarrier) CloseWrite() error {
	if half, ok := c.conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}

func (c *connCarrier) Write(pieces [][]byte) (int64, error) {
	if len(pieces) == 1 {
		n, err := c.conn.Write(pieces[0])
		return int64(n), err
	}
	if sealed, ok := c.conn.(*record.Client); ok {
		return sealed.WritePieces(pieces)
	}
	all := net.Buffers(pieces)
	return all.WriteTo(c.conn)
}

// maxPieces is what the system takes in one write.
const maxPieces = 1024

// TryWrite writes nothing where only Write can tell whether it would wait.
func (c *connCarrier) TryWrite(pieces [][]byte) (int, error) {
	if c.raw == nil {
		return 0, nil
	}
	c.trying, c.tried, c.tryErr = pieces[:min(len(pieces), maxPieces)], 0, nil
	err := c.raw.Write(c.try)
	c.trying = nil
	if err == nil {
		err = c.tryErr
	}
	return c.tried, err
}

// writeNow is what TryWrite does with the descriptor.
func (c *connCarrier) writeNow(fd uintptr) bool {
	for {
		var n int
		var err error
		if len(c.trying) == 1 {
			n, err = syscall.Write(int(fd), c.trying[0])
		} else {
			n, err = unix.Writev(int(fd), c.trying)
		}
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			n, err = 0, nil
		}
		c.tried, c.tryErr = max(0, n), err
		return true
	}
}

// lastWordsTime bounds how long a connection is read from that takes no more.
const lastWordsTime = 5 * time.Second

// closeAfterReading ends a connection that takes no more. What the peer has said before it went is still to be read: a
// draining gateway's goodbye decides what is sent to the next one. An event loop has read what there is already.
func (k *link) closeAfterReading() {
	k.mu.Lock()
	c, reads := k.carrier.(*connCarrier)
	k.mu.Unlock()
	if !reads || c.conn.SetReadDeadline(time.Now().Add(lastWordsTime)) != nil {
		k.close()
	}
}

// readLoop reads until the connection ends or r returns an error, and returns why. The link is one over a net.Conn.
func (k *link) readLoop(r receiver) error {
	defer k.readingEnded()
	c := k.carrier.(*connCarrier)
	for {
		if err := c.fill(); err != nil {
			return err
		}
		consumed, need, err := len(k.in.B), 0, error(nil)
		if !k.deaf.Load() {
			consumed, need, err = r.receive(k, k.in.B)
		}
		if err != nil {
			return err
		}
		c.consume(consumed, need)
	}
}

// fill waits for bytes and appends them to what is kept.
func (c *connCarrier) fill() error {
	if c.raw != nil {
		if err := c.raw.Read(c.read); err != nil {
			return err
		}
		return c.readErr
	}
	if sealed, ok := c.conn.(*record.Client); ok {
		return c.fillSealed(sealed)
	}
	in := c.buffer()
	n, err := c.conn.Read(in.B[len(in.B):cap(in.B)])
	in.B = in.B[:len(in.B)+n]
	if n > 0 {
		return nil
	}
	return err
}

// fillSealed is fill where the bytes come inside TLS. It waits without a buffer.
func (c *connCarrier) fillSealed(sealed *record.Client) error {
	for {
		in := c.buffer()
		n, err := sealed.TryRead(in.B[len(in.B):cap(in.B)])
		in.B = in.B[:len(in.B)+n]
		if n > 0 {
			return nil
		}
		if !errors.Is(err, record.ErrNothing) {
			return err
		}
		if len(in.B) == 0 {
			c.link.free()
		}
		if err := sealed.Wait(); err != nil {
			return err
		}
	}
}

// buffer returns the buffer to read into.
func (c *connCarrier) buffer() *session.Buffer {
	if c.link.in == nil {
		c.link.in = session.NewBuffer(session.LargeBuffer)
	}
	return c.link.in
}

// readNow reads what is there; false means that nothing is, and that the caller waits until something is, without a buffer.
func (c *connCarrier) readNow(fd uintptr) bool {
	in := c.buffer()
	for {
		n, err := syscall.Read(int(fd), in.B[len(in.B):cap(in.B)])
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
			if len(in.B) == 0 {
				c.link.free()
			}
			return false
		case err != nil:
			c.readErr = err
		case n == 0:
			c.readErr = io.EOF
		default:
			in.B = in.B[:len(in.B)+n]
			c.readErr = nil
		}
		return true
	}
}

// consume drops what has been consumed and makes room for what follows: never more than twice what has arrived.
func (c *connCarrier) consume(consumed, need int) {
	in := c.link.in
	rest := in.B[consumed:]
	if len(rest) == 0 {
		if c.raw == nil || cap(in.B) != session.LargeBuffer {
			c.link.free()
			return
		}
		in.B = in.B[:0]
		return
	}
	size := min(max(need, proto.HeaderSize), max(2*len(rest), session.LargeBuffer))
	if size <= cap(in.B) {
		in.B = in.B[:copy(in.B[:cap(in.B)], rest)]
		return
	}
	grown := session.NewBuffer(size)
	grown.B = append(grown.B, rest...)
	in.Free()
	c.link.in = grown
}

// linger tells the peer that nothing more comes and drops what it still sends for a moment. The caller is the reader of the
// link, which is one over a net.Conn, or the reader has ended.
func (k *link) linger() {
	c := k.carrier.(*connCarrier)
	if c.CloseWrite() != nil {
		return
	}
	_ = c.conn.SetReadDeadline(time.Now().Add(lingerTime))
	_, _ = io.CopyN(io.Discard, c.conn, 1<<20)
}
