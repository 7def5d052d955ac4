package probe

import (
	"container/heap"
	"math/rand/v2"
	"testing"
	"time"
)

// narrowWay is a way that carries so many SYNs a second and drops the others, which the system sends again after 1 and 3
// seconds. Time is counted, not waited for.
type narrowWay struct {
	limit, burst float64
	silent       float64 // share of the probes that nobody answers
	rtt, timeout time.Duration

	pace     *pacer
	now      time.Duration
	tokens   float64
	filled   time.Duration
	inFlight int
	events   wayEvents
	random   *rand.Rand
	filtered int // told so although somebody would have answered
}

type wayEvent struct {
	at   time.Duration
	kind int // sent, answered, ended
	*wayProbe
}

type wayProbe struct {
	startedAt    time.Duration
	rate         float64
	silent, done bool
	losses       int
}

const (
	waySent = iota
	wayAnswered
	wayEnded
)

type wayEvents []wayEvent

func (h wayEvents) Len() int           { return len(h) }
func (h wayEvents) Less(i, j int) bool { return h[i].at < h[j].at }
func (h wayEvents) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *wayEvents) Push(x any)        { *h = append(*h, x.(wayEvent)) }
func (h *wayEvents) Pop() any {
	last := len(*h) - 1
	e := (*h)[last]
	*h = (*h)[:last]
	return e
}

// scan makes n probes, and returns how long that takes.
func (w *narrowWay) scan(n, fanout int, ceiling float64, fixed bool) time.Duration {
	w.pace, w.random, w.tokens = newPacer(ceiling, fanout, w.timeout), rand.New(rand.NewPCG(1, 2)), w.burst
	if fixed {
		w.pace.fixed()
	}
	again := []*wayProbe{}
	for left := n; left > 0 || len(w.events) > 0 || len(again) > 0; {
		wait := waitForEnd
		for left > 0 || len(again) > 0 {
			if wait = w.pace.allow(w.now, w.inFlight); wait > 0 {
				break
			}
			p := &wayProbe{silent: w.random.Float64() < w.silent}
			if len(again) > 0 {
				p, again = again[0], again[1:]
			} else {
				left--
			}
			w.start(p)
		}
		if len(w.events) == 0 || wait != waitForEnd && w.now+wait < w.events[0].at {
			w.now += wait
			continue
		}
		e := heap.Pop(&w.events).(wayEvent)
		w.now = max(w.now, e.at)
		if p := w.take(e); p != nil {
			again = append(again, p)
		}
	}
	return w.now
}

func (w *narrowWay) start(p *wayProbe) {
	w.inFlight++
	p.startedAt, p.rate, p.done = w.now, w.pace.started(p.losses == 0), false
	for _, after := range []time.Duration{0, time.Second, 3 * time.Second} {
		if after < w.timeout {
			jitter := time.Duration(w.random.IntN(4000)) * time.Microsecond
			heap.Push(&w.events, wayEvent{w.now + after + jitter, waySent, p})
		}
	}
	heap.Push(&w.events, wayEvent{w.now + w.timeout, wayEnded, p})
}

// take takes an event; a probe that it returns is made again. Events of the try before are told by their times.
func (w *narrowWay) take(e wayEvent) *wayProbe {
	p := e.wayProbe
	if p.done {
		return nil
	}
	switch e.kind {
	case waySent:
		w.tokens = min(w.burst, w.tokens+w.limit*(w.now-w.filled).Seconds())
		w.filled = w.now
		if w.tokens < 1 {
			return nil
		}
		w.tokens--
		if !p.silent {
			heap.Push(&w.events, wayEvent{w.now + w.rtt, wayAnswered, p})
		}
	case wayAnswered:
		p.done = true
		w.inFlight--
		w.pace.answer(w.now, p.startedAt, p.rate, p.losses == 0)
	case wayEnded:
		p.done = true
		w.inFlight--
		if p.losses++; p.losses <= maxDoubt && w.pace.inDoubt(p.startedAt) {
			return &wayProbe{silent: p.silent, losses: p.losses}
		}
		if !p.silent {
			w.filtered++
		}
	}
	return nil
}

// The adaptive rate comes near the best fixed one on ways of several widths, and takes no probe for filtered that was lost.
func TestPacerFindsTheWidthOfTheWay(t *testing.T) {
	for _, c := range []struct {
		limit, silent float64
		rtt           time.Duration
		probes        int
		ratio         float64 // of the speed at the best fixed rate, at least
	}{
		{500, 0, time.Millisecond, 10_000, 0.9},
		{500, 0.5, time.Millisecond, 10_000, 0.75},
		{500, 0, 150 * time.Millisecond, 10_000, 0.9},
		{3000, 0, 20 * time.Millisecond, 60_000, 0.88},
		{3000, 0.9, 20 * time.Millisecond, 60_000, 0.75},
		{100, 0, time.Millisecond, 3000, 0.9},
	} {
		way := narrowWay{limit: c.limit, burst: 50, silent: c.silent, rtt: c.rtt, timeout: 3 * time.Second}
		best, adaptive := way, way
		least := best.scan(c.probes, 20_000, c.limit, true)
		took := adaptive.scan(c.probes, 20_000, 50_000, false)
		ratio := float64(least) / float64(took)
		t.Logf("%+v: %v, at the best fixed rate %v: %.2f; %d lost", c, took, least, ratio, adaptive.filtered)
		if ratio < c.ratio {
			t.Errorf("%+v: %.2f of the best fixed rate", c, ratio)
		}
		if adaptive.filtered > c.probes/500 {
			t.Errorf("%+v: %d of %d are taken for filtered and are not", c, adaptive.filtered, c.probes)
		}
	}
}
