package netio

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"shoal/proto"
)

// A subroutine that does not return keeps its slot, which Stats shows, and a drain says which it was.
func TestSubroutineThatNeverReturns(t *testing.T) {
	g := startGateway(t, GatewayConfig{Workers: 4})
	stuck := newGate(t)
	defer stuck.release()
	g.HandleCall("stuck", stuck.pass)
	s := dial(t, g.URLs()[0], nil)
	ctx, cancel := context.WithTimeout(testContext(t), 30*time.Millisecond)
	defer cancel()
	if _, err := s.Call(ctx, "stuck", nil); !errors.Is(err, ErrTimeout) {
		t.Errorf("its caller gets %v", err)
	}
	go func() { _, _ = s.Call(testContext(t), "stuck", nil) }()
	within(t, "one", stuck.arrived)
	within(t, "two", stuck.arrived)
	if stats := g.Stats(); stats.Running < 2 {
		t.Errorf("%+v", stats)
	}
	if out, err := s.Call(testContext(t), "echo", []byte("others")); err != nil || string(out) != "others" {
		t.Errorf("the others: %q, %v", out, err)
	}
	err := shutdownCutShort(t, g)
	if !errors.Is(err, ErrStillRunning) || !errors.Is(err, context.DeadlineExceeded) ||
		!strings.HasSuffix(err.Error(), "do not return: 1 tasks that were cut off: stuck (1); 1 tasks of these, answered before their end: stuck") {
		t.Errorf("the drain says %v", err)
	}
}

func shutdownCutShort(t *testing.T, g *Gateway) error {
	ctx, stop := context.WithTimeout(testContext(t), 30*time.Millisecond)
	defer stop()
	return g.Shutdown(ctx)
}

// Only those are named that still run when the gateway has ended: not what was answered early once and has returned since,
// and not what returns when it is told to. A stream is no different from a task.
func TestOnlyWhatStillRunsIsNamed(t *testing.T) {
	g := startStreams(t, GatewayConfig{Workers: 4})
	stuck := newGate(t)
	defer stuck.release()
	g.HandleCall("stuck", stuck.pass)
	g.HandleStream("stuck stream", func(ctx context.Context, in []byte, _ *Stream) error { _, err := stuck.pass(ctx, in); return err })
	s := dial(t, g.URLs()[0], nil)
	for range 10 {
		ctx, cancel := context.WithTimeout(testContext(t), 5*time.Millisecond)
		if _, err := s.Call(ctx, "wait", nil); !errors.Is(err, ErrTimeout) {
			t.Errorf("its caller gets %v", err)
		}
		cancel()
	}
	for _, name := range []string{"stuck", "wait"} {
		go func() { _, _ = s.Call(testContext(t), name, nil) }()
	}
	for _, name := range []string{"stuck stream", "hold"} {
		if _, err := s.OpenStream(testContext(t), name, nil); err != nil {
			t.Fatal(err)
		}
	}
	within(t, "one", stuck.arrived)
	within(t, "two", stuck.arrived)
	eventually(t, "all run", func() bool { s := g.Stats(); return s.Running == 2 && s.Streams == 2 })
	err := shutdownCutShort(t, g)
	if !errors.Is(err, ErrStillRunning) || !strings.HasSuffix(err.Error(), "do not return: 1 tasks that were cut off: stuck (1); streams: stuck stream (1)") {
		t.Errorf("the drain says %v", err)
	}
}

// A subroutine that panics each time costs nothing but its tasks.
func TestSubroutineThatPanicsEveryTime(t *testing.T) {
	const n = 5000
	g := startGateway(t, GatewayConfig{Workers: 8})
	s := dial(t, g.URLs()[0], nil)
	for _, name := range []string{"panic", "goexit"} {
		if got := outcomes(s.Map(testContext(t), name, numbered(n), &MapOptions{Batch: 16})); got[StatusPanicked] != n {
			t.Errorf("%s: %v", name, got)
		}
	}
	if got := outcomes(s.Map(testContext(t), "echo", numbered(n), &MapOptions{Batch: 16})); got[StatusOK] != n {
		t.Errorf("afterwards: %v", got)
	}
	eventually(t, "no slot is taken", func() bool { s := g.Stats(); return s.Running+s.Held+s.Queued == 0 })
	if stats := g.Stats(); stats.Panics != 2*n {
		t.Errorf("%+v", stats)
	}
}

// Connections that come and go in a row leave nothing behind: those that say nothing, half a hello, and a whole one.
func TestTinyConnectionsInARow(t *testing.T) {
	n := 2000
	if *soak {
		n = 1_000_000
	}
	g := startGateway(t, GatewayConfig{})
	hello := helloFor()
	whole := proto.AppendHello(nil, hello)
	heap := int64(0)
	for i := range n {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.URLs()[0], "tcp://"))
		if err != nil {
			t.Fatal(err)
		}
		switch i % 3 {
		case 1:
			_, _ = conn.Write(whole[:len(whole)/2])
		case 2:
			_, _ = conn.Write(whole)
		}
		if i%2 == 0 {
			_ = conn.(*net.TCPConn).SetLinger(0)
		}
		_ = conn.Close()
		if i == n/2 {
			eventually(t, "they are gone", func() bool { return g.Stats().Handlers == 0 })
			heap = heapInUse()
		}
	}
	eventually(t, "they are gone", func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.handlers)+len(g.greeting)+len(g.sessions) == 0
	})
	if grown := heapInUse() - heap; grown > 8<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	connect(t, g).greet(hello).echo()
}
