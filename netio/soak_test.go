package netio

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"flag"
	"fmt"
	"hash/crc32"
	"io"
	"iter"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// soak makes the tests of this file run their long form: go test ./netio -run Soak -soak -timeout 30m. That is a million
// tasks over 8 connections with a cut every 50 ms; the short form has a few thousand and a cut every few milliseconds.
var (
	soak     = flag.Bool("soak", false, "run the long form of the soak tests")
	soakSeed = flag.Uint64("soak.seed", 0, "seed of the soak tests' faults; 0: any")
)

func seed(t testing.TB) uint64 {
	s := *soakSeed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("seed %d (-soak.seed)", s)
	return s
}

// ledger counts how often each task ran and was answered.
type ledger struct{ ran, answered []atomic.Int32 }

func newLedger(n int) *ledger { return &ledger{make([]atomic.Int32, n), make([]atomic.Int32, n)} }

// run is the checking subroutine.
func (l *ledger) run(_ context.Context, in []byte) ([]byte, error) {
	l.ran[binary.LittleEndian.Uint64(in)].Add(1)
	return in, nil
}

// items yields the tasks, each its own number.
func (l *ledger) items(yield func([]byte) bool) {
	for i := range l.ran {
		if !yield(binary.LittleEndian.AppendUint64(nil, uint64(i))) {
			return
		}
	}
}

// take records the results of a map over items.
func (l *ledger) take(t testing.TB, results iter.Seq2[Result, error]) {
	t.Helper()
	for r, err := range results {
		if err != nil {
			t.Fatalf("task %d: %v", r.Index, err)
		}
		if binary.LittleEndian.Uint64(r.Body) != uint64(r.Index) {
			t.Fatalf("task %d got the answer of another: %x", r.Index, r.Body)
		}
		l.answered[r.Index].Add(1)
	}
}

// check asserts the promise: each answered once, each run once (or at least once, where the gateway was restarted hard).
func (l *ledger) check(t testing.TB, mayRunAgain bool) {
	t.Helper()
	bad := 0
	for i := range l.ran {
		ran, answered := l.ran[i].Load(), l.answered[i].Load()
		if answered != 1 || ran < 1 || ran > 1 && !mayRunAgain {
			if bad++; bad <= 5 {
				t.Errorf("task %d ran %d times and was answered %d times", i, ran, answered)
			}
		}
	}
	if bad > 5 {
		t.Errorf("and %d more", bad-5)
	}
}

// soakRate runs n tasks over 8 connections through a proxy, again and again until so many faults have happened, and
// returns tasks a second.
func soakRate(t testing.TB, n, faults int, plan faultPlan, c SwarmConfig) float64 {
	g := startGateway(t, GatewayConfig{})
	p := startFaultProxy(t, g.URLs()[0], plan)
	c.Connections = 8
	s := dialTorn(t, p, c)
	total, start := 0, time.Now()
	soakUntil(p, faults, func() {
		l := newLedger(n)
		g.HandleCall("count", l.run)
		l.take(t, s.Map(context.Background(), "count", l.items, &MapOptions{Batch: 16, InFlight: 16 << 10}))
		l.check(t, false)
		total += n
	})
	rate := float64(total) / time.Since(start).Seconds()
	t.Logf("%d tasks, %.0f tasks/s, faults %v", total, rate, p.count())
	_ = s.Close()
	p.close()
	_ = g.Close()
	return rate
}

func TestSoakCuts(t *testing.T) {
	if !*soak {
		plan := faultPlan{seed: seed(t), every: 3 * time.Millisecond, faults: []fault{cut}}
		soakRate(t, 30_000, 60, plan, SwarmConfig{MinBackoff: time.Millisecond})
		return
	}
	const n = 1_000_000
	plain := soakRate(t, n, 0, faultPlan{seed: 1}, SwarmConfig{})
	torn := soakRate(t, n, 100, faultPlan{seed: seed(t), every: 50 * time.Millisecond, faults: []fault{cut}}, SwarmConfig{})
	if torn < plain/2 {
		t.Errorf("%.0f tasks/s with cuts, less than half of %.0f without", torn, plain)
	}
}

// Every kind of fault, bytes in odd pieces, and late.
func TestSoakEveryFault(t *testing.T) {
	n := 8_000
	if *soak {
		n = 300_000
	}
	for range 2 {
		soakRate(t, n, 60, faultPlan{seed: seed(t), every: 4 * time.Millisecond, faults: everyFault, split: true,
			delay: 200 * time.Microsecond, stall: 50 * time.Millisecond},
			SwarmConfig{MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond, Compress: CompressS2})
	}
}

