package netio

import (
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"time"

	"shoal/proto"
)

// How a handler comes by its connection, and what becomes of it without one. Nothing here waits. The lane lets go of a
// connection at once, or its flusher does so and calls handler.detached; what is to follow then stands in the handler's
// exchange.

// exchange is what a handler's connections are exchanged by.
type exchange struct {
	mu     sync.Mutex // guards what follows; taken before every other lock
	ended  bool       // the handler is closed for good
	ending error      // the handler is to end, for this reason, once its connection is let go of; nil: it is not
	cause  error      // why the connection that is let go of has ended; nil: another one takes over
	next   *resumption
}

// resumption is a connection that waits for the lane of its hello.
type resumption struct {
	c     *connection
	hello proto.Hello
}

// admit finds or makes the handler that a hello is for, and gives it the connection.
func (g *Gateway) admit(c *connection, hello proto.Hello) error {
	if hello.MinVersion > proto.Version || hello.MaxVersion < proto.Version {
		return &goodbyeError{Code: proto.GoodbyeVersion, Text: fmt.Sprintf("this gateway speaks version %d", proto.Version)}
	}
	for _, e := range hello.Extensions {
		if e.Critical() {
			return &goodbyeError{Code: proto.GoodbyeNotAllowed, Text: fmt.Sprintf("extension %#x is not known here", e.Type)}
		}
	}
	for {
		h, err := g.handlerFor(c, hello)
		if err != nil {
			return err
		}
		if done, err := g.connect(h, &resumption{c, hello}); done || err != nil {
			return err
		}
	}
}

// handlerFor returns the handler of the hello's lane, a new one if there is none to resume.
func (g *Gateway) handlerFor(c *connection, hello proto.Hello) (*handler, error) {
	key := sessionKey{hello.Session, hello.Lane, c.peer.Identity}
	resumable := hello.Session != proto.ID{}
	g.mu.Lock()
	for tries := 0; ; {
		old := g.sessions[key]
		if old == nil {
			if g.state == gatewayServing && len(g.handlers) >= g.config.MaxHandlers && tries < mostRoomTries {
				g.mu.Unlock()
				if tries++; !g.makeRoom() {
					tries = mostRoomTries
				}
				g.mu.Lock()
				continue
			}
			break
		}
		if hello.Clock <= old.helloClock {
			g.mu.Unlock()
			return nil, errStale
		}
		proven := old.begunBy(hello) && hello.Proves(old.key)
		if old.in.Heard() && !proven {
			g.mu.Unlock()
			return nil, errNotProven
		}
		if hello.Resume && proven {
			old.helloClock = hello.Clock
			g.mu.Unlock()
			return old, nil
		}
		// Its welcome never arrived, or the client has begun again.
		g.mu.Unlock()
		g.endHandler(old, &goodbyeError{Code: proto.GoodbyeSuperseded, Text: "the client began this lane anew"})
		g.mu.Lock()
	}
	defer g.mu.Unlock()
	switch {
	case g.state != gatewayServing:
		return nil, g.goodbyeStops()
	case len(g.handlers) >= g.config.MaxHandlers:
		return nil, g.goodbyeFull(fmt.Sprintf("%v (%d)", errHandlersFull, g.config.MaxHandlers))
	}
	h := &handler{gateway: g, session: key, resumable: resumable, begun: hello.Clock, helloClock: hello.Clock}
	h.shared.Offer(g.config.ConnectionCredit)
	h.lane.init(h, g.config.FrameLimit, g.config.SendBuffer, !resumable)
	h.timers = &g.timers[g.nextTimers%len(g.timers)]
	g.nextTimers++
	h.queue = g.pool.NewQueue(2 * g.config.Window) // cancelled tasks stay in it until their turn, and their ids are used again
	h.queue.AfterTurn(h.flushTurn)
	g.handlers[h] = struct{}{}
	g.running.Add(1) // until endLocked
	if resumable {
		h.key = make([]byte, proto.KeySize)
		_, _ = rand.Read(h.key) // never fails; it ends the process instead
		g.sessions[key] = h
	}
	return h, nil
}

// errStale refuses a hello that was overtaken by a later one of its lane.
var errStale = &goodbyeError{Code: proto.GoodbyeSuperseded, Text: "a later hello of this lane came first"}

