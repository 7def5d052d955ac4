package fleet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"shoal/netio"
)

// pick returns a connected gateway that reaches the host and is none of those tried, and has room where room asks. It waits
// while one is being dialled or all are full. The error says why there will be none.
func (f *Fleet) pick(ctx context.Context, host string, tried []*gateway, room func(g *gateway) bool) (*gateway, error) {
	for {
		g, changed, err := f.tryPick(host, tried, room)
		if g != nil || err != nil {
			return g, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, &netio.TaskError{Status: netio.StatusOf(ctx.Err())}
		case <-f.ctx.Done():
			return nil, fmt.Errorf("fleet: %w", netio.ErrClosed)
		}
	}
}

// tryPick is pick without waiting: changed is closed when another try may do better.
func (f *Fleet) tryPick(host string, tried []*gateway, room func(g *gateway) bool) (g *gateway, changed <-chan struct{}, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	candidates := f.candidates(host)
	if len(candidates) == 0 {
		return nil, nil, fmt.Errorf("%q: %w", host, ErrNoRoute)
	}
	candidates = candidates[:min(len(candidates), f.config.Subset)]
	f.start(candidates)
	var free []*gateway
	waiting, last := false, error(nil)
	for _, g := range candidates {
		switch {
		case slices.Contains(tried, g):
		case g.up() && !g.draining:
			if waiting = true; room == nil || room(g) {
				free = append(free, g)
			}
		case g.swarm == nil && g.err == nil:
			waiting = true
		default:
			last = g.err
		}
	}
	switch {
	case len(free) > 0:
		return better(free), nil, nil
	case waiting:
		return nil, f.changed, nil
	case last != nil:
		return nil, nil, last
	}
	return nil, nil, fmt.Errorf("none of %d gateways that reach %q takes the task: %w", len(candidates), host, netio.ErrUnreachable)
}

// better returns the better of two gateways drawn at random. The caller holds mu.
func better(free []*gateway) *gateway {
	a := free[rand.IntN(len(free))]
	b := free[rand.IntN(len(free))]
	if b.cost() < a.cost() {
		return b
	}
	return a
}

// cost is about how long a task would take here: what is under way, times how long answers take. A gateway of which that is not
// known yet counts as fast.
func (g *gateway) cost() int64 { return (g.inflight.Load() + 1) * max(1, g.latency.Load()) }

// slowStart is how long a gateway that has just been reached gets less than its share.
const slowStart = 5 * time.Second

// limit returns how many tasks of one Map a gateway may hold. The caller holds mu.
func (g *gateway) limit(connections int) int {
	workers := g.workers
	if workers <= 0 {
		workers = 512
	}
	limit := max(2*workers, 16*connections)
	if age := time.Since(g.upSince); age < slowStart {
		limit = max(1, limit/10+int(float64(limit)*0.9*float64(age)/float64(slowStart)))
	}
	return limit
}
