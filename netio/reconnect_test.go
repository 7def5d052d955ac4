package netio

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// quick is a swarm that comes back soon and gives up late.
func quick(connections int) *SwarmConfig {
	return &SwarmConfig{Connections: connections, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond}
}

func TestReconnectCallRunsOnce(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	held := newGate(t)
	g.HandleCall("held", held.pass)
	p := startProxy(t, g.URLs()[0])
	s := dial(t, p.url(), quick(1))
	call := s.Go(testContext(t), "held", nil)
	within(t, "the call runs", held.arrived)
	for range 3 {
		p.cut()
		eventually(t, "the connection is back", func() bool { return s.Connected() == 1 && s.Ping(testContext(t), nil)[0].Err == nil })
	}
	p.set(func(p *proxy) { p.refuse = true })
	p.cut()
	eventually(t, "the connection is away", func() bool { return s.Connected() == 0 })
	held.release()
	eventually(t, "the answer is there, and nobody to take it", func() bool { return g.Stats().Running == 0 })
	p.set(func(p *proxy) { p.refuse = false })
	if out, err := call.Result(); err != nil || string(out) != "through" {
		t.Errorf("%q, %v", out, err)
	}
	if n := len(held.arrived); n != 0 {
		t.Errorf("it ran %d times more", n)
	}
}

// Connections die again and again, at any byte; every call is answered and ran exactly once.
func TestReconnectManyCutsEachCallRunsOnce(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	const n = 3000
	ran := make([]atomic.Int32, n)
	g.HandleCall("count", func(_ context.Context, in []byte) ([]byte, error) {
		var i int
		_, _ = fmt.Sscan(string(in), &i)
		ran[i].Add(1)
		return append(in, make([]byte, i%500)...), nil
	})
	p := startProxy(t, g.URLs()[0])
	s := dial(t, p.url(), quick(2))
	ctx, stop := context.WithCancel(testContext(t))
	defer stop()
	var cutter sync.WaitGroup
	cutter.Go(func() {
		for i := 1; ctx.Err() == nil; i++ {
			p.set(func(p *proxy) { p.cutAfter = 1 + i*7919%20_000 })
			time.Sleep(2 * time.Millisecond)
		}
	})
	answered := 0
	for r, err := range s.Map(testContext(t), "count", repeat(n), &MapOptions{Batch: 5, InFlight: 200}) {
		want := fmt.Sprint(r.Index)
		if err != nil || len(r.Body) != len(want)+r.Index%500 || string(r.Body[:len(want)]) != want {
			t.Fatalf("%d: %d bytes, %v", r.Index, len(r.Body), err)
		}
		answered++
	}
	stop()
	cutter.Wait()
	for i := range ran {
		if times := ran[i].Load(); times != 1 {
			t.Errorf("task %d ran %d times", i, times)
		}
	}
	p.set(func(p *proxy) {
		if p.cutAfter = 0; answered != n || p.accepted < 4 {
			t.Errorf("%d answers, %d connections", answered, p.accepted)
		}
	})
}

// restartable is a proxy whose gateway can be replaced by its next life.
func restartable(t *testing.T) (*Gateway, *proxy, func(c GatewayConfig, setup ...func(*Gateway))) {
	g := startGateway(t, GatewayConfig{})
	p := startProxy(t, g.URLs()[0])
	return g, p, func(c GatewayConfig, setup ...func(*Gateway)) {
		next := startGateway(t, c)
		for _, f := range setup {
			f(next)
		}
		p.set(func(p *proxy) { p.target = next.URLs()[0][len("tcp://"):] })
		p.cut()
	}
}

func TestReconnectGatewayRestart(t *testing.T) {
	for _, policy := range []RestartPolicy{RestartReport, RestartRetry} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			old, p, restart := restartable(t)
			held := newGate(t)
			old.HandleCall("job", held.pass)
			c := quick(1)
			c.OnRestart = policy
			s := dial(t, p.url(), c)
			call := s.Go(testContext(t), "job", []byte("x"))
			within(t, "the call runs", held.arrived)
			next := newGate(t)
			next.release()
			restart(GatewayConfig{}, func(g *Gateway) { g.HandleCall("job", next.pass) })
			out, err := call.Result()
			switch policy {
			case RestartReport:
				if !errors.Is(err, ErrLost) || len(next.arrived) != 0 {
					t.Errorf("%q, %v; ran %d times more", out, err, len(next.arrived))
				}
			case RestartRetry:
				if err != nil || string(out) != "through" || len(next.arrived) != 1 {
					t.Errorf("%q, %v; ran %d times more", out, err, len(next.arrived))
				}
			}
			if out, err := s.Call(testContext(t), "echo", []byte("goes on")); err != nil || string(out) != "goes on" {
				t.Errorf("%q, %v", out, err)
			}
		})
	}
}

func TestReconnectToGatewayWithSmallerLimits(t *testing.T) {
	old, p, restart := restartable(t)
	held := newGate(t)
	old.HandleCall("echo", held.pass)
	c := quick(1)
	c.OnRestart = RestartRetry
	s := dial(t, p.url(), c)
	var calls []*Pending
	for range 10 {
		calls = append(calls, s.Go(testContext(t), "echo", []byte("x")))
	}
	large := s.Go(testContext(t), "echo", make([]byte, 10_000))
	for range 11 {
		within(t, "all run", held.arrived)
	}
	restart(GatewayConfig{Window: 4, FrameLimit: 4096})
	ok := 0
	for _, c := range calls {
		switch _, err := c.Result(); {
		case err == nil:
			ok++
		case !errors.Is(err, ErrBusy):
			t.Errorf("error is %v", err)
		}
	}
	if _, err := large.Result(); !errors.Is(err, ErrTooLarge) {
		t.Errorf("the large one: %v", err)
	}
	if ok == 0 {
		t.Error("none was run again")
	}
}

