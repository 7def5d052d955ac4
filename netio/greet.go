package netio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"shoal/proto"
)

// attachment is the connection that serves a handler.
type attachment struct {
	mu    sync.Mutex // held while a connection is exchanged; taken before every other lock
	ended bool       // the handler is closed for good
}

// greetings bounds the connections that have not said hello, beside those that have.
const greetings = 1024

// greet does the handshake of one connection, on a goroutine of its own, and leaves it to a reader.
func (g *Gateway) greet(conn net.Conn) {
	defer g.running.Done()
	k := newLink(conn)
	g.mu.Lock()
	full := len(g.greeting) >= greetings
	stopped := g.state == gatewayStopped
	if !full && !stopped {
		g.greeting[k] = struct{}{}
	}
	g.mu.Unlock()
	if full || stopped {
		k.close()
		return
	}
	defer g.greeted(k)

	_ = conn.SetDeadline(time.Now().Add(g.config.HandshakeTimeout))
	hello, err := readHello(conn)
	heard := isGoodbye(err)
	if err == nil {
		err = g.admit(k, hello)
	}
	if err == nil {
		return
	}
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errTimedOut(err)) {
		err = fmt.Errorf("no hello within %v: %w", g.config.HandshakeTimeout, ErrIdle)
	}
	level := slog.LevelInfo
	if errors.Is(err, io.EOF) { // it has only looked whether somebody listens
		level = slog.LevelDebug
	}
	g.log.Log(context.Background(), level, "connection refused", "remote", conn.RemoteAddr().String(), "error", err)
	if bye, ok := goodbyeFor(err); ok && !heard {
		_ = conn.SetDeadline(time.Now().Add(lingerTime))
		_, _ = conn.Write(proto.AppendGoodbye(nil, bye))
		k.linger()
	}
	k.close()
}

// greeted takes a connection off the list of those that the gateway's end just closes.
func (g *Gateway) greeted(k *link) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.greeting, k)
}

// errTimedOut returns err if it is a network time-out, and otherwise an error that matches nothing.
func errTimedOut(err error) error {
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		return err
	}
	return errors.New("")
}

// readHello reads the first frame, no byte more: a client sends nothing until it is welcome.
func readHello(conn net.Conn) (proto.Hello, error) {
	payload, err := readHandshake(conn, proto.KindHello)
	if err != nil {
		return proto.Hello{}, err
	}
	return proto.ParseHello(payload)
}

// readHandshake reads one frame of the handshake. What does not start like one is found out by its first bytes.
func readHandshake(conn net.Conn, want proto.Kind) ([]byte, error) {
	const head = proto.HeaderSize + len(proto.Magic)
	buf := make([]byte, 0, 256)
	for {
		need := head
		if len(buf) >= proto.HeaderSize {
			size, err := proto.FrameSize(buf, proto.HandshakeLimit)
			kind := proto.Kind(buf[4])
			if err != nil || (kind != want && kind != proto.KindGoodbye) {
				return nil, fmt.Errorf("%w: it starts with %q", proto.ErrNotShoal, buf[:min(len(buf), 16)])
			}
			if len(buf) >= size {
				payload := buf[proto.HeaderSize:size]
				if kind == proto.KindGoodbye {
					bye, err := proto.ParseGoodbye(payload)
					if err != nil {
						return nil, err
					}
					return nil, &GoodbyeError{Code: bye.Code, Text: bye.Text}
				}
				return payload, nil
			}
			need = size
			if len(buf) >= head && string(buf[proto.HeaderSize:head]) != proto.Magic && kind == want {
				return nil, fmt.Errorf("%w: no magic", proto.ErrNotShoal)
			}
			if len(buf) < head && kind == want {
				need = min(size, head)
			}
		} else {
			need = proto.HeaderSize
		}
		if cap(buf) < need {
			buf = append(make([]byte, 0, need), buf...)
		}
		n, err := conn.Read(buf[len(buf):need])
		buf = buf[:len(buf)+n]
		if err != nil && n == 0 {
			return nil, err
		}
	}
}

// admit finds or makes the handler that a hello is for, and gives it the connection.
func (g *Gateway) admit(k *link, hello proto.Hello) error {
	if hello.MinVersion > proto.Version || hello.MaxVersion < proto.Version {
		return &GoodbyeError{Code: proto.GoodbyeVersion, Text: fmt.Sprintf("this gateway speaks version %d", proto.Version)}
	}
	for _, e := range hello.Extensions {
		if e.Critical() {
			return &GoodbyeError{Code: proto.GoodbyeNotAllowed, Text: fmt.Sprintf("extension %#x is not known here", e.Type)}
		}
	}
	for {
		h, err := g.handlerFor(hello)
		if err != nil {
			return err
		}
		done, err := g.connect(h, k, hello)
		if done || err != nil {
			return err
		}
	}
}