// A hello that is stuck for longer than the client waits for its welcome is overtaken by the next.
func TestSoakStuckHandshakes(t *testing.T) {
	n := 5_000
	if *soak {
		n = 200_000
	}
	soakRate(t, n, 60, faultPlan{seed: seed(t), every: 3 * time.Millisecond, faults: []fault{cut, stall},
		delay: 8 * time.Millisecond, stall: 30 * time.Millisecond},
		SwarmConfig{MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond, DialTimeout: 15 * time.Millisecond})
}

// streamFaults is what streams are put through.
func streamFaults(t testing.TB) faultPlan {
	return faultPlan{seed: seed(t), every: 4 * time.Millisecond, faults: everyFault, split: true, stall: 20 * time.Millisecond}
}

func soakBytes() int {
	if *soak {
		return 256 << 20
	}
	return 4 << 20
}

func startTorn(t testing.TB, g *Gateway) (*Swarm, *faultProxy) {
	p := startFaultProxy(t, g.URLs()[0], streamFaults(t))
	return dialTorn(t, p, SwarmConfig{MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond}), p
}

// dialTorn is dial for a way on which the first try may fail.
func dialTorn(t testing.TB, p *faultProxy, c SwarmConfig) *Swarm {
	t.Helper()
	c.Wait = patience
	s, err := Dial(testContext(t), p.url(), &c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// soakUntil repeats a body until enough faults have happened to it.
func soakUntil(p *faultProxy, faults int, body func()) {
	for body(); p.faults() < faults; {
		body()
	}
}

func TestSoakStreams(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	g.HandleStream("feed", func(_ context.Context, in []byte, out *Stream) error {
		_, err := io.Copy(out.Writer(), &pattern{n: int(binary.LittleEndian.Uint64(in))})
		return err
	})
	s, p := startTorn(t, g)
	n := soakBytes() / 4
	soakUntil(p, 20, func() {
		var streams sync.WaitGroup
		for range 4 {
			streams.Go(func() {
				at, next := 0, int64(0)
				for c, err := range s.Stream(testContext(t), "feed", binary.LittleEndian.AppendUint64(nil, uint64(n))) {
					if err != nil || c.Ident != next {
						t.Errorf("ident %d, want %d: %v", c.Ident, next, err)
						return
					}
					next++
					want := make([]byte, len(c.Body))
					_, _ = io.ReadFull(&pattern{at: at, n: n}, want)
					if !bytes.Equal(c.Body, want) {
						t.Errorf("chunk %d at byte %d differs", c.Ident, at)
						return
					}
					at += len(c.Body)
				}
				if at != n {
					t.Errorf("%d bytes, want %d", at, n)
				}
			})
		}
		streams.Wait()
	})
	t.Logf("faults %v", p.count())
}

func TestSoakSends(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	g.HandleSend("sum", func(_ context.Context, _ []byte, body io.Reader) ([]byte, error) {
		h := crc32.NewIEEE()
		n, err := io.Copy(h, body)
		return fmt.Appendf(nil, "%d %08x", n, h.Sum32()), err
	})
	s, p := startTorn(t, g)
	n := soakBytes()
	h := crc32.NewIEEE()
	_, _ = io.Copy(h, &pattern{n: n})
	want := fmt.Sprintf("%d %08x", n, h.Sum32())
	soakUntil(p, 20, func() {
		got, err := s.Send(testContext(t), "sum", nil, &pattern{n: n})
		if err != nil || string(got) != want {
			t.Fatalf("%s, want %s: %v", got, want, err)
		}
	})
	t.Logf("faults %v", p.count())
}

func TestSoakDuplex(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	g.HandleDuplex("mirror", func(_ context.Context, _ []byte, s *Stream) error {
		for {
			ident, body, err := s.Recv()
			if err == io.EOF {
				return nil
			}
			if err == nil {
				err = s.Send(ident, body)
			}
			if err != nil {
				return err
			}
		}
	})
	s, p := startTorn(t, g)
	n := soakBytes() / 2
	soakUntil(p, 20, func() {
		st, err := s.Duplex(testContext(t), "mirror", nil)
		if err != nil {
			t.Fatal(err)
		}
		sent := make(chan error, 1)
		go func() {
			_, err := io.Copy(st.Writer(), &pattern{n: n})
			st.CloseSend()
			sent <- err
		}()
		got, err := io.ReadAll(st.Reader())
		if err := errors.Join(err, <-sent); err != nil {
			t.Fatal(err)
		}
		want, _ := io.ReadAll(&pattern{n: n})
		if !bytes.Equal(got, want) {
			t.Fatalf("%d bytes came back changed, %d were sent", len(got), len(want))
		}
	})
	t.Logf("faults %v", p.count())
}