// errNotProven refuses a hello for a lane of somebody else's.
var errNotProven = &goodbyeError{Code: proto.GoodbyeNotAllowed, Text: "the hello does not prove to be of the lane's client"}

// begunBy reports whether the client that says hello means this lane, and not one that it knew before.
func (h *handler) begunBy(hello proto.Hello) bool {
	begun, named := hello.Begun()
	return named && begun == h.begun
}

// connect gives the handler its connection, now or when the one that it has is let go of. False without an error means that
// the handler has ended meanwhile.
func (g *Gateway) connect(h *handler, r *resumption) (bool, error) {
	h.exchange.mu.Lock()
	defer h.exchange.mu.Unlock()
	if h.current() == nil && h.exchange.cause != nil {
		g.settle(h) // its flusher has let go of the last connection, and is on its way to do so
	}
	if h.exchange.ended || h.exchange.ending != nil {
		return false, nil
	}
	g.mu.Lock()
	stale := r.hello.Clock < h.helloClock
	g.mu.Unlock()
	if stale {
		return true, errStale
	}
	if k := h.current(); k != nil && (k.deaf.Load() || !h.detach(k)) { // one that is parted from lets go by itself
		if overtaken := h.exchange.next; overtaken != nil {
			overtaken.c.refuse(errStale)
		}
		h.exchange.next = r
		return true, nil
	}
	return true, g.attach(h, r)
}

// current returns the connection of the handler, nil if it has none.
func (h *handler) current() *link {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.link
}

// attach welcomes the client and gives the handler its connection. The caller holds exchange.mu, and the lane has none.
func (g *Gateway) attach(h *handler, r *resumption) error {
	h.recvMu.Lock() // nothing that the last connection brought is still being counted
	defer h.recvMu.Unlock()
	hello, k := r.hello, &r.c.link
	resumed := hello.Resume && h.remote.Load() != nil
	welcome := proto.Welcome{
		Version: proto.Version, Resumed: resumed, Draining: g.draining.Load(),
		Features: hello.Features & expandable(g.config.Compress), FrameLimit: uint32(g.config.FrameLimit),
		StreamCredit: uint32(g.config.StreamCredit), Window: uint32(g.config.Window), Streams: uint32(g.config.Streams),
		WindowBytes: uint64(g.config.WindowBytes), IdleTimeout: uint32(g.config.IdleTimeout.Milliseconds()),
		Life: g.life, Received: h.in.Received(),
	}
	if resumed {
		welcome.Features = h.features
	} else {
		h.features = welcome.Features
		h.in.Agree(h.features)
		if h.key != nil {
			welcome.Extensions = []proto.Extension{{Type: proto.ExtensionKey, Value: h.key}}
		}
	}
	if g.config.ConnectionCredit > 0 {
		welcome.Extensions = append(welcome.Extensions, proto.CreditExtension(uint32(g.config.ConnectionCredit)))
	}
	received := hello.Received
	if !resumed {
		received = 0
	}
	h.remote.Store(&r.c.remote)
	h.client.Store(&r.c.peer)
	h.clock = monotonic()/int64(time.Millisecond) - int64(hello.Clock)
	h.mu.Lock()
	possible := h.out.CanRewind(received)
	if !resumed {
		h.chunkCredit = int(hello.StreamCredit)
		h.shared.Begin(hello.LaneCredit())
		h.out.SetPeer(int(min(hello.FrameLimit, maxFrameLimit)), agreed(g.config.Compress, h.features))
	}
	h.mu.Unlock()
	var err error
	if !possible {
		err = fmt.Errorf("%w: received count %d of the hello", proto.ErrMalformed, received)
	} else {
		r.c.handler.Store(h) // from here on its end is the handler's
		if k.isOver() || k.deaf.Load() {
			err = fmt.Errorf("connection ended before the welcome: %w", ErrClosed)
		} else if !h.lane.attach(k, received, proto.AppendWelcome(nil, welcome)) {
			err = fmt.Errorf("handler has ended: %w", ErrClosed)
		}
	}
	if err != nil {
		g.settleLost(h, err)
		return err
	}
	g.greeted(r.c)
	g.cameBack(h)
	if !welcome.Draining && g.draining.Load() { // it began meanwhile, and may have passed this lane over
		h.control(func(dst []byte) []byte { return proto.AppendDrain(dst, 1<<32-1) })
	}
	g.log.Debug("connection attached", "remote", h.peer(), "resumed", resumed, "lane", hello.Lane)
	return nil
}

