package probe

import (
	"math"
	"time"
)

// pacer decides when the next probe may start. It adapts two quantities by additive increase and multiplicative
// decrease: the rate of starts, which falls on late answers and on a want of ports and buffers, and the number of
// sockets at once, which falls on a want of descriptors. It has no clock: every method takes the time since the scan
// began. One goroutine owns it.
type pacer struct {
	ceiling  float64 // starts a second; +Inf where there is no upper rate
	floor    float64
	rate     float64
	tokens   float64 // starts that are due
	refilled time.Duration

	fanout  int
	sockets float64 // probes in flight, from 1 to fanout

	roundEnd   time.Duration
	slowStart  bool
	rateBound  bool          // the rate held a start back in this round
	socksBound bool          // sockets did
	decreased  time.Duration // when the rate last fell; of what started before, nothing more is learned
	socksFell  time.Duration
	step       float64 // additive increase of a round

	late, answered float64 // of the probes that started after decreased; both fade
	smoothed       time.Duration
	lateAfter      time.Duration

	pausedUntil time.Duration
	pause       time.Duration

	// Between these two starts there was loss: a time-out of then is in doubt.
	doubtFrom, doubtTo time.Duration
}

const (
	paceRound     = 100 * time.Millisecond
	firstRate     = 1000.0
	lowestRate    = 10.0
	startGrowth   = 1.32 // a round of slow start: doubles in 250 ms
	decreaseTo    = 0.9  // of the rate at which what came late was sent
	localDecrease = 0.7
	leastStep     = 2.0
	socksDecrease = 0.9
	lateShare     = 0.02 // late answers of all answers that are taken for loss
	lateLeast     = 3.0  // and their least number
	fade          = 0.93 // of what is counted, kept a round: half of it in a second
	bucketTime    = 10 * time.Millisecond
	firstPause    = 5 * time.Millisecond
	longestPause  = time.Second
	// A system sends an unanswered SYN again after a second: an answer that takes longer came to the second one.
	retransmitted = 900 * time.Millisecond
)

// newPacer returns a pacer that starts at most ceiling probes a second (0: no limit) and has at most fanout in flight.
func newPacer(ceiling float64, fanout int, timeout time.Duration) *pacer {
	if ceiling <= 0 {
		ceiling = math.Inf(1)
	}
	p := &pacer{ceiling: ceiling, floor: min(ceiling, lowestRate), rate: min(ceiling, firstRate), fanout: fanout,
		sockets: float64(fanout), roundEnd: paceRound, slowStart: true, decreased: -1, socksFell: -paceRound, pause: firstPause,
		lateAfter: min(retransmitted, timeout/2), doubtFrom: 1, doubtTo: 0, tokens: 1}
	return p
}

// fixed turns the adaption of the rate off: it is the ceiling from the first probe on.
func (p *pacer) fixed() { p.rate, p.floor, p.slowStart = p.ceiling, p.ceiling, false }

// waitForEnd is what allow returns when only the end of a probe makes room for the next.
const waitForEnd = time.Duration(math.MaxInt64)

// allow returns 0 when a probe may start now, and otherwise how long to wait before asking again.
func (p *pacer) allow(now time.Duration, inFlight int) time.Duration {
	for now >= p.roundEnd {
		p.endRound(now)
	}
	if now < p.pausedUntil {
		return p.pausedUntil - now
	}
	if inFlight >= int(p.sockets) {
		p.socksBound = true
		return waitForEnd
	}
	p.refill(now)
	if p.tokens < 1 {
		p.rateBound = true
		return max(time.Microsecond, time.Duration((1-p.tokens)/p.rate*float64(time.Second)))
	}
	return 0
}

// refill turns the time since the last call into tokens; the bucket holds those of bucketTime, and one at least.
func (p *pacer) refill(now time.Duration) {
	if math.IsInf(p.rate, 1) {
		p.tokens = 1
		return
	}
	p.tokens = min(p.tokens+p.rate*(now-p.refilled).Seconds(), max(1, p.rate*bucketTime.Seconds()))
	p.refilled = now
}

