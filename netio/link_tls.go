package netio

import (
	"errors"
	"net"
	"time"

	"shoal/netio/internal/engine"
	"shoal/netio/internal/record"
	"shoal/netio/internal/session"
)

// tlsCarrier carries the bytes of a link inside TLS records over a connection of the engine.
type tlsCarrier struct {
	*engine.Conn
	records *record.Conn

	// Records that are not all written, the writer's. What is inside them counts as written when they all are: until then the
	// writer offers it again, and it is not sealed again.
	sealed *session.Buffer // nil: none
	gone   int             // bytes of sealed that are written
	inside int             // bytes of what is inside
	one    [1][]byte
}

// TryWrite seals and writes what goes without waiting.
func (c *tlsCarrier) TryWrite(pieces [][]byte) (int, error) {
	n, err := c.write(pieces, func(one [][]byte) (int64, error) {
		n, err := c.Conn.TryWrite(one)
		return int64(n), err
	})
	return int(n), err
}

// Write seals and writes everything.
func (c *tlsCarrier) Write(pieces [][]byte) (int64, error) { return c.write(pieces, c.Conn.Write) }

func (c *tlsCarrier) write(pieces [][]byte, write func([][]byte) (int64, error)) (total int64, err error) {
	for {
		if c.sealed == nil {
			if c.inside, c.sealed, err = c.records.Seal(pieces, int(total)); c.sealed == nil || err != nil {
				return total, err
			}
			c.gone = 0
		}
		c.one[0] = c.sealed.B[c.gone:]
		n, err := write(c.one[:])
		c.gone += int(n)
		if err != nil || c.gone < len(c.sealed.B) {
			return total, err
		}
		total += int64(c.inside)
		c.sealed.Free()
		c.sealed = nil
	}
}

// handshakeCarrier stands for a connection while its TLS handshake is under way: nothing can be written but by the handshake.
type handshakeCarrier struct{ conn net.Conn }

func (c handshakeCarrier) TryWrite([][]byte) (int, error) { return 0, errors.ErrUnsupported }
func (c handshakeCarrier) Write([][]byte) (int64, error)  { return 0, errors.ErrUnsupported }
func (c handshakeCarrier) SetWriteDeadline(time.Time)     {}
func (c handshakeCarrier) CloseWrite() error              { return errors.ErrUnsupported }
func (c handshakeCarrier) Close()                         { _ = c.conn.Close() }
