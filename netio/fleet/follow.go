package fleet

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"

	"shoal/netio"
)

// follow learns of members from one gateway after another, until the fleet is closed.
func (f *Fleet) follow() {
	const least, most = 100 * time.Millisecond, 5 * time.Second
	pause := least
	for f.ctx.Err() == nil {
		g, changed := f.teller()
		if g == nil {
			select {
			case <-changed:
			case <-f.ctx.Done():
			}
			continue
		}
		heard, err := f.listen(g)
		if heard {
			pause = least
		}
		if errors.Is(err, netio.ErrUnknownSubroutine) || errors.Is(err, netio.ErrNotAllowed) {
			f.mu.Lock()
			g.silent = true
			f.wake()
			f.mu.Unlock()
			continue
		}
		f.log.Debug("gateway tells no more of members", "url", g.swarm.URL(), "error", err)
		select {
		case <-time.After(pause):
			pause = min(2*pause, most)
		case <-f.ctx.Done():
		}
	}
}

// teller returns a connected gateway that may tell of members; changed is closed when there may be one.
func (f *Fleet) teller() (*gateway, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, g := range f.ranked {
		if g.up() && !g.silent && !g.draining {
			return g, nil
		}
	}
	return nil, f.changed
}

// listen takes in what a gateway tells of members until it stops to. Heard says whether it told anything.
func (f *Fleet) listen(g *gateway) (heard bool, err error) {
	ctx, cancel := context.WithCancel(f.ctx)
	defer cancel()
	for chunk, err := range g.swarm.Stream(ctx, NameMembers, nil) {
		if err != nil {
			return heard, err
		}
		var list List
		if err := json.Unmarshal(chunk.Body, &list); err != nil {
			return heard, err
		}
		heard = true
		for _, old := range f.update(g, list) {
			f.leave(old)
		}
	}
	return heard, io.EOF
}

// update takes a list in, and returns the gateways that are to be left.
func (f *Fleet) update(from *gateway, list List) (left []*gateway) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = true
	if list.Self != "" && list.Self != from.member.URL { // it was named in another way
		if twin := f.gateways[list.Self]; twin != nil && twin != from {
			f.drop(twin)
			left = append(left, twin)
		}
		from.member.URL = list.Self
		f.gateways[list.Self] = from
	}
	known := map[*gateway]bool{}
	for _, m := range list.Members {
		if err := m.Check(); err != nil {
			f.log.Warn("a gateway tells of a member that cannot be", "url", from.member.URL, "error", err)
			continue
		}
		g := f.gateways[m.URL]
		if g == nil {
			if len(f.ranked) >= maxMembers {
				continue
			}
			f.log.Info("gateway has joined", "url", m.URL, "reach", m.Reach)
			g = f.add(m, false)
		}
		known[g] = true
		g.hinted = true
		if m.Draining != g.member.Draining {
			g.draining = m.Draining
		}
		if !g.member.equal(&m) {
			g.member = m
			g.reach, _ = parseReach(m.Reach)
		}
		if m.Workers > 0 {
			g.workers = m.Workers
		}
	}
	for _, g := range f.ranked {
		if !known[g] {
			g.hinted = false
		}
	}
	for _, g := range append([]*gateway(nil), f.ranked...) {
		if !g.hinted && !g.named && !g.up() { // while we are connected to it, it is there, whatever others say
			f.log.Info("gateway has left", "url", g.member.URL)
			f.drop(g)
			left = append(left, g)
		}
	}
	f.wake()
	return left
}
