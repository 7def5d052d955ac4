package probe

import (
	"math"
	"testing"
	"time"
)

// FuzzPacer holds the pacer against a small model: a leaky bucket that knows the ceiling, a count of what is in flight, and
// what may raise or lower the rate. Each byte is an operation.
func FuzzPacer(f *testing.F) {
	f.Add(uint16(100), uint8(4), []byte{0, 0, 0, 1, 2, 200, 0, 0, 3, 4, 5, 220, 0, 0, 6, 250, 250, 0})
	f.Add(uint16(0), uint8(0), []byte{0, 4, 0, 5, 0, 5, 0, 5, 250, 0})
	f.Add(uint16(5000), uint8(200), []byte{0, 0, 0, 0, 0, 0, 0, 0, 240, 6, 6, 6, 6, 0, 255, 1, 1, 3, 3, 3, 3, 3})
	f.Fuzz(func(t *testing.T, ceiling uint16, fanout uint8, ops []byte) {
		m := &pacerModel{t: t, ceiling: float64(ceiling), fanout: int(fanout) + 1}
		m.p = newPacer(m.ceiling, m.fanout, 2*time.Second)
		for _, op := range ops[:min(len(ops), 2000)] {
			m.step(op)
		}
		m.mustStart()
	})
}

// pacerModel knows what the pacer may do.
type pacerModel struct {
	t        *testing.T
	p        *pacer
	ceiling  float64
	fanout   int
	now      time.Duration
	inFlight []pacedStart
	level    float64       // of a bucket that empties at the ceiling
	filled   time.Duration // when level held
	silent   int           // probes that have no answer
}

type pacedStart struct {
	at   time.Duration
	rate float64
}

func (m *pacerModel) step(op byte) {
	rate, sockets := m.p.rate, m.p.sockets
	mayFall := false
	switch {
	case op <= 1: // answers may be missing, which tells of loss
		mayFall = m.silent > 0
		m.tryStart()
	case op <= 3 && len(m.inFlight) > 0: // an answer to the oldest
		s := m.inFlight[0]
		m.inFlight = m.inFlight[1:]
		m.silent--
		mayFall = m.now-s.at >= m.p.lateAfter
		m.p.answer(m.now, s.at, s.rate, true)
	case op == 4:
		mayFall = true
		m.p.local(m.now, descriptors, len(m.inFlight))
	case op == 5:
		mayFall = true
		m.p.local(m.now, traffic, len(m.inFlight))
	case op == 6 && len(m.inFlight) > 0: // a time-out
		m.p.inDoubt(m.inFlight[0].at)
		m.inFlight = m.inFlight[1:]
	default:
		m.now += time.Duration(op) * time.Duration(op) * 20 * time.Microsecond
	}
	if !mayFall && (m.p.rate < rate || m.p.sockets < sockets) {
		m.t.Fatalf("operation %d lowered the rate from %v to %v, or the sockets from %v to %v", op, rate, m.p.rate, sockets, m.p.sockets)
	}
	if m.p.rate < m.p.floor || m.ceiling > 0 && m.p.rate > m.ceiling || math.IsNaN(m.p.rate) {
		m.t.Fatalf("rate %v, ceiling %v", m.p.rate, m.ceiling)
	}
	if m.p.sockets < 1 || m.p.sockets > float64(m.fanout) {
		m.t.Fatalf("%v sockets, %d allowed", m.p.sockets, m.fanout)
	}
}

// tryStart starts a probe where the pacer lets it, and returns how long it is to wait otherwise.
func (m *pacerModel) tryStart() time.Duration {
	if wait := m.p.allow(m.now, len(m.inFlight)); wait != 0 {
		if wait < 0 || wait == waitForEnd && len(m.inFlight) < 1 {
			m.t.Fatalf("a wait of %v with %d in flight", wait, len(m.inFlight))
		}
		return wait
	}
	m.silent++
	m.inFlight = append(m.inFlight, pacedStart{m.now, m.p.started(true)})
	if len(m.inFlight) > m.fanout {
		m.t.Fatalf("%d in flight, %d allowed", len(m.inFlight), m.fanout)
	}
	if m.ceiling > 0 {
		m.level = max(0, m.level-m.ceiling*(m.now-m.filled).Seconds()) + 1
		m.filled = m.now
		if most := max(1, m.ceiling*bucketTime.Seconds()); m.level > most+0.001 {
			m.t.Fatalf("%v starts more than %v a second allows", m.level, m.ceiling)
		}
	}
	return 0
}

// mustStart checks that, whatever went before, a probe starts once those under way have ended and the waits are over.
func (m *pacerModel) mustStart() {
	m.inFlight = nil
	for range 100 {
		wait := m.tryStart()
		if wait == 0 {
			return
		}
		m.now += wait
	}
	m.t.Fatal("nothing starts any more")
}