// handlerFor returns the handler of the hello's lane, a new one if there is none to resume.
func (g *Gateway) handlerFor(hello proto.Hello) (*handler, error) {
	key := sessionKey{hello.Session, hello.Lane}
	resumable := hello.Session != proto.ID{}
	g.mu.Lock()
	for old := g.sessions[key]; old != nil; old = g.sessions[key] {
		if hello.Clock < old.helloClock {
			g.mu.Unlock()
			return nil, errStale
		}
		if hello.Resume && old.begunBy(hello) {
			old.helloClock = hello.Clock
			g.mu.Unlock()
			return old, nil
		}
		// Its welcome never arrived, or the client has begun again. While it ends a later hello may come first.
		g.mu.Unlock()
		g.endHandler(old, &GoodbyeError{Code: proto.GoodbyeSuperseded, Text: "the client began this lane anew"})
		g.mu.Lock()
	}
	defer g.mu.Unlock()
	switch {
	case g.state != gatewayServing:
		return nil, &GoodbyeError{Code: proto.GoodbyeDraining, Text: "gateway is about to stop"}
	case len(g.handlers) >= g.config.MaxHandlers:
		return nil, &GoodbyeError{Code: proto.GoodbyeFull,
			Text: fmt.Sprintf("%v (%d)", errHandlersFull, g.config.MaxHandlers)}
	}
	h := &handler{gateway: g, session: key, resumable: resumable, begun: hello.Clock, helloClock: hello.Clock}
	h.lane.init(h, g.config.FrameLimit, g.config.SendBuffer)
	h.out.forgetful = !resumable
	h.turn = g.nextTurn
	g.nextTurn++
	h.timers = &g.timers[h.turn%len(g.timers)]
	h.queue = g.pool.NewQueue(2 * g.config.Window) // cancelled tasks stay in it until their turn, and their ids are used again
	h.queue.AfterTurn(h.flushTurn)
	g.handlers[h] = struct{}{}
	if resumable {
		g.sessions[key] = h
	}
	return h, nil
}

// errStale refuses a hello that was overtaken by a later one of its lane.
var errStale = &GoodbyeError{Code: proto.GoodbyeSuperseded, Text: "a later hello of this lane came first"}

// begunBy reports whether the client that says hello means this lane, and not one that it knew before.
func (h *handler) begunBy(hello proto.Hello) bool {
	begun, named := hello.Begun()
	return !named || begun == h.begun
}

// connect welcomes the client and gives the handler its connection. False without an error means that the handler
// ended meanwhile.
func (g *Gateway) connect(h *handler, k *link, hello proto.Hello) (bool, error) {
	h.serving.mu.Lock()
	defer h.serving.mu.Unlock()
	if h.serving.ended {
		return false, nil
	}
	g.mu.Lock()
	stale := hello.Clock < h.helloClock
	g.mu.Unlock()
	if stale {
		return true, errStale
	}
	g.greeted(k) // from here on its end is that of the handler, which says goodbye: the client may be about to send tasks
	h.detach()
	resumed := hello.Resume && h.remote.Load() != nil
	welcome := proto.Welcome{
		Version: proto.Version, Resumed: resumed, Draining: g.draining.Load(),
		Features: hello.Features & (proto.FeatureS2 | proto.FeatureZstd), FrameLimit: uint32(g.config.FrameLimit),
		StreamCredit: uint32(g.config.StreamCredit), Window: uint32(g.config.Window), Streams: uint32(g.config.Streams),
		WindowBytes: uint64(g.config.WindowBytes), IdleTimeout: uint32(g.config.IdleTimeout.Milliseconds()),
		Life: g.life, Received: h.received.Load(),
	}
	received := hello.Received
	if !resumed {
		received = 0
	}
	remote := k.conn.RemoteAddr().String()
	if remote == "" || remote == "@" {
		remote = k.conn.LocalAddr().String()
	}
	h.remote.Store(&remote)
	h.clock = monotonic()/int64(time.Millisecond) - int64(hello.Clock)
	h.mu.Lock()
	if !h.out.canRewind(received) {
		h.mu.Unlock()
		err := fmt.Errorf("%w: received count %d of the hello", proto.ErrMalformed, received)
		g.afterLink(h, err)
		return true, err
	}
	h.out.limit = int(min(hello.FrameLimit, maxFrameLimit))
	h.chunkCredit = int(hello.StreamCredit)
	h.out.compress = proto.CompressNone
	if c := g.config.Compress.wire(); c.Feature()&welcome.Features != 0 {
		h.out.compress = c
	}
	h.mu.Unlock()
	_, err := k.conn.Write(proto.AppendWelcome(nil, welcome))
	if err == nil {
		err = k.conn.SetDeadline(time.Time{})
	}
	if err == nil && !h.attach(k, received) {
		err = fmt.Errorf("handler has ended: %w", ErrClosed)
	}
	if err != nil {
		k.close()
		g.afterLink(h, err)
		return true, err
	}
	if !welcome.Draining && g.draining.Load() { // it began meanwhile, and may have passed this lane over
		h.control(func(dst []byte) []byte { return proto.AppendDrain(dst, 1<<32-1) })
	}
	g.log.Debug("connection attached", "remote", h.peer(), "resumed", resumed, "lane", hello.Lane)
	g.read(h, k)
	return true, nil
}
