package netio

import "sync/atomic"

// A process that was paused (SIGSTOP, a stalled virtual machine) has heard nothing from its peers for as long, and that is not
// their silence. What looks at marks of time every period notices that it comes late, and moves the marks by the gap.

// pauseWatch finds the gaps in a row of looks.
type pauseWatch struct {
	period int64 // between two looks, in nanoseconds
	last   int64 // the last look, as monotonic has it
}

// gap returns by how much the look at now comes late, 0 where that is less than a period.
func (w *pauseWatch) gap(now int64) int64 {
	late := now - w.last - w.period
	w.last = now
	if late < w.period {
		return 0
	}
	return late
}

// moveMark moves a mark by a gap that has just ended, unless it is 0, which means none. A mark that was made since stays.
func moveMark(mark *atomic.Int64, gap, now int64) {
	if old := mark.Load(); old != 0 {
		mark.CompareAndSwap(old, min(old+gap, max(old, now)))
	}
}

// movePause moves what a lane knows of its peer's silence by a gap.
func (l *lane) movePause(k *link, gap, now int64) {
	moveMark(&l.lastRead, gap, now)
	if k != nil {
		moveMark(&k.writingSince, gap, now)
		moveMark(&k.lastTaken, gap, now)
	}
}

// movePause moves the marks of all that greet, are connected or are away.
func (g *Gateway) movePause(gap, now int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for c := range g.greeting {
		c.since += gap
	}
	for h := range g.handlers {
		if h.detachedAt != 0 {
			h.detachedAt += gap
		}
		h.lane.movePause(h.current(), gap, now)
	}
}
