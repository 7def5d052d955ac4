package rollout

import "time"

// pace spaces starts by a rate and a delay. Times are since the roll-out began.
type pace struct {
	each  time.Duration // of the rate: from start to start, on average; 0: no rate
	burst time.Duration // how far starts may run ahead of that
	delay time.Duration
	due   time.Duration // when the rate alone would have the next start
	last  time.Duration // of the last start
	began bool          // there was one
}

func newPace(rate float64, delay time.Duration) pace {
	p := pace{delay: delay}
	if rate > 0 {
		p.each = max(1, time.Duration(float64(time.Second)/rate))
		p.burst = max(0, time.Second/10-p.each)
	}
	return p
}

// next returns when the next task may start.
func (p *pace) next() time.Duration {
	at := time.Duration(0)
	if p.each > 0 {
		at = max(0, p.due-p.burst)
	}
	if p.began {
		at = max(at, p.last+p.delay)
	}
	return at
}

// start counts one.
func (p *pace) start(now time.Duration) {
	if p.each > 0 {
		p.due = max(p.due, now) + p.each
	}
	p.last, p.began = now, true
}
