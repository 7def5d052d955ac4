package netio

import (
	"fmt"
	"time"

	"shoal/proto"
)

// sweep looks at all connections now and then: silent ones, stuck ones, and lanes that nobody came back for.
func (g *Gateway) sweep() {
	defer g.running.Done()
	shortest := min(g.config.HandshakeTimeout, g.config.IdleTimeout, g.config.WriteTimeout, g.config.SessionTimeout)
	period := max(5*time.Millisecond, min(shortest/4, time.Second))
	tick := time.NewTicker(period)
	defer tick.Stop()
	watch := pauseWatch{period: int64(period), last: monotonic()}
	for {
		select {
		case <-tick.C:
		case <-g.stopping:
			return
		}
		now := monotonic()
		if gap := watch.gap(now); gap > 0 {
			g.movePause(gap, now)
		}
		g.sweepOnce(now)
		g.once.sweep(now)
	}
}

// silent is a connection to part from, and what to say.
type silent struct {
	h   *handler
	k   *link
	bye proto.Goodbye
}

func (g *Gateway) sweepOnce(now int64) {
	var mute []*connection
	var expired []*handler
	var parting []silent
	g.mu.Lock()
	for c := range g.greeting {
		if now-c.since > int64(g.config.HandshakeTimeout) {
			mute = append(mute, c)
		}
	}
	for h := range g.handlers {
		k := h.current()
		switch {
		case k == nil:
			if h.detachedAt != 0 && now-h.detachedAt > int64(g.config.SessionTimeout) {
				expired = append(expired, h)
			}
		case k.stalled(now, g.config.WriteTimeout):
			parting = append(parting, silent{h, k, proto.Goodbye{Code: proto.GoodbyeSlow, Text: fmt.Sprintf("nothing was read for %v", g.config.WriteTimeout)}})
		case now-h.lastRead.Load() > int64(g.config.IdleTimeout):
			parting = append(parting, silent{h, k, proto.Goodbye{Code: proto.GoodbyeIdle, Text: fmt.Sprintf("nothing for %v", g.config.IdleTimeout)}})
		}
	}
	g.mu.Unlock()
	for _, c := range mute {
		c.refuse(fmt.Errorf("no hello within %v: %w", g.config.HandshakeTimeout, errIdle))
	}
	for _, s := range parting {
		g.partSilent(s)
	}
	for _, h := range expired {
		g.expire(h, now)
	}
}

// partSilent parts from a connection; the lane waits for another one.
func (g *Gateway) partSilent(s silent) {
	s.h.exchange.mu.Lock()
	defer s.h.exchange.mu.Unlock()
	if s.h.current() != s.k || s.k.deaf.Load() {
		return
	}
	g.log.Info("client is cut off", "remote", s.h.peer(), "reason", s.bye.Text)
	s.h.exchange.cause = fmt.Errorf("cut off: %s", s.bye.Text)
	s.h.partLater(s.k, s.bye)
}

// expire ends a handler whose client has not come back, unless it has since.
func (g *Gateway) expire(h *handler, now int64) {
	h.exchange.mu.Lock()
	defer h.exchange.mu.Unlock()
	g.mu.Lock()
	back := h.current() != nil || now-h.detachedAt <= int64(g.config.SessionTimeout)
	g.mu.Unlock()
	if !back {
		g.log.Info("session expired", "remote", h.peer())
		g.endLocked(h, fmt.Errorf("session stayed away: %w", errIdle))
	}
}
