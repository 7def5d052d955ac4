package main

import (
	"errors"
	"math/rand/v2"
	"time"

	"shoal/bench/internal/latency"
)

// offer is a rate at which messages are to be sent, whatever becomes of them.
type offer struct {
	rate  float64 // tasks/s
	round time.Duration
	seed  uint64
}

// openDriver is a driver that can also send by a schedule. Latencies are counted from when a message was due, so that
// what has to wait to be sent is not left out.
type openDriver interface {
	driver
	offer(o offer) (work, error)
}

// shortestPause is the least that a pacer sleeps, so that at high rates messages leave in bursts and its wake-ups do not
// take the processors from who is measured.
const shortestPause = 100 * time.Microsecond

var errStopped = errors.New("stopped early")

// pacer tells one sender what is due. The gaps of the schedule are exponential, as those of many clients that know
// nothing of each other: one that is due every so often would never meet another.
type pacer struct {
	start  time.Time
	end    time.Duration // after start, as due: nothing is due later
	due    time.Duration // of the next message
	gap    float64       // nanoseconds, the mean
	random *rand.Rand
	alarm  *alarm
}

// newPacer returns the pacer of sender i of n.
func newPacer(o offer, l load, start time.Time, i, n int) (*pacer, error) {
	a, err := newAlarm()
	if err != nil {
		return nil, err
	}
	p := &pacer{start: start, end: o.round, gap: float64(n) * float64(l.Batch) / o.rate * 1e9,
		random: rand.New(rand.NewPCG(o.seed, uint64(i))), alarm: a}
	p.advance()
	return p, nil
}

func (p *pacer) advance() { p.due += time.Duration(p.random.ExpFloat64() * p.gap) }

func (p *pacer) close() { _ = p.alarm.close() }

// grace is how long after the end of the round, as a part of it, what was due may still be sent.
const grace = 50

// run sends until the round is over: whatever is due, then flush, then nothing until the next is due. Send may wait.
func (p *pacer) run(send func(due time.Duration) error, flush func() error) error {
	tooLate := p.end + p.end/grace
	for p.due < p.end {
		now := time.Since(p.start)
		if now >= tooLate {
			return nil
		}
		for n := 1; p.due <= now && p.due < p.end; n++ {
			if err := send(p.due); err != nil {
				return err
			}
			p.advance()
			if n%clockEvery == 0 && time.Since(p.start) >= tooLate {
				break
			}
		}
		if err := flush(); err != nil {
			return err
		}
		if err := p.alarm.sleep(max(p.due-time.Since(p.start), shortestPause)); err != nil {
			return err
		}
	}
	return nil
}

// countRest counts what was due and not sent with the least that its latency can be.
func (p *pacer) countRest(missed *latency.Histogram) {
	for ; p.due < p.end; p.advance() {
		missed.Add(p.end - p.due)
	}
}
