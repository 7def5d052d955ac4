package netio

import (
	"context"
	"net"
	"testing"
	"time"
)

// What a Map does where there is no room, or where its gateway is replaced under it.

// Slots that others hold for long do not keep a Map waiting whose frames are as large as the window.
func TestMapBatchBesideLongCall(t *testing.T) {
	g := startGateway(t, GatewayConfig{Window: 8})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
	long, cancel := context.WithCancel(testContext(t))
	held := s.Go(long, "wait", nil)
	eventually(t, "the long call is there", func() bool { return g.Stats().Tasks == 1 })
	n := 0
	for r, err := range s.Map(testContext(t), "echo", repeat(16), &MapOptions{Batch: 8}) {
		if err != nil {
			t.Errorf("item %d: %v", r.Index, err)
		}
		n++
	}
	if n != 16 {
		t.Errorf("%d results", n)
	}
	cancel()
	<-held.Done()
}

// An item's own wait for room is not part of its timeout.
func TestMapTimeoutLeavesWaitOut(t *testing.T) {
	g := startGateway(t, GatewayConfig{Window: 1})
	g.HandleCall("slow", func(context.Context, []byte) ([]byte, error) {
		time.Sleep(300 * time.Millisecond)
		return nil, nil
	})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
	for r, err := range s.Map(testContext(t), "slow", repeat(4), &MapOptions{Timeout: 500 * time.Millisecond}) {
		if err != nil {
			t.Errorf("item %d after %v: %v", r.Index, r.Elapsed, err)
		}
	}
}

// A cancel that a gateway did not take before it was replaced holds for its successor.
func TestMapCancelOutlivesGateway(t *testing.T) {
	r := startDynasty(t, func(*Gateway) {})
	p := startProxy(t, r.proxy.url())
	s := dial(t, p.url(), &SwarmConfig{Connections: 1, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond, OnRestart: RestartRetry})
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	done := make(chan error, 1)
	go func() {
		var last error
		for _, err := range s.Map(ctx, "wait", repeat(1), nil) {
			last = err
		}
		done <- last
	}()
	eventually(t, "it is in flight", func() bool { return s.lanes[0].inflight.Load() == 1 })
	p.set(func(p *proxy) { p.silent = true })
	cancel()
	eventually(t, "it is cancelled", func() bool {
		l := s.lanes[0]
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.slots[0].request.cancelled
	})
	r.next()
	p.cut()
	p.set(func(p *proxy) { p.silent = false })
	if err := within(t, "the map ends", done); StatusOf(err) != StatusLost {
		t.Errorf("it ended with %v", err)
	}
}

// deadlineAlone is a context that ends for others and not for who waits for it.
type deadlineAlone struct {
	context.Context
	at time.Time
}

func (d deadlineAlone) Deadline() (time.Time, bool) { return d.at, true }

// A task given up for its deadline leaves nothing of its caller's in the slot, which stays until the gateway's answer.
func TestOverdueCallLeavesItsSlot(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	p := startProxy(t, g.URLs()[0])
	s := dial(t, p.url(), &SwarmConfig{Connections: 1, Heartbeat: time.Minute})
	p.set(func(p *proxy) { p.silent = true })
	if _, err := s.Call(deadlineAlone{testContext(t), time.Now().Add(20 * time.Millisecond)}, "wait", nil); StatusOf(err) != StatusTimeout {
		t.Fatal(err)
	}
	l := s.lanes[0]
	l.mu.Lock()
	if l.deadlines != 0 || l.slots[0].request != &nobody || l.slots[0].sink != nil {
		t.Errorf("%d deadlines, slot %+v", l.deadlines, l.slots[0])
	}
	l.mu.Unlock()
	p.set(func(p *proxy) { p.silent = false })
	eventually(t, "the gateway's answer frees it", func() bool { return l.inflight.Load() == 0 })
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.deadlines != 0 || l.bodies != 0 || len(l.free) != len(l.slots) {
		t.Errorf("%d deadlines, %d bytes, %d of %d slots free", l.deadlines, l.bodies, len(l.free), len(l.slots))
	}
}

// A write on a link that is closed has written nothing, whatever the one before did.
func TestTryWriteAfterClose(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	k := newConnLink(conn)
	if n, err := k.tryWrite([][]byte{make([]byte, 100)}); n != 100 || err != nil {
		t.Fatal(n, err)
	}
	k.close()
	if n, err := k.tryWrite([][]byte{make([]byte, 10)}); n != 0 || err == nil {
		t.Errorf("%d bytes, %v", n, err)
	}
}
