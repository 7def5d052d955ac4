package record

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"shoal/netio/internal/session"
)

const (
	headerSize = 5
	// longest is the payload of the longest record: 16 KiB, the type, and what TLS 1.3 lets a cipher add.
	longest = 16<<10 + 256
	// Burst is how many bytes Seal takes at most.
	Burst = 64 << 10
	// sealing is what records add to a Burst.
	sealing = 1 << 10
)

// Conn is the accepting side of a TLS connection after its handshake. One goroutine at a time may call Open, and one at a time
// Seal; both may do so at once.
type Conn struct {
	tls  *tls.Conn
	wire *wire
	part *session.Buffer // a record of which the rest has not come; nil: none
	need int             // bytes that part has to hold to be judged further
}

// Accept shakes hands as the server, and returns when that is done. It fails with ctx's end, and with crypto/tls's errors. The
// connection stays the caller's; after an error it is of no use.
func Accept(ctx context.Context, conn net.Conn, config *tls.Config) (*Conn, error) {
	w := &wire{conn: conn}
	c := &Conn{wire: w, tls: tls.Server(w, Settle(config))}
	if err := c.tls.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	w.conn = nil
	return c, nil
}

// Settle returns the configuration as shoal uses it: TLS 1.3, no tickets, records as large as may be.
func Settle(config *tls.Config) *tls.Config {
	config = config.Clone()
	config.MinVersion, config.MaxVersion = tls.VersionTLS13, tls.VersionTLS13
	config.SessionTicketsDisabled = true // a ticket would outlive the identity that it was given to
	config.DynamicRecordSizingDisabled = true
	return config
}

// State returns what the handshake has agreed on.
func (c *Conn) State() tls.ConnectionState { return c.tls.ConnectionState() }

// Open takes what has arrived and calls deliver with what is inside, once for each Burst; where nothing has arrived, which is
// somebody's turn, with nothing. The bytes are deliver's own only during the call. An error is deliver's or crypto/tls's; io.EOF: the peer has
// said that nothing more comes.
func (c *Conn) Open(src []byte, deliver func(plain []byte) error) error {
	if len(src) == 0 {
		return deliver(nil)
	}
	if c.part != nil {
		c.keep(src)
		if len(c.part.B) < c.need {
			return nil
		}
		part := c.part
		c.part = nil
		defer part.Free()
		src = part.B
	}
	whole, need := records(src)
	if whole == 0 {
		c.need = need
		c.keep(src)
		return nil
	}
	c.wire.in = src[:whole]
	err := c.read(deliver)
	c.wire.in = nil
	if rest := src[whole:]; err == nil && len(rest) > 0 {
		c.need = need
		c.keep(rest)
	}
	return err
}

// read delivers what is inside the records that are there.
func (c *Conn) read(deliver func([]byte) error) error {
	buf := session.NewBuffer(Burst)
	defer buf.Free()
	for {
		n, err := c.tls.Read(buf.B[len(buf.B):cap(buf.B)])
		buf.B = buf.B[:len(buf.B)+n]
		if err == nil && buf.Room() > 0 {
			continue
		}
		if failed := deliver(buf.B); failed != nil {
			return failed
		}
		switch {
		case errors.Is(err, errWouldBlock):
			return nil
		case err != nil:
			return err
		}
		buf.B = buf.B[:0]
	}
}

// records returns how many bytes of src are whole records, and how many the one that follows needs to be judged further. One that
// is too long counts as whole, for crypto/tls to refuse.
func records(src []byte) (whole, need int) {
	for {
		rest := src[whole:]
		if len(rest) < headerSize {
			return whole, headerSize
		}
		size := int(rest[3])<<8 | int(rest[4])
		if size > longest {
			return len(src), 0
		}
		if len(rest) < headerSize+size {
			return whole, headerSize + size
		}
		whole += headerSize + size
	}
}

// keep appends to the record of which the rest has not come.
func (c *Conn) keep(src []byte) {
	if c.part != nil && c.part.Room() >= len(src) {
		c.part.B = append(c.part.B, src...)
		return
	}
	have := len(src)
	if c.part != nil {
		have += len(c.part.B)
	}
	grown := session.NewBuffer(max(have, min(c.need, 2*have)))
	if c.part != nil {
		grown.B = append(grown.B, c.part.B...)
		c.part.Free()
	}
	grown.B = append(grown.B, src...)
	c.part = grown
}

// Free gives back what is kept of a record. Open must not be called any more.
func (c *Conn) Free() {
	if c.part != nil {
		c.part.Free()
		c.part = nil
	}
}

// Seal seals the first bytes of the pieces, without the skip first ones: a Burst at most. It returns how many these are, and the
// records, which are the caller's to free.
func (c *Conn) Seal(pieces [][]byte, skip int) (n int, sealed *session.Buffer, err error) {
	return seal(c.tls, c.wire, pieces, skip)
}

func seal(t *tls.Conn, w *wire, pieces [][]byte, skip int) (n int, sealed *session.Buffer, err error) {
	plain := session.NewBuffer(Burst)
	defer plain.Free()
	for _, p := range pieces {
		if skip >= len(p) {
			skip -= len(p)
			continue
		}
		p = p[skip:]
		skip = 0
		p = p[:min(len(p), Burst-len(plain.B))]
		if len(p) == 0 {
			break
		}
		plain.B = append(plain.B, p...)
	}
	if len(plain.B) > 0 {
		if _, err := t.Write(plain.B); err != nil {
			return 0, nil, err
		}
	}
	return len(plain.B), w.take(), nil
}
