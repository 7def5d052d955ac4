package main

import (
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"shoal/bench/internal/latency"
)

// dueTimes returns the schedule of sender i of n.
func dueTimes(t *testing.T, o offer, i, n int) (dues []time.Duration) {
	p, err := newPacer(o, load{Batch: 1}, time.Now(), i, n)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	for ; p.due < p.end; p.advance() {
		dues = append(dues, p.due)
	}
	return dues
}

func TestSchedule(t *testing.T) {
	o := offer{rate: 1e6, round: time.Second, seed: 7}
	dues := dueTimes(t, o, 1, 4)
	if n := len(dues); n < 245_000 || n > 255_000 {
		t.Errorf("%d messages in a second are a quarter of a million a second", n)
	}
	long := 0
	for i := range dues[1:] {
		if dues[i+1]-dues[i] > 4*time.Microsecond {
			long++
		}
	}
	if part := float64(long) / float64(len(dues)); part < 0.35 || part > 0.39 {
		t.Errorf("%.3f of the gaps are longer than the mean: not exponential", part)
	}
	if !slices.Equal(dues, dueTimes(t, o, 1, 4)) || slices.Equal(dues, dueTimes(t, o, 2, 4)) {
		t.Error("the schedule does not follow from the seed and the sender")
	}
}

// TestPacer: what a sender that is too slow has not sent is counted with its wait.
func TestPacer(t *testing.T) {
	o := offer{rate: 10_000, round: 100 * time.Millisecond}
	p, err := newPacer(o, load{Batch: 1}, time.Now(), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	sent := 0
	slow := func(time.Duration) error {
		sent++
		time.Sleep(time.Millisecond)
		return nil
	}
	flush := func() error { return nil }
	if err := p.run(slow, flush); err != nil {
		t.Fatal(err)
	}
	var missed latency.Histogram
	p.countRest(&missed)
	if all := sent + missed.N; sent > 200 || all != len(dueTimes(t, o, 0, 1)) {
		t.Errorf("sent %d, missed %d", sent, missed.N)
	}
	if missed.Quantile(0.99) < 50e3 {
		t.Errorf("p99 of what was missed: %.0f µs", missed.Quantile(0.99))
	}

	p2, err := newPacer(o, load{Batch: 1}, time.Now(), 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer p2.close()
	if err := p2.run(func(time.Duration) error { return errStopped }, flush); !errors.Is(err, errStopped) {
		t.Error("a failed send gave", err)
	}
}

func TestOpenReport(t *testing.T) {
	at := func(name string, answered, p99 float64) result {
		return result{peer: peer{name: name}, rounds: []sample{{answered: answered, p50: 10, p99: p99}}}
	}
	l := ladder{load: load{Open: "x", Headline: "shoal-map"}, against: "grpc-unary", rungs: []rung{
		{1000, []result{at("shoal-map", 1, 100), at("floor", 1, 90), at("grpc-unary", 1, 400), at("nats", 0.5, 300)}},
		{2000, []result{at("shoal-map", 1, 200), at("floor", 1, 90), at("grpc-unary", 0.9, 123456)}},
	}}
	var b strings.Builder
	l.print(&b)
	printHalves(&b, []ladder{l})
	for _, want := range []string{
		"| tasks/s offered | 1.0k | 2.0k |", "| **shoal-map** | 10 / 100 | 10 / 200 |", "| grpc-unary | 10 / 400 | 10 / 123000, 90 % |",
		"| nats | 10 / 300, 50 % | – |", "| x: 1.0k tasks/s, half of grpc-unary's |", "the lowest of the peers, grpc-unary's: 0.25",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
	if keepsUp(at("x", 0.94, 1)) || keepsUp(at("x", 1, 100_001)) || !keepsUp(at("x", 0.95, 100_000)) {
		t.Error("who keeps up")
	}
}

func TestChunkReader(t *testing.T) {
	chunk := make([]byte, chunkSize)
	read := func(idents ...uint64) (more bool) {
		r := chunkReader{stop: new(atomic.Bool)}
		for _, ident := range idents {
			putIdent(chunk, ident)
			if more = r.take(chunk); !more {
				return false
			}
		}
		return more
	}
	if !read(5, 6, 7) || read(5, 7) || read(5, 5) {
		t.Error("chunks are not checked to be one after another")
	}
}