func isGoodbye(err error) bool {
	var g *goodbyeError
	return errors.As(err, &g)
}

// broken ends a connection whose bytes cannot be handled. The peer is told why, unless it has said goodbye itself.
func (g *Gateway) broken(h *handler, c *connection, err error) {
	h.exchange.mu.Lock()
	defer h.exchange.mu.Unlock()
	if errors.Is(err, errDetached) || h.current() != &c.link {
		c.link.deaf.Store(true)
		c.link.close()
		return
	}
	h.exchange.cause = err
	if bye, ok := goodbyeFor(err); ok && !isGoodbye(err) {
		h.partLater(&c.link, bye)
		return
	}
	if h.detach(&c.link) {
		g.settle(h)
	}
}

// partLater parts from a connection, and ends it if that takes too long.
func (h *handler) partLater(k *link, bye proto.Goodbye) {
	h.part(k, bye)
	time.AfterFunc(lingerTime, k.close)
}

// lost lets go of a connection that has ended.
func (g *Gateway) lost(h *handler, c *connection, err error) {
	h.exchange.mu.Lock()
	defer h.exchange.mu.Unlock()
	if h.current() != &c.link {
		return
	}
	if h.exchange.cause == nil {
		h.exchange.cause = err
	}
	if h.detach(&c.link) {
		g.settle(h)
	}
}

// detached is called by the flusher that has let go of a connection.
func (h *handler) detached(k *link) {
	k.sayNoMore() // it was parted from; one that was detached is closed
	h.exchange.mu.Lock()
	defer h.exchange.mu.Unlock()
	if h.current() == nil {
		h.gateway.settle(h)
	}
}

// settle decides what becomes of a handler whose connection is let go of. The caller holds exchange.mu.
func (g *Gateway) settle(h *handler) {
	x := &h.exchange
	if x.ended {
		return
	}
	cause, next := x.cause, x.next
	x.cause, x.next = nil, nil
	switch {
	case x.ending != nil:
		g.endLocked(h, x.ending)
	case cause != nil:
		g.settleLost(h, cause)
	}
	if next == nil {
		return
	}
	err := error(errLaneEnded)
	if x.ending != nil {
		err = x.ending
	}
	if !x.ended {
		err = g.attach(h, next)
	}
	if err != nil {
		next.c.refuse(err)
	}
}

// errLaneEnded refuses a hello whose lane has ended while it waited for the lane's connection to be let go of.
var errLaneEnded = &goodbyeError{Code: proto.GoodbyeSuperseded, Text: "the lane has just ended: begin it anew"}

// settleLost decides what becomes of a handler whose connection has ended with err. The caller holds exchange.mu.
func (g *Gateway) settleLost(h *handler, err error) {
	malformed := errors.Is(err, proto.ErrMalformed) || errors.Is(err, proto.ErrTooLarge)
	if malformed {
		g.log.Warn("connection broke the protocol", "remote", h.peer(), "error", err)
	} else {
		g.log.Debug("connection ended", "remote", h.peer(), "error", err)
	}
	if h.resumable && !malformed && !isGoodbye(err) {
		g.wentAway(h)
		return
	}
	g.endLocked(h, err)
}

// endHandler ends a handler for good, telling its client why if it is there. From now on its lane can begin anew.
func (g *Gateway) endHandler(h *handler, cause error) {
	h.exchange.mu.Lock()
	defer h.exchange.mu.Unlock()
	if h.exchange.ended || h.exchange.ending != nil {
		return
	}
	h.exchange.ending = cause
	g.forget(h)
	k := h.current()
	if k == nil {
		g.endLocked(h, cause)
		return
	}
	if bye, ok := goodbyeFor(cause); ok {
		h.partLater(k, bye)
	} else if h.detach(k) {
		g.settle(h)
	}
}

// forget takes a handler out of the tables.
func (g *Gateway) forget(h *handler) {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.handlers, h)
	g.away.remove(h)
	if g.sessions[h.session] == h {
		delete(g.sessions, h.session)
	}
}

// endLocked ends a handler for good. The caller holds exchange.mu, and the lane is detached.
func (g *Gateway) endLocked(h *handler, cause error) {
	if h.exchange.ended {
		return
	}
	h.exchange.ended = true
	g.forget(h)
	h.end(cause)
	g.running.Done()
}
