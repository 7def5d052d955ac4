package record

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"time"

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
	buf  *session.Buffer
	next int
}

func (s *source) fill() ([]byte, error) {
	if s.buf == nil {
		s.buf, s.next = session.NewBuffer(Burst), 0
		n, err := s.conn.Read(s.buf.B[:cap(s.buf.B)])
		s.buf.B = s.buf.B[:n]
		if n == 0 {
			s.free()
			return nil, err
		}
	}
	return s.buf.B[s.next:], nil
}

func (s *source) used(n int) {
	if s.next += n; s.next == len(s.buf.B) {
		s.free()
	}
}

func (s *source) free() {
	s.buf.Free()
	s.buf = nil
}

// Dial shakes hands as the client. The connection stays the caller's after an error, and is the Client's otherwise.
func Dial(ctx context.Context, conn net.Conn, config *tls.Config) (*Client, error) {
	w := &wire{conn: conn}
	c := &Client{Conn: conn, wire: w, tls: tls.Client(w, Settle(config)), read: &source{conn: conn}}
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
		n, err := c.tls.Read(p)
		if n > 0 || !errors.Is(err, errWouldBlock) {
			return n, err
		}
		src, err := c.read.fill()
		if err != nil {
			return 0, err
		}
		c.wire.in = src
		n, err = c.tls.Read(p)
		c.read.used(len(src) - len(c.wire.in))
		c.wire.in = nil
		if n > 0 || !errors.Is(err, errWouldBlock) {
			return n, err
		}
	}
}

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

var _ net.Conn = (*Client)(nil)

// Close ends the connection.
func (c *Client) Close() error { return c.Conn.Close() }

// SetDeadline bounds reads and writes.
func (c *Client) SetDeadline(t time.Time) error { return c.Conn.SetDeadline(t) }
