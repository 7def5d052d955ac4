package netio

import "time"

// mapSink takes the ends of the items of a Map on one lane, and gives the caller those of one frame together.
type mapSink struct {
	m *mapRun

	// Guarded by the lane's mu.
	results []mapResult
	bodies  []byte // memory for the next bodies; what comes before is the caller's
}

// mostBodies is the memory for bodies that is taken at once, where none of them is larger.
const mostBodies = 16 << 10

func (m *mapRun) sinkFor(l *swarmLane) sink { return &m.sinks[l.index] }

func (k *mapSink) settle(s *slot, status Status, body []byte, now int64, following int, retryAfter time.Duration) {
	r := mapResult{Result: Result{Index: s.index, Elapsed: s.elapsed(now), ended: now, Attempt: 1}}
	if k.m.retries != nil {
		r.Attempt += k.m.retries.tried(s.index)
	}
	if status == StatusOK {
		r.Body = k.keep(body, following)
		k.m.retries.over(s.index)
	} else {
		r.err = decodeError(s.request.name, status, body, retryAfter)
		if k.m.retries.again(outgoing{s.index, s.body}, r) {
			return
		}
	}
	k.results = append(k.results, r)
}

// keep copies a body next to those before it.
func (k *mapSink) keep(body []byte, following int) []byte {
	if len(body) > cap(k.bodies)-len(k.bodies) {
		k.bodies = make([]byte, 0, len(body)+min(following, mostBodies))
	}
	start := len(k.bodies)
	k.bodies = append(k.bodies, body...)
	return k.bodies[start:len(k.bodies):len(k.bodies)]
}

func (k *mapSink) settled(l *swarmLane) {
	spare := k.m.takeSpare()
	l.mu.Lock()
	some := k.results
	k.results = spare
	l.mu.Unlock()
	if len(some) > 0 {
		k.m.add(some...)
	}
}

// takeSpare returns memory for results, or nil.
func (m *mapRun) takeSpare() []mapResult {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := len(m.spare)
	if n == 0 {
		return nil
	}
	some := m.spare[n-1]
	m.spare = m.spare[:n-1]
	return some
}
