package netio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync/atomic"
	"time"

	"shoal/netio/internal/engine"
	"shoal/netio/internal/record"
	"shoal/proto"
)

// connection is one connection of a gateway, from the accept to its end. It is told what arrives by an event loop, or by a
// goroutine where the connection has no descriptor (pump). It never waits: it is in one of these states.
//
//   - greeting: neither said hello nor ended. Bounded in number (greetings), in time (HandshakeTimeout, swept) and in memory
//     (proto.HandshakeLimit).
//   - waiting: it has said hello, and GatewayConfig.Admit has not decided, or an earlier connection of its lane is not let go
//     of yet. It stays on the list of those that greet, and nothing may arrive before the welcome.
//   - attached: it carries the lane of a handler, which gets its frames.
//   - deaf: it was refused, replaced, or a goodbye is on its way. What arrives is dropped. Its peer's end, or lingerTime,
//     ends it.
type connection struct {
	link    link
	gateway *Gateway
	remote  string
	records *record.Conn            // nil: the connection is plain
	peer    Peer                    // what is known of the client
	since   int64                   // when it was accepted; guarded by gateway.mu
	hello   atomic.Bool             // it has said hello
	handler atomic.Pointer[handler] // whose lane it carries; nil: none yet
}

// greetings bounds the connections that have not said hello, beside those that have. When there are as many, the oldest of them
// makes room for the next.
const greetings = 1024

// take makes a connection of what was accepted, and has it read.
func (g *Gateway) take(conn net.Conn, inTLS bool) {
	c := &connection{gateway: g, remote: peerName(conn), since: monotonic()}
	c.peer.Addr = c.remote
	c.peer.askUID(conn)
	g.mu.Lock()
	var silent *connection
	if len(g.greeting) >= greetings {
		silent = g.longestSilent()
	}
	stopped, full := g.state == gatewayStopped, len(g.greeting) >= greetings && silent == nil
	if !stopped && !full {
		g.greeting[c] = struct{}{}
		g.running.Add(1) // until Closed
	}
	g.mu.Unlock()
	switch {
	case stopped:
		_ = conn.Close()
		return
	case full:
		full := g.goodbyeFull(fmt.Sprintf("as many connections as the gateway welcomes at once (%d)", greetings))
		c.logRefusal(full)
		turnAway(conn, full)
		return
	case silent != nil:
		silent.refuse(fmt.Errorf("no hello yet, and others want to say theirs: %w", errIdle))
	}
	if inTLS {
		go c.secure(conn)
		return
	}
	if g.engine == nil || !engine.Takes(conn) {
		go c.pump(conn)
		return
	}
	if err := g.engine.Add(conn, c); err != nil {
		c.Closed(err)
	}
}

// longestSilent returns the connection that has been greeting for longest without a hello; nil: there is none. It is taken off
// the list. The caller holds mu.
func (g *Gateway) longestSilent() (longest *connection) {
	for c := range g.greeting {
		if !c.hello.Load() && (longest == nil || c.since < longest.since) {
			longest = c
		}
	}
	if longest != nil {
		delete(g.greeting, longest)
	}
	return longest
}

// turnAway says goodbye on a connection that was never taken, and closes it when the peer has had time to read that. A new
// connection has room for the goodbye.
func turnAway(conn net.Conn, g *goodbyeError) {
	_ = conn.SetDeadline(time.Now().Add(lingerTime))
	time.AfterFunc(lingerTime, func() { _ = conn.Close() })
	_, _ = conn.Write(proto.AppendGoodbye(nil, g.frame()))
}

// peerName returns the address of a peer; that of a unix socket is the gateway's own where the peer's has no name.
func peerName(conn net.Conn) string {
	if name := conn.RemoteAddr().String(); name != "" && name != "@" {
		return name
	}
	return conn.LocalAddr().String()
}

// pump reads a connection without a descriptor on the calling goroutine.
func (c *connection) pump(conn net.Conn) {
	c.link.open(newConnCarrier(conn, &c.link))
	err := c.shakeHands(conn)
	if err == nil {
		err = c.link.readLoop(pumped{c})
	}
	c.link.close()
	c.Closed(err)
}

// pumped is the receiver of a pumped connection: it goes on reading after an error, as an event loop does.
type pumped struct{ c *connection }

func (p pumped) receive(k *link, src []byte) (consumed, need int, err error) {
	if consumed, need, err = p.c.receive(k, src); err != nil {
		p.c.fail(err)
		return len(src), 0, nil
	}
	return consumed, need, nil
}