// started notes a start that allow permitted, and returns the rate at which it happened.
func (p *pacer) started() float64 {
	p.tokens--
	return p.rate
}

// endRound increases what was the limit in the round that ends.
func (p *pacer) endRound(now time.Duration) {
	end := p.roundEnd
	p.roundEnd += paceRound
	if now >= p.roundEnd { // nothing asked for rounds: they teach nothing
		p.roundEnd = now - now%paceRound + paceRound
	}
	p.late, p.answered = p.late*fade, p.answered*fade
	if p.rateBound && p.decreased <= end-paceRound {
		if p.slowStart {
			p.rate *= startGrowth
		} else {
			// The step grows with the time since the last decrease, so that a rate that is far too low recovers.
			p.rate += p.step * (1 + (end-p.decreased).Seconds()/2)
		}
		p.rate = min(p.rate, p.ceiling)
	}
	if p.socksBound && p.socksFell <= end-paceRound {
		p.sockets = min(float64(p.fanout), p.sockets+max(1, float64(p.fanout)/200))
	}
	p.rateBound, p.socksBound = false, false
}

// answer notes an answer of the other side to a probe that started then, at that rate.
func (p *pacer) answer(now, startedAt time.Duration, at float64) {
	p.pause = firstPause
	took := now - startedAt
	isLate := took >= max(p.lateAfter, 3*p.smoothed)
	if !isLate {
		if p.smoothed == 0 {
			p.smoothed = took
		}
		p.smoothed += (took - p.smoothed) / 16
	}
	if startedAt <= p.decreased {
		if isLate {
			p.doubt(startedAt, startedAt)
		}
		return
	}
	p.answered++
	if !isLate {
		return
	}
	if p.late++; p.late >= lateLeast && p.late > lateShare*p.answered {
		p.doubt(startedAt, now)
		p.decrease(now, min(at, p.rate)*decreaseTo)
	}
}

// doubt extends the starts of which a time-out may be loss. The margin takes in those just before the first late one.
func (p *pacer) doubt(from, to time.Duration) {
	from -= paceRound
	if from > p.doubtTo { // another episode; what is left of the last one is older than any time-out
		p.doubtFrom, p.doubtTo = from, to
	}
	p.doubtFrom, p.doubtTo = min(p.doubtFrom, from), max(p.doubtTo, to)
}

// inDoubt reports whether the time-out of a probe that started then may be due to loss at too high a rate.
func (p *pacer) inDoubt(startedAt time.Duration) bool {
	return startedAt >= p.doubtFrom && startedAt <= p.doubtTo
}

func (p *pacer) decrease(now time.Duration, to float64) {
	p.rate = max(p.floor, min(to, p.rate))
	p.slowStart = false
	p.step = max(leastStep, p.rate/200) // a twentieth of the rate a second
	p.decreased = now
	p.late, p.answered = 0, 0
	p.tokens = min(p.tokens, 1)
}

// local notes that a start failed for want of local means while inFlight probes were under way.
func (p *pacer) local(now time.Duration, cause localCause, inFlight int) {
	switch {
	case cause == descriptors && p.socksFell <= now-paceRound:
		p.sockets = max(1, min(p.sockets, float64(inFlight))*socksDecrease)
		p.socksFell = now
	case cause == traffic && (p.decreased < 0 || p.decreased <= now-paceRound):
		p.decrease(now, min(p.rate, 1e6)*localDecrease)
	}
	if now < p.pausedUntil { // this one started before the pause
		return
	}
	// With probes under way, their ends give back what is missing; the pause then only keeps the loop from trying in vain.
	p.pausedUntil = now + p.pause
	if inFlight == 0 || cause == traffic {
		p.pause = min(longestPause, p.pause*2)
	}
}
