package netio

import (
	"errors"
	"fmt"
	"time"

	"shoal/proto"
)

// read has a poller read from the connection until it ends, or a goroutine where no poller can.
func (g *Gateway) read(h *handler, k *link) {
	g.running.Add(1)
	if p := g.pollerFor(h, k); p == nil || !p.add(k, h) {
		go func() { h.readEnded(k, k.readLoop(h)) }()
	}
}

// polled is a receiver that is told when the reading of its link has ended, and why.
type polled interface {
	receiver
	readEnded(k *link, err error)
}

func (h *handler) readEnded(k *link, err error) {
	defer h.gateway.running.Done()
	h.gateway.readEnded(h, k, err)
}

// pollerFor returns the poller that is to read for a connection, nil if none can.
func (g *Gateway) pollerFor(h *handler, k *link) *poller {
	if k.raw == nil {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	p := &g.pollers[h.turn%len(g.pollers)]
	if *p == nil {
		*p, _ = newPoller(g.pool.Busy, &spinner{most: g.config.Spin, worth: g.newTasks()}) // without one, a goroutine reads
	}
	return *p
}

// newTasks returns a function that reports whether tasks have come since it was last called. Who streams does not wait for
// what is read, and needs the processors.
func (g *Gateway) newTasks() func() bool {
	last := int64(0)
	return func() bool {
		now := g.counters.tasks.Load()
		came := now != last
		last = now
		return came
	}
}

// readEnded sees to a connection that nothing is read from any more.
func (g *Gateway) readEnded(h *handler, k *link, err error) {
	if errors.Is(err, errDetached) {
		k.close()
		return
	}
	if bye, ok := goodbyeFor(err); ok && !isGoodbye(err) {
		h.farewell(k, bye)
		k.linger()
	}
	k.close()
	h.serving.mu.Lock()
	defer h.serving.mu.Unlock()
	h.mu.Lock()
	current := h.link == k
	h.mu.Unlock()
	if current {
		h.detach()
		g.afterLink(h, err)
	}
}

func isGoodbye(err error) bool {
	var g *GoodbyeError
	return errors.As(err, &g)
}

// afterLink decides what becomes of a handler whose connection has ended with err. The caller holds serving.mu.
func (g *Gateway) afterLink(h *handler, err error) {
	malformed := errors.Is(err, proto.ErrMalformed) || errors.Is(err, proto.ErrTooLarge)
	if malformed {
		g.log.Warn("connection broke the protocol", "remote", h.peer(), "error", err)
	} else {
		g.log.Debug("connection ended", "remote", h.peer(), "error", err)
	}
	if h.resumable && !malformed && !isGoodbye(err) {
		g.mu.Lock()
		h.detachedAt = monotonic()
		g.mu.Unlock()
		return
	}
	g.endLocked(h, err)
}

// endHandler ends a handler for good, telling its client why if it is there.
func (g *Gateway) endHandler(h *handler, cause error) {
	h.serving.mu.Lock()
	defer h.serving.mu.Unlock()
	if bye, ok := goodbyeFor(cause); ok {
		h.mu.Lock()
		k := h.link
		h.mu.Unlock()
		if k != nil {
			h.recvMu.Lock() // a frame whose tasks have begun is counted before the client hears what was received
			//lint:ignore SA2001 nothing is to be done with it
			h.recvMu.Unlock()
			h.farewell(k, bye)
			if bye.Code == proto.GoodbyeDraining { // what the client learns now decides what it runs again
				k.awaitEnd()
			}
		}
	}
	h.detach()
	g.endLocked(h, cause)
}

// endLocked takes the handler out of the tables and ends it. The caller holds serving.mu, and the lane is detached.
func (g *Gateway) endLocked(h *handler, cause error) {
	if h.serving.ended {
		return
	}
	h.serving.ended = true
	g.mu.Lock()
	delete(g.handlers, h)
	if g.sessions[h.session] == h {
		delete(g.sessions, h.session)
	}
	g.mu.Unlock()
	h.end(cause)
}

// sweep looks at all connections now and then: silent ones, stuck ones, and lanes that nobody came back for.
func (g *Gateway) sweep() {
	defer g.running.Done()
	shortest := min(g.config.IdleTimeout, g.config.WriteTimeout, g.config.SessionTimeout)
	tick := time.NewTicker(max(5*time.Millisecond, min(shortest/4, time.Second)))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-g.stopping:
			return
		}
		g.sweepOnce(monotonic())
	}
}

func (g *Gateway) sweepOnce(now int64) {
	var expired []*handler
	g.mu.Lock()
	for h := range g.handlers {
		h.mu.Lock()
		k := h.link
		h.mu.Unlock()
		switch {
		case k == nil:
			if h.detachedAt != 0 && now-h.detachedAt > int64(g.config.SessionTimeout) {
				expired = append(expired, h)
			}
		case k.stalled(now, g.config.WriteTimeout):
			g.log.Warn("client does not read", "remote", h.peer(), "for", g.config.WriteTimeout)
			k.close()
		case now-h.lastRead.Load() > int64(g.config.IdleTimeout):
			g.log.Info("client is silent", "remote", h.peer(), "for", g.config.IdleTimeout)
			g.running.Go(func() {
				h.farewell(k, proto.Goodbye{Code: proto.GoodbyeIdle, Text: fmt.Sprintf("nothing for %v", g.config.IdleTimeout)})
				k.close()
			})
		}
	}
	g.mu.Unlock()
	for _, h := range expired {
		h.serving.mu.Lock()
		h.mu.Lock()
		back := h.link != nil
		h.mu.Unlock()
		g.mu.Lock() // it may have come back and gone again
		back = back || now-h.detachedAt <= int64(g.config.SessionTimeout)
		g.mu.Unlock()
		if !back {
			g.log.Info("session expired", "remote", h.peer())
			g.endLocked(h, fmt.Errorf("session stayed away: %w", ErrIdle))
		}
		h.serving.mu.Unlock()
	}
}