// Opened is called when the connection can be written to.
func (c *connection) Opened(ec *engine.Conn) {
	if c.records != nil {
		c.link.open(&tlsCarrier{Conn: ec, records: c.records})
		return
	}
	c.link.open(ec)
}

// Received is called with what has arrived.
func (c *connection) Received(src []byte) {
	if c.records != nil {
		c.openRecords(src)
		return
	}
	if err := c.link.arrived(src, c); err != nil {
		c.fail(err)
	}
}

// Closed is called when the connection has ended.
func (c *connection) Closed(err error) {
	defer c.gateway.running.Done()
	if c.records != nil {
		c.records.Free()
	}
	c.link.readingEnded() // first: whoever attaches it to a handler looks for that after it has told which
	c.gateway.greeted(c)
	if h := c.handler.Load(); h != nil {
		c.gateway.lost(h, c, err)
	} else if !c.link.deaf.Swap(true) {
		c.logRefusal(err)
	}
}

// receive passes frames on to the handler; before there is one it waits for a hello.
func (c *connection) receive(k *link, src []byte) (consumed, need int, err error) {
	if h := c.handler.Load(); h != nil {
		return h.receive(k, src)
	}
	if c.hello.Load() {
		return 0, 0, fmt.Errorf("%w: bytes before the welcome", proto.ErrMalformed)
	}
	payload, size, need, err := parseHandshake(src, proto.KindHello)
	if err != nil || size == 0 {
		return 0, need, err
	}
	hello, err := proto.ParseHello(bytes.Clone(payload)) // it may wait for Admit, or for its lane
	if err != nil {
		return 0, 0, err
	}
	if len(src) > size {
		return 0, 0, fmt.Errorf("%w: bytes before the welcome", proto.ErrMalformed)
	}
	c.hello.Store(true)
	if c.gateway.config.Admit == nil && c.gateway.config.Authenticate == nil {
		return size, 0, c.gateway.admit(c, hello)
	}
	c.gateway.running.Go(func() { c.ask(hello) })
	return size, 0, nil
}

// ask lets the user's code decide about a hello, off the event loop.
func (c *connection) ask(hello proto.Hello) {
	ctx, cancel := context.WithTimeout(context.Background(), c.gateway.config.HandshakeTimeout)
	defer cancel()
	ended := c.link.whenEnded()
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	client := Client{RemoteAddr: c.remote, Resumes: hello.Resume, Credential: hello.Credential(), Peer: c.peer}
	var err error
	if c.gateway.config.Authenticate != nil {
		c.peer.Identity, err = c.gateway.config.Authenticate(ctx, client)
		client.Peer.Identity = c.peer.Identity
	}
	if err == nil && c.gateway.config.Admit != nil {
		err = c.gateway.config.Admit(ctx, client)
	}
	if err != nil {
		c.fail(c.gateway.refusalOf(err))
	} else if err := c.gateway.admit(c, hello); err != nil {
		c.fail(err)
	}
}

// refusalOf returns the goodbye for a client that GatewayConfig.Admit has refused.
func (g *Gateway) refusalOf(err error) *goodbyeError {
	bye := &goodbyeError{Code: proto.GoodbyeNotAllowed}
	switch {
	case errors.Is(err, ErrFull):
		bye = g.goodbyeFull("")
	case errors.Is(err, ErrDraining):
		bye = g.goodbyeStops()
	}
	bye.Text = err.Error()
	return bye
}

// fail ends a connection because of what has arrived.
func (c *connection) fail(err error) {
	if h := c.handler.Load(); h != nil {
		c.gateway.broken(h, c, err)
	} else {
		c.refuse(err)
	}
}

// refuse ends a connection that carries no lane. The peer is told why, unless it has said goodbye itself.
func (c *connection) refuse(err error) {
	if c.link.deaf.Swap(true) {
		return
	}
	c.gateway.greeted(c)
	c.logRefusal(err)
	if bye, ok := goodbyeFor(err); ok && !heardGoodbye(err) {
		c.link.sayLast(proto.AppendGoodbye(nil, bye))
		return
	}
	c.link.close()
}

// logRefusal logs why a connection ended before it was welcome.
func (c *connection) logRefusal(err error) {
	ok, before := c.gateway.refusals.allow(monotonic())
	if !ok {
		return
	}
	level := slog.LevelInfo
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) { // it has only looked whether somebody listens
		level = slog.LevelDebug
	}
	c.gateway.log.Log(context.Background(), level, "connection refused", "remote", c.remote, "error", err, "not_logged", before)
}

// greeted takes a connection off the list of those that greet.
func (g *Gateway) greeted(c *connection) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.greeting, c)
}