func TestReconnectNoSession(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	p := startProxy(t, g.URLs()[0])
	c := quick(1)
	c.NoSession = true
	s := dial(t, p.url(), c)
	call := s.Go(testContext(t), "wait", nil)
	eventually(t, "the call runs", func() bool { return g.Stats().Running == 1 })
	p.cut()
	if _, err := call.Result(); !errors.Is(err, ErrLost) {
		t.Errorf("error is %v", err)
	}
	eventually(t, "the gateway cancels it", func() bool { return g.Stats().Running == 0 })
	if _, err := s.Call(testContext(t), "echo", nil); err != nil {
		t.Error(err)
	}
}

func TestReconnectGivesUp(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	p := startProxy(t, g.URLs()[0])
	c := quick(2)
	c.GiveUp = 30 * time.Millisecond
	s := dial(t, p.url(), c)
	call := s.Go(testContext(t), "wait", nil)
	eventually(t, "the call runs", func() bool { return g.Stats().Running == 1 })
	p.set(func(p *proxy) { p.refuse = true })
	p.cut()
	if _, err := call.Result(); !errors.Is(err, ErrLost) {
		t.Errorf("under way: %v", err)
	}
	eventually(t, "both connections are given up", func() bool {
		_, err := s.Call(testContext(t), "echo", nil)
		return errors.Is(err, ErrUnreachable)
	})
	for _, err := range s.Stream(testContext(t), "echo", nil) {
		if !errors.Is(err, ErrUnreachable) {
			t.Errorf("a stream: %v", err)
		}
	}
	p.set(func(p *proxy) { p.refuse = false })
	eventually(t, "it comes back all the same", func() bool {
		_, err := s.Call(testContext(t), "echo", nil)
		return err == nil
	})
}

func TestReconnectSessionExpires(t *testing.T) {
	g := startGateway(t, GatewayConfig{SessionTimeout: 30 * time.Millisecond})
	p := startProxy(t, g.URLs()[0])
	s := dial(t, p.url(), quick(1))
	call := s.Go(testContext(t), "wait", nil)
	eventually(t, "the call runs", func() bool { return g.Stats().Running == 1 })
	p.set(func(p *proxy) { p.refuse = true })
	p.cut()
	eventually(t, "the gateway forgets the session", func() bool { st := g.Stats(); return st.Handlers == 0 && st.Running == 0 })
	p.set(func(p *proxy) { p.refuse = false })
	if _, err := call.Result(); !errors.Is(err, ErrLost) {
		t.Errorf("error is %v", err)
	}
}

func TestReconnectHeartbeatFindsDeadPeer(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	g.HandleStream("flood", func(_ context.Context, _ []byte, out *Stream) error {
		for i := int64(0); ; i++ {
			if err := out.Send(i, make([]byte, 1000)); err != nil {
				return err
			}
		}
	})
	p := startProxy(t, g.URLs()[0])
	c := quick(1)
	c.Heartbeat = 100 * time.Millisecond
	s := dial(t, p.url(), c)
	st, err := s.OpenStream(testContext(t), "flood", nil) // blocked on credit all the time: nobody reads it
	if err != nil {
		t.Fatal(err)
	}
	defer st.Abort()
	call := s.Go(testContext(t), "wait", nil)
	eventually(t, "the call runs", func() bool { return g.Stats().Running == 1 })
	quiet := time.Now()
	eventually(t, "some heartbeats have passed", func() bool { return time.Since(quiet) > 500*time.Millisecond })
	p.set(func(p *proxy) {
		if p.accepted != 1 {
			t.Errorf("%d connections, though pings are answered", p.accepted)
		}
		p.silent = true
	})
	eventually(t, "the dead connection is given up", func() bool { return s.Connected() == 0 })
	if d := time.Since(quiet); d > 10*time.Second {
		t.Errorf("found after %v", d)
	}
	p.cut()
	p.set(func(p *proxy) { p.silent = false })
	eventually(t, "there is a new one", func() bool { return s.Connected() == 1 })
	if err := call.early(); err != nil {
		t.Errorf("the call ended with it: %v", err)
	}
	if _, err := s.Call(testContext(t), "echo", nil); err != nil {
		t.Error(err)
	}
}

// early returns the error of a call that has ended, nil if it goes on.
func (p *Pending) early() error {
	select {
	case <-p.Done():
		_, err := p.Result()
		return fmt.Errorf("ended: %w", err)
	default:
		return nil
	}
}

func TestReconnectDeadlineWhileAway(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	p := startProxy(t, g.URLs()[0])
	s := dial(t, p.url(), quick(1))
	p.set(func(p *proxy) { p.refuse = true })
	p.cut()
	eventually(t, "the connection is away", func() bool { return s.Connected() == 0 })
	n := 0
	for _, err := range s.Map(testContext(t), "echo", repeat(3), &MapOptions{Timeout: 10 * time.Millisecond}) {
		if !errors.Is(err, ErrTimeout) {
			t.Errorf("error is %v", err)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d answers", n)
	}
}
