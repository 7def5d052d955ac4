package netio

// Which lane new tasks go to.

// candidates is how many lanes are looked at for a new task: all of most swarms, some of a very large one.
const candidates = 16

// some returns the lanes to choose from now.
func (s *Swarm) some() []*swarmLane {
	if len(s.lanes) <= candidates {
		return s.lanes
	}
	start := int(s.turn.Add(1)) * candidates % len(s.lanes)
	return s.lanes[start:min(start+candidates, len(s.lanes))]
}

// pick returns the lane for new tasks, the connection with the fewest in flight, and those that it was chosen from; nil
// when the gateway has been away for too long.
func (s *Swarm) pick() (best *swarmLane, from []*swarmLane) {
	from = s.some()
	best = least(from)
	if len(from) < len(s.lanes) && (best == nil || laneState(best.state.Load()) != laneUp) {
		from = s.lanes
		best = least(from)
	}
	return best, from
}

// least returns the best of some lanes; nil when all are gone.
func least(lanes []*swarmLane) *swarmLane {
	var best *swarmLane
	bestState, bestLoad := laneGone, int32(0)
	for _, l := range lanes {
		state, load := laneState(l.state.Load()), l.inflight.Load()
		if state > bestState || state == bestState && state != laneGone && load < bestLoad {
			best, bestState, bestLoad = l, state, load
		}
	}
	return best
}

// leastShare is how many tasks are worth a write of their own.
const leastShare = 16

// fairShare returns how many of n new tasks go to the best lane, so that lanes as good as it end up with as many in
// flight: whole frames.
func fairShare(best *swarmLane, lanes []*swarmLane, n, together int) int {
	state, equal, sum := best.state.Load(), 0, n
	for _, l := range lanes {
		if l.state.Load() == state {
			equal++
			sum += int(l.inflight.Load())
		}
	}
	share := max(leastShare, (sum+equal-1)/max(equal, 1)-int(best.inflight.Load()))
	return min(n, (share+together-1)/together*together)
}
