package main

import (
	"slices"
	"time"
)

// ladder is what all peers did under one load at one offered rate after the other.
type ladder struct {
	load    load
	against string // whose highest rate the top is
	rungs   []rung // the lowest rate first
}

// rung is one offered rate. Those who fell off below are not in it.
type rung struct {
	rate    float64 // tasks/s
	results []result
}

const (
	doublings   = 5                      // from the lowest rate to the highest
	openPart    = 4                      // a round of an open loop is this part of a closed one's: there are many more
	leastKept   = 0.95                   // who answers less of what is offered does not keep up
	longestTail = 100 * time.Millisecond // whose p99 is above does not either
)

// half is the rung of half of the highest rate.
func (l ladder) half() rung { return l.rungs[len(l.rungs)-2] }

// keepsUp tells whether a peer may go on to the next rung.
func keepsUp(r result) bool {
	return r.err == nil && r.answered() >= leastKept && r.p99() <= float64(longestTail/time.Microsecond)
}

// climb puts the peers under a load at rates that double, the same for all: up to the highest rate of the best of those
// who are neither shoal nor a floor. At each rate they take turns; who cannot keep up goes no further.
func climb(closed outcome, chosen []peer, pl plan) (ladder, bool) {
	best, ok := closed.best()
	if !ok {
		return ladder{}, false
	}
	climbed := ladder{load: closed.load, against: best.peer.name}
	rate := best.rate() / (1 << doublings)
	pl.round = max(pl.round/openPart, 20*time.Millisecond)
	all := lineUp(closed.load, chosen, pl, order{Run: pl.round / 2, Rate: rate})
	defer stopAll(all)
	standing := slices.Clone(all)
	for range doublings + 1 {
		r := rung{rate: rate}
		r.results = takeTurns(standing, pl, order{Run: pl.round, Rate: rate}, func(c *contestant, n int, s sample) {
			pl.note("%s, %.0f tasks/s offered, round %d: %s answered %.1f %%, p50 %.0f µs, p99 %.0f µs",
				closed.load.Name, rate, n, c.peer.name, 100*s.answered, s.p50, s.p99)
		})
		climbed.rungs = append(climbed.rungs, r)
		var next []*contestant
		for i, c := range standing {
			if keepsUp(r.results[i]) {
				next = append(next, c)
			}
		}
		standing, rate = next, 2*rate
	}
	return climbed, true
}
