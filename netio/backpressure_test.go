package netio

import (
	"context"
	"errors"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestSwarmBackPressure(t *testing.T) {
	g := startGateway(t, GatewayConfig{Window: 4})
	held := newGate(t)
	g.HandleCall("held", held.pass)
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 2})
	var calls []*Pending
	for range 50 {
		calls = append(calls, s.Go(testContext(t), "held", nil))
	}
	for range 8 {
		within(t, "both windows fill", held.arrived)
	}
	eventually(t, "the others wait for a slot", func() bool { return s.waiting.Load() == 42 })
	if n := g.Stats().Tasks; n != 8 {
		t.Errorf("%d tasks were sent", n)
	}
	ctx, cancel := context.WithTimeout(testContext(t), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Call(ctx, "held", nil); !errors.Is(err, ErrTimeout) {
		t.Errorf("waiting for a slot until the deadline: %v", err)
	}
	held.release()
	for _, c := range calls {
		if out, err := c.Result(); err != nil || string(out) != "through" {
			t.Errorf("%q, %v", out, err)
		}
	}
}

func TestSwarmWindowBytes(t *testing.T) {
	g := startGateway(t, GatewayConfig{WindowBytes: 1000})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			if out, err := s.Call(testContext(t), "echo", make([]byte, 400)); err != nil || len(out) != 400 {
				t.Errorf("%d bytes, %v", len(out), err)
			}
		})
	}
	all.Wait()
	if _, err := s.Call(testContext(t), "echo", make([]byte, 1001)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a task above the window: %v", err)
	}
	if out, err := s.Call(testContext(t), "echo", make([]byte, 1000)); err != nil || len(out) != 1000 {
		t.Errorf("a task as large as the window: %d bytes, %v", len(out), err)
	}
}

// Callers that wait for a slot wait, and do not look again and again, while another connection is away.
func TestSwarmWaitsWithoutSpinning(t *testing.T) {
	g := startGateway(t, GatewayConfig{Window: 1})
	held := newGate(t)
	g.HandleCall("held", held.pass)
	p := startProxy(t, g.URLs()[0])
	s := dial(t, p.url(), quick(2))
	p.set(func(p *proxy) { p.refuse = true })
	s.lanes[1].mu.Lock()
	s.lanes[1].link.closeWrite()
	s.lanes[1].mu.Unlock()
	eventually(t, "one connection is away", func() bool { return s.Connected() == 1 })
	calls := []*Pending{s.Go(testContext(t), "held", nil), s.Go(testContext(t), "held", nil)}
	within(t, "one runs", held.arrived)
	eventually(t, "the other waits", func() bool { return s.waiting.Load() == 1 })
	before, start := cpuTime(t), time.Now()
	eventually(t, "some time has passed", func() bool { return time.Since(start) > 200*time.Millisecond })
	if used := cpuTime(t) - before; used > 150*time.Millisecond {
		t.Errorf("%v of CPU in %v", used, time.Since(start))
	}
	held.release()
	for _, c := range calls {
		if _, err := c.Result(); err != nil {
			t.Error(err)
		}
	}
}

// cpuTime returns what the process has used.
func cpuTime(t *testing.T) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Skip(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// A connection that was never welcome takes no tasks: nobody knows what its gateway would take.
func TestSwarmConnectionThatNeverWas(t *testing.T) {
	g := startGateway(t, GatewayConfig{Window: 4})
	p := startProxy(t, g.URLs()[0])
	checkLeaks(t)
	s, err := Dial(testContext(t), p.url(), quick(1))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	never := &swarmLane{swarm: s, index: 1, firstTry: make(chan error, 1)}
	never.lane.init(never, s.config.FrameLimit, s.config.SendBuffer, false)
	s.lanes = append(s.lanes, never) // as if its dial took for ever
	p.set(func(p *proxy) { p.refuse = true })
	p.cut()
	eventually(t, "the other is away", func() bool { return s.Connected() == 0 })
	var calls []*Pending
	for range 8 {
		calls = append(calls, s.Go(testContext(t), "echo", make([]byte, 10_000)))
	}
	ctx, cancel := context.WithTimeout(testContext(t), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Call(ctx, "echo", nil); !errors.Is(err, ErrTimeout) {
		t.Errorf("while away: %v", err)
	}
	p.set(func(p *proxy) { p.refuse = false })
	for _, c := range calls {
		if out, err := c.Result(); err != nil || len(out) != 10_000 {
			t.Errorf("%d bytes, %v", len(out), err)
		}
	}
}
