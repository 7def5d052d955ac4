package netio

import (
	"runtime"
	"sync/atomic"
	"time"
)

// spinner lets who waits for bytes look for them a little longer before it parks: to wake a parked thread up takes longer
// than all else that a task on an idle machine does. It is the adaptive spinning of mutexes: it pays while what is awaited
// comes soon, so after a miss it sits out the next wait, three, seven, and so on up to 63, and what never comes soon costs
// next to nothing. In a process only one spins at a time, and none where there is no second processor for the other side.
//
// Measured with -bench Workload, with it and without: one task in flight 80k and 22k tasks/s, at half the CPU; 64 over 4
// 1.3M and 0.9M; batches 5.4M and 4.6M. What it costs is the slowest hundredth when more threads are busy than there are
// processors: of 1024 in flight 2.4 instead of 0.8 ms.
type spinner struct {
	most  time.Duration // how long one wait may be; 0: it never spins
	worth func() bool   // whether there is any hope; nil: always

	misses int // in a row
	sitOut int // waits to go before the next try
	hits   int // in a row
}

const (
	// defaultSpin is about three times what an answer over loopback takes, and what parking and waking up cost.
	defaultSpin = 50 * time.Microsecond
	// mostHits is after how many hits in a row the spinner lets one wait go: the runtime looks for what others wait for
	// only when some processor has nothing to do.
	mostHits   = 256
	mostMisses = 6
)

// spinning is whether somebody in this process spins.
var spinning atomic.Bool

// severalProcessors is whether the other side can run while this one spins.
var severalProcessors = runtime.NumCPU() > 1

// settleSpin returns how long a wait may be, of what a configuration says.
func settleSpin(d time.Duration) time.Duration {
	if d == 0 {
		return defaultSpin
	}
	return max(0, d)
}

// wait calls look until it returns true, and lets others go first before each time. False means that it is time to park.
func (s *spinner) wait(look func() bool) bool {
	if s == nil || s.most == 0 || s.worth != nil && !s.worth() {
		return false
	}
	if s.sitOut > 0 || s.hits >= mostHits {
		s.sitOut, s.hits = max(0, s.sitOut-1), 0
		return false
	}
	if !severalProcessors || runtime.GOMAXPROCS(0) == 1 || !spinning.CompareAndSwap(false, true) {
		return false
	}
	defer spinning.Store(false)
	for end := monotonic() + int64(s.most); monotonic() < end; {
		runtime.Gosched()
		if look() {
			s.hits++
			s.misses = 0
			return true
		}
	}
	s.hits = 0
	s.misses = min(s.misses+1, mostMisses)
	s.sitOut = 1<<s.misses - 1
	return false
}
