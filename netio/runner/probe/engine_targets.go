package probe

import (
	"net/netip"
	"slices"
	"time"
)

// targetState is what the engine knows of a target that has probes in flight, or waiting for its address. Others have
// none, so that the memory is bounded by the probes under way and maxParked.
type targetState struct {
	inFlight  int
	resolving bool
	waiting   []job
}

func (e *engine) state(target uint64) *targetState {
	t := e.targets[target]
	if t == nil {
		t = &targetState{}
		e.targets[target] = t
	}
	return t
}

// enter counts a probe in flight, and reports whether it did: where the limit of a target is no less than that of the
// scan, there is nothing to count.
func (e *engine) enter(target uint64) bool {
	if e.opts.perTarget >= e.opts.fanout {
		return false
	}
	e.state(target).inFlight++
	return true
}

// park has a job wait until its target has room or an address.
func (e *engine) park(t *targetState, j job) {
	t.waiting = append(t.waiting, j)
	e.parked++
}

// unpark makes up to n jobs ready that waited for their target.
func (e *engine) unpark(t *targetState, n int) {
	n = min(n, len(t.waiting))
	e.ready = append(e.ready, t.waiting[:n]...)
	t.waiting = slices.Delete(t.waiting, 0, n)
	e.parked -= n
}

// address returns the address of a target, or why its name has none. It is not known while the name is being looked up: the job
// is parked until then.
func (e *engine) address(target uint64, j job) (_ resolved, known bool) {
	text := e.plan.text(target)
	if address, err := netip.ParseAddr(text); err == nil {
		return resolved{address: address}, true
	}
	if r, ok := e.names.get(target); ok {
		return r, true
	}
	t := e.state(target)
	t.resolving = true
	e.park(t, j)
	e.names.start(target, text)
	return resolved{}, false
}

// takeLookups takes the jobs up whose names have been looked up.
func (e *engine) takeLookups() {
	for _, target := range e.names.take() {
		t := e.targets[target]
		t.resolving = false
		e.unpark(t, len(t.waiting))
		if t.inFlight == 0 {
			delete(e.targets, target)
		}
	}
}

// nameFailed ends a probe whose target has no address. That the name does not exist is an answer; that nobody could be
// asked is a want of local means.
func (e *engine) nameFailed(now time.Duration, j job, err error) {
	if isNoSuchHost(err) {
		e.finish(j, Unreachable, 0, &details{reason: "no such host"})
		return
	}
	e.counted.LocalErrors++
	if j.firstLocal == 0 {
		j.firstLocal = now
	}
	if now-j.firstLocal >= e.opts.patience {
		e.finish(j, NotTried, 0, &details{reason: "name not looked up: " + lookupReason(err)})
		return
	}
	e.counted.Retried++
	j.delay = min(longestDelay, max(firstDelay, 2*j.delay))
	e.retries.push(now+j.delay, j)
}
