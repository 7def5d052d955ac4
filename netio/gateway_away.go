package netio

import (
	"container/list"
	"fmt"
	"sync/atomic"
	"time"
)

// awayLanes are the handlers that wait for a connection, each list with the longest away first. Gateway.mu guards them.
type awayLanes struct {
	empty list.List // those whose lane has carried nothing
	used  list.List
}

// awayLane is the place of a handler in one of these lists; nil: it is in none.
type awayLane struct {
	in    *list.List
	place *list.Element
}

func (a *awayLanes) remove(h *handler) {
	if h.away.in != nil {
		h.away.in.Remove(h.away.place)
		h.away = awayLane{}
	}
}

// wentAway begins the time for which a lane without a connection is remembered. The caller holds the handler's exchange.mu.
func (g *Gateway) wentAway(h *handler) {
	g.mu.Lock()
	defer g.mu.Unlock()
	h.detachedAt = monotonic()
	g.away.remove(h)
	h.away.in = &g.away.used
	if h.carriedNothing() {
		h.away.in = &g.away.empty
	}
	h.away.place = h.away.in.PushBack(h)
}

// cameBack ends it.
func (g *Gateway) cameBack(h *handler) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.away.remove(h)
}

const (
	// mostRoomTries bounds how often one hello makes room: others may take it.
	mostRoomTries = 4
	// mostLookedAt bounds how many lanes are looked at for one that can go.
	mostLookedAt = 64
)

// makeRoom ends the lane that can best be done without: one that is away and owes its client nothing, first those that have
// carried nothing, and of these the longest away. False means that there is none. The caller holds no lock.
func (g *Gateway) makeRoom() bool {
	h := g.dispensable()
	if h == nil {
		return false
	}
	h.exchange.mu.Lock()
	defer h.exchange.mu.Unlock()
	if !h.exchange.ended && h.exchange.ending == nil && h.current() == nil && h.owesNothing() {
		g.log.Debug("session makes room", "remote", h.peer())
		g.endLocked(h, fmt.Errorf("session made room for others: %w", errIdle))
	}
	return true
}

// dispensable returns the lane that makeRoom ends, nil if there is none.
func (g *Gateway) dispensable() *handler {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, lanes := range []*list.List{&g.away.empty, &g.away.used} {
		looked := 0
		for e := lanes.Front(); e != nil && looked < mostLookedAt; e = e.Next() {
			if h := e.Value.(*handler); h.owesNothing() {
				return h
			}
			looked++
		}
	}
	return nil
}

// carriedNothing reports whether no sequenced frame has gone either way.
func (h *handler) carriedNothing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.in.Received() == 0 && h.out.End() == 0 && h.out.OpenBytes() == 0
}

// owesNothing reports whether nothing is under way, and the client has acknowledged all answers.
func (h *handler) owesNothing() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.unanswered == 0 && len(h.streams) == 0 && h.out.Unacknowledged() == 0
}

// logLimit bounds lines of one kind to loggedEach in a second, as peers bring them about.
type logLimit struct {
	second  atomic.Int64
	lines   atomic.Int64
	skipped atomic.Int64
}

const loggedEach = 10

// allow reports whether a line may be logged, and how many were not before it.
func (l *logLimit) allow(now int64) (ok bool, skipped int64) {
	second := now / int64(time.Second)
	if l.second.Swap(second) != second {
		l.lines.Store(0)
	}
	if l.lines.Add(1) > loggedEach {
		l.skipped.Add(1)
		return false, 0
	}
	return true, l.skipped.Swap(0)
}
