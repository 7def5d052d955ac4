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

	rounds    [roundsKept]round // of the last rounds, each at its number modulo their count
	current   int               // number of the round that is under way
	share     float64           // of the probes, those that somebody answers
	smoothed  time.Duration
	lateAfter time.Duration

	pausedUntil time.Duration
	pause       time.Duration

	// Between these two starts there was loss: a time-out of then is in doubt.
	doubtFrom, doubtTo time.Duration
}

// round is what is known of the probes that started in one, and how many answers came in it.
type round struct {
	number       int
	started      int
	prompt, late int // of those that started in it, answered so
	arrived      int
}

const (
	roundsKept    = 64 // more than a second SYN needs to be answered
	paceRound     = 100 * time.Millisecond
	firstRate     = 500.0
	lowestRate    = 10.0
	startGrowth   = 1.32 // a round of slow start: doubles in 250 ms
	blindGrowth   = 1.04 // the same while many probes have no answer yet: they may be lost
	blindShare    = 0.1  // of the probes of the last second, without an answer
	secondSYN     = 11   // rounds after which the answers to second SYNs are there
	shareRounds   = 5    // over which the share of answers is taken
	shareLeast    = 20.0 // starts in them, at least
	shareSlack    = 0.05 // of it may be missing
	decreaseTo    = 0.95 // of the rate that got through
	localDecrease = 0.7
	leastStep     = 2.0
	socksDecrease = 0.9
	lateShare     = 0.02 // late answers of all answers that are taken for loss
	lateLeast     = 3    // and their least number
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

// started notes a start that allow permitted, and returns the rate at which it happened. The first start of a probe counts
// for the share of those that somebody answers; a probe that has timed out is not as likely to be answered as the others.
func (p *pacer) started(first bool) float64 {
	p.tokens--
	if first {
		p.round(p.current).started++
	}
	return p.rate
}

// withdrawn takes back a first start of then, with which nothing was sent.
func (p *pacer) withdrawn(startedAt time.Duration) {
	if r := p.round(int(startedAt / paceRound)); r.started > 0 {
		r.started--
	}
}

// round returns what is known of a round; one that is no longer kept is empty, and forgets what is added.
func (p *pacer) round(number int) *round {
	r := &p.rounds[number%roundsKept]
	if r.number > number {
		return new(round)
	}
	if r.number < number {
		*r = round{number: number}
	}
	return r
}

// answeredIn counts the starts of the rounds from first to before end, their prompt answers, and all of them.
func (p *pacer) answeredIn(first, end int) (started, prompt, all float64) {
	for n := max(0, first); n < end; n++ {
		r := p.round(n)
		started, prompt, all = started+float64(r.started), prompt+float64(r.prompt), all+float64(r.prompt+r.late)
	}
	return started, prompt, all
}

// settled returns the number of the round before which there was time for a prompt answer.
func (p *pacer) settled() int { return p.current - 1 - int(2*p.smoothed/paceRound) }

// blind reports whether many of the probes of the last second have no answer yet, though there was time for one. Nobody
// answers them, or they were lost: the second SYN will tell.
func (p *pacer) blind() bool {
	started, _, all := p.answeredIn(p.settled()-secondSYN, p.settled())
	return started-all > blindShare*started
}

// learnShare learns which share of the probes somebody answers. The order of the probes is random, so it is the same all the
// time, and the largest that was seen is the one without loss.
func (p *pacer) learnShare() {
	for _, end := range [2]int{p.settled(), p.current - 2 - secondSYN} {
		if started, _, all := p.answeredIn(end-shareRounds, end); started >= shareLeast {
			p.share = max(p.share, all/started-3*deviation(all/started, started))
		}
	}
}

func deviation(share, n float64) float64 { return math.Sqrt(share * (1 - share) / n) }

// missing reports whether fewer probes than somebody answers were answered promptly of late, and how many were a second.
func (p *pacer) missing() (perSecond float64, missing bool) {
	end := p.settled()
	first := max(end-shareRounds, int(max(0, p.decreased)/paceRound)+1)
	started, prompt, _ := p.answeredIn(first, end)
	if end-first < shareRounds || started < shareLeast {
		return 0, false
	}
	return prompt / (shareRounds * paceRound).Seconds(), prompt/started < (1-shareSlack)*p.share-3*deviation(p.share, started)
}

// endRound increases what was the limit in the round that ends.
func (p *pacer) endRound(now time.Duration) {
	end := p.roundEnd
	p.roundEnd += paceRound
	if now >= p.roundEnd { // nothing asked for rounds: they teach nothing
		p.roundEnd = now - now%paceRound + paceRound
	}
	p.current = int(p.roundEnd/paceRound) - 1
	p.learnShare()
	if got, missing := p.missing(); missing {
		p.doubt(max(0, p.decreased), now)
		p.decrease(now, min(p.rate, max(got, p.arrivals())/p.share)*decreaseTo)
	}
	if p.rateBound && p.decreased <= end-paceRound {
		switch {
		case p.slowStart && p.blind():
			p.rate *= blindGrowth
		case p.slowStart:
			p.rate *= startGrowth
		default:
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

// answer notes an answer of the other side to a probe that started then, at that rate; first is as in started.
func (p *pacer) answer(now, startedAt time.Duration, at float64, first bool) {
	p.pause = firstPause
	took := now - startedAt
	isLate := took >= max(p.lateAfter, 3*p.smoothed)
	if !isLate {
		if p.smoothed == 0 {
			p.smoothed = took
		}
		p.smoothed += (took - p.smoothed) / 16
	}
	p.round(p.current).arrived++
	if !first {
		return
	}
	number := int(startedAt / paceRound)
	if r := p.round(number); isLate {
		r.late++
	} else {
		r.prompt++
		return
	}
	if startedAt <= p.decreased {
		p.doubt(startedAt, startedAt)
		return
	}
	// The rounds before this probe's have had their second answers: they tell what share of them got through at once.
	prompt, late := 0, 0
	for n := max(0, int(p.decreased/paceRound)+1, number-roundsKept+1); n < number; n++ {
		r := p.round(n)
		prompt, late = prompt+r.prompt, late+r.late
	}
	if late >= lateLeast && float64(late) > lateShare*float64(prompt+late) {
		p.doubt(max(0, p.decreased), now)
		share := float64(prompt) / float64(prompt+late)
		p.decrease(now, min(p.rate, max(at*share, p.arrivals()/max(p.share, 0.01)))*decreaseTo)
	}
}

// arrivals returns how many answers have come a second, in the last half of one. What has got through counts here also where
// it was sent a second time.
func (p *pacer) arrivals() float64 {
	const over = 5
	n := 0
	for i := max(0, p.current-over); i < p.current; i++ {
		n += p.round(i).arrived
	}
	return float64(n) / (over * paceRound).Seconds()
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
