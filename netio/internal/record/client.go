package record

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"syscall"

	"shoal/netio/internal/session"
)

// Client is the dialling side of a TLS connection, as a net.Conn: one goroutine at a time may read it, one at a time may write.
type Client struct {
	net.Conn // of the wire: its addresses, deadlines and end are this one's
	tls      *tls.Conn
	wire     *wire
	read     *source
}

// source is what a Client reads: many records at once, out of a buffer that it keeps only while there is something in it.
type source struct {
	conn net.Conn
	raw  syscall.RawConn // nil: the connection has no descriptor, and a read that waits keeps its buffer
	buf  *session.Buffer // what has arrived and is not handed to crypto/tls; nil: nothing
	err  error           // of the last read
}

// wait returns when something is there.
func (s *source) wait() error {
	if s.buf != nil {
		return nil
	}
	if s.raw == nil {
		s.take(s.conn.Read)
		return s.err
	}
	err := s.raw.Read(func(fd uintptr) bool {
		s.take(func(p []byte) (int, error) { return syscall.Read(int(fd), p) })
		return !errors.Is(s.err, syscall.EAGAIN) && !errors.Is(s.err, syscall.EINTR)
	})
	if err == nil {
		err = s.err
	}
	return err
}

// take reads once.
func (s *source) take(read func([]byte) (int, error)) {
	buf := session.NewBuffer(Burst)
	n, err := read(buf.B[:cap(buf.B)])
	if n > 0 {
		buf.B = buf.B[:n]
		s.buf, s.err = buf, nil
		return
	}
	buf.Free()
	if s.err = err; err == nil {
		s.err = io.EOF
	}
}

// Dial shakes hands as the client. The connection stays the caller's after an error, and is the Client's otherwise.
func Dial(ctx context.Context, conn net.Conn, config *tls.Config) (*Client, error) {
	w := &wire{conn: conn}
	c := &Client{Conn: conn, wire: w, tls: tls.Client(w, Settle(config)), read: &source{conn: conn}}
	if sc, ok := conn.(syscall.Conn); ok {
		if raw, err := sc.SyscallConn(); err == nil {
			c.read.raw = raw
		}
	}
	if err := c.tls.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	w.conn = nil
	return c, nil
}

// State returns what the handshake has agreed on.
func (c *Client) State() tls.ConnectionState { return c.tls.ConnectionState() }

// Read waits for what is inside the next record.
func (c *Client) Read(p []byte) (int, error) {
	for {
		if n, err := c.TryRead(p); n > 0 || !errors.Is(err, errWouldBlock) {
			return n, err
		}
		if err := c.Wait(); err != nil {
			return 0, err
		}
	}
}

// TryRead is Read without waiting: ErrNothing where nothing is there.
func (c *Client) TryRead(p []byte) (int, error) {
	n, err := c.tls.Read(p)
	if n > 0 || !errors.Is(err, errWouldBlock) || c.read.buf == nil {
		return n, err
	}
	src := c.read.buf
	c.wire.in = src.B
	n, err = c.tls.Read(p)
	if left := copy(src.B, c.wire.in); left > 0 {
		src.B = src.B[:left]
	} else {
		src.Free()
		c.read.buf = nil
	}
	c.wire.in = nil
	return n, err
}

// ErrNothing is the error of TryRead where nothing is there.
var ErrNothing error = errWouldBlock

// Wait returns when something has arrived since TryRead has found nothing. It keeps no buffer meanwhile, where the connection has
// a descriptor.
func (c *Client) Wait() error { return c.read.wait() }

// Write seals and sends p.
func (c *Client) Write(p []byte) (int, error) {
	n, err := c.WritePieces([][]byte{p})
	return int(n), err
}

// WritePieces seals and sends all pieces, a Burst with each write. It returns how many of their bytes are sent.
func (c *Client) WritePieces(pieces [][]byte) (total int64, err error) {
	for {
		n, sealed, err := seal(c.tls, c.wire, pieces, int(total))
		if err != nil || sealed == nil {
			return total, err
		}
		_, err = c.Conn.Write(sealed.B)
		sealed.Free()
		if err != nil {
			return total, err
		}
		if n == 0 {
			return total, nil
		}
		total += int64(n)
	}
}

// CloseWrite tells the peer that nothing more comes.
func (c *Client) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return errors.ErrUnsupported
}
