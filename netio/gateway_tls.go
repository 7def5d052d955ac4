package netio

import (
	"context"
	"crypto/tls"
	"errors"
	"net"

	"shoal/netio/internal/record"
	"shoal/proto"
)

// tlsListener listens on a tls:// address.
type tlsListener struct{ net.Listener }

// secure shakes hands with a new connection on the calling goroutine, then has an event loop read it. It ends with the handshake's
// time, with the connection, and when others want its place among those that greet.
func (c *connection) secure(conn net.Conn) {
	c.link.open(handshakeCarrier{conn})
	ctx, cancel := context.WithTimeout(context.Background(), c.gateway.config.HandshakeTimeout)
	defer cancel()
	records, err := record.Accept(ctx, conn, c.gateway.config.TLS)
	if err != nil {
		if plain := (tls.RecordHeaderError{}); errors.As(err, &plain) && plain.Conn != nil {
			turnAway(conn, errWantsTLS)
		} else {
			_ = conn.Close()
		}
		c.Closed(err)
		return
	}
	c.records = records
	state := records.State()
	c.peer.TLS = &state
	if err := c.gateway.engine.Add(conn, c); err != nil {
		c.Closed(err)
	}
}

// errWantsTLS refuses a connection whose first bytes are no TLS.
var errWantsTLS = &goodbyeError{Code: proto.GoodbyeNotAllowed, Text: "this address speaks TLS 1.3 alone: write tls:// in place of tcp://"}

// openRecords passes on what is inside the records that have arrived.
func (c *connection) openRecords(src []byte) {
	if c.link.deaf.Load() {
		return
	}
	if err := c.records.Open(src, func(plain []byte) error { return c.link.arrived(plain, c) }); err != nil {
		c.fail(err)
	}
}

// shakeHands does so with a connection of a tls.Listener of the user's.
func (c *connection) shakeHands(conn net.Conn) error {
	secured, ok := conn.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), c.gateway.config.HandshakeTimeout)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return err
	}
	state := secured.ConnectionState()
	c.peer.TLS = &state
	return nil
}
