package netio

import "shoal/proto"

// Expel ends the connections and sessions of the clients for which gone returns a reason, with its text as the goodbye: what they
// have under way is cancelled. With back set they may come again, and begin anew; without it their swarms give up with
// ErrNotAllowed. It returns how many connections and sessions that were. Gone is called on the calling goroutine, without a lock.
func (g *Gateway) Expel(gone func(p Peer) (reason error, back bool)) int {
	g.mu.Lock()
	handlers := make([]*handler, 0, len(g.handlers))
	for h := range g.handlers {
		handlers = append(handlers, h)
	}
	g.mu.Unlock()
	n := 0
	for _, h := range handlers {
		p := h.client.Load()
		if p == nil {
			continue // it is not welcome yet
		}
		reason, back := gone(*p)
		if reason == nil {
			continue
		}
		bye := &goodbyeError{Code: proto.GoodbyeNotAllowed, Text: reason.Error()}
		if back {
			bye.Code = proto.GoodbyeSuperseded
		}
		g.log.Warn("client cut off", "remote", p.Addr, "identity", p.Identity, "reason", reason)
		g.endHandler(h, bye)
		n++
	}
	return n
}
