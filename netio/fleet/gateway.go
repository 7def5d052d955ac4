package fleet

import (
	"cmp"
	"context"
	"errors"
	"hash/maphash"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"shoal/netio"
)

// gateway is one gateway that the client knows of. It is in one of these states: not dialled (no swarm, not started), being
// dialled (started), connected or away (it has a swarm, which reconnects by itself), or left.
type gateway struct {
	weight   uint64 // of the rendezvous hash: the client prefers higher ones
	inflight atomic.Int64
	latency  atomic.Int64 // about how long answers take, in nanoseconds; 0: not known

	// Guarded by Fleet.mu.
	member   Member
	reach    reach
	named    bool // by the caller, in Dial
	hinted   bool // other gateways tell of it
	started  bool // somebody dials it, or it has a swarm
	gone     bool // left for good
	draining bool // it has refused a task because it drains
	silent   bool // it does not tell of members
	upSince  time.Time
	err      error        // of the last try to dial it
	swarm    *netio.Swarm // nil: none yet; it stays once it is there
	workers  int          // tasks that it runs at once; 0: not known
}

// add makes a gateway known. The caller holds mu.
func (f *Fleet) add(m Member, named bool) *gateway {
	g := &gateway{member: m, named: named}
	g.weight = maphash.String(f.seed, m.URL)
	g.reach, _ = parseReach(m.Reach) // Check was there before
	f.gateways[m.URL] = g
	f.ranked = append(f.ranked, g)
	slices.SortFunc(f.ranked, func(a, b *gateway) int { return cmp.Compare(b.weight, a.weight) })
	return g
}

// drop makes a gateway unknown. The caller holds mu, and leaves it afterwards.
func (f *Fleet) drop(g *gateway) {
	for url, known := range f.gateways {
		if known == g {
			delete(f.gateways, url)
		}
	}
	f.ranked = slices.DeleteFunc(f.ranked, func(known *gateway) bool { return known == g })
	g.gone = true
	f.wake()
}

// leave closes what there is to a gateway.
func (f *Fleet) leave(g *gateway) {
	f.mu.Lock()
	g.gone = true
	swarm := g.swarm
	f.mu.Unlock()
	if swarm != nil {
		_ = swarm.Close()
	}
}

// up reports whether the gateway can be given tasks. The caller holds mu.
func (g *gateway) up() bool { return g.swarm != nil && !g.gone && g.swarm.Connected() > 0 }

// start begins to dial those that are not dialled. The caller holds mu.
func (f *Fleet) start(gateways []*gateway) {
	for _, g := range gateways {
		if !g.started && f.ctx.Err() == nil {
			g.started = true
			f.running.Go(func() { f.dial(g) })
		}
	}
}

// The pauses between tries to dial a gateway.
const (
	firstPause = 50 * time.Millisecond
	mostPause  = 5 * time.Second
)

// dial tries until the gateway is reached or left.
func (f *Fleet) dial(g *gateway) {
	config := f.config.Swarm
	told := config.OnConnection
	config.OnConnection = func(e netio.ConnectionEvent) {
		f.connection(g, e)
		if told != nil {
			told(e)
		}
	}
	for pause := firstPause; ; pause = min(2*pause, mostPause) {
		f.mu.Lock()
		url, gone := g.member.URL, g.gone
		f.mu.Unlock()
		if gone || f.ctx.Err() != nil {
			return
		}
		swarm, err := netio.Dial(f.ctx, url, &config)
		if err == nil {
			f.reached(g, swarm)
			return
		}
		f.mu.Lock()
		again := g.err != nil
		g.err = err
		f.wake()
		f.mu.Unlock()
		if !again {
			f.log.Warn("gateway is not reached", "url", url, "error", err)
		}
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-f.ctx.Done():
			return
		}
	}
}

// reached gives a gateway its swarm, and asks it what is good to know.
func (f *Fleet) reached(g *gateway, swarm *netio.Swarm) {
	ctx, cancel := context.WithTimeout(f.ctx, 5*time.Second)
	defer cancel()
	workers, err := swarm.GatewayWorkers(ctx)
	if err != nil {
		f.log.Debug("gateway does not tell of its workers", "url", swarm.URL(), "error", err)
	}
	f.mu.Lock()
	gone := g.gone || f.ctx.Err() != nil
	if !gone {
		g.swarm, g.err, g.workers, g.upSince = swarm, nil, workers, time.Now()
	}
	f.wake()
	f.mu.Unlock()
	if gone {
		_ = swarm.Close()
	}
}

// connection notes what becomes of the connections to a gateway.
func (f *Fleet) connection(g *gateway, e netio.ConnectionEvent) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e.State == netio.ConnectionNew {
		if g.draining || e.Connection == 0 { // a new life of it
			g.upSince = time.Now()
		}
		g.draining, g.silent = false, false
	}
	if e.State == netio.ConnectionLost && f.told && !g.hinted && !g.named && !g.gone && !g.up() {
		f.log.Info("gateway has left", "url", g.member.URL)
		f.drop(g)
		f.running.Go(func() { f.leave(g) }) // not here: its swarm waits for us
	}
	if !e.Again {
		f.wake()
	}
}

// refused notes that a gateway did not take a task.
func (f *Fleet) refused(g *gateway, err error) {
	if errors.Is(err, netio.ErrDraining) {
		f.mu.Lock()
		defer f.mu.Unlock()
		if !g.draining {
			f.log.Info("gateway drains", "url", g.member.URL)
		}
		g.draining = true
	}
}

// took takes in how long an answer took.
func (g *gateway) took(d time.Duration) {
	old := g.latency.Load()
	if old == 0 {
		g.latency.Store(max(1, int64(d)))
		return
	}
	g.latency.Store(max(1, old+(int64(d)-old)/16))
}
