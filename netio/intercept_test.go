package netio

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
)

// The client's interceptors stand around each item of a Map and around a stream as around a call: they see it, may
// refuse it, and may change it.
func TestInterceptMapAndStream(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	g.HandleCall("echo", func(_ context.Context, in []byte) ([]byte, error) { return in, nil })
	g.HandleStream("twice", func(_ context.Context, in []byte, out *Stream) error {
		return errors.Join(out.Send(1, in), out.Send(2, in))
	})
	var seen atomic.Int32
	c := SwarmConfig{Connections: 2, Interceptors: []Interceptor{
		func(ctx context.Context, c *CallInfo, next Invoker) ([]byte, error) {
			seen.Add(1)
			if string(c.Body) == "3" {
				return nil, ErrNotAllowed
			}
			changed := *c
			changed.Body = append([]byte("<"), c.Body...)
			return next(ctx, &changed)
		},
	}}
	s := dial(t, g.URLs()[0], &c)
	for _, ordered := range []bool{false, true} {
		seen.Store(0)
		var got []string
		refused := 0
		items := slices.Values([][]byte{[]byte("1"), []byte("2"), []byte("3"), []byte("4")})
		for r, err := range s.Map(testContext(t), "echo", items, &MapOptions{Ordered: ordered, Batch: 3}) {
			switch {
			case errors.Is(err, ErrNotAllowed) && r.Index == 2:
				refused++
			case err != nil:
				t.Fatal(err)
			default:
				got = append(got, string(r.Body))
			}
		}
		if !ordered {
			slices.Sort(got)
		}
		if !slices.Equal(got, []string{"<1", "<2", "<4"}) || refused != 1 || seen.Load() != 4 {
			t.Errorf("ordered %v: answers %q, %d refused, %d seen", ordered, got, refused, seen.Load())
		}
	}
	var chunks []string
	for c, err := range s.Stream(testContext(t), "twice", []byte("x")) {
		if err != nil {
			t.Fatal(err)
		}
		chunks = append(chunks, string(c.Body))
	}
	if !slices.Equal(chunks, []string{"<x", "<x"}) {
		t.Errorf("chunks %q", chunks)
	}
	for range s.Stream(testContext(t), "twice", []byte("x")) {
		break
	}
	for _, err := range s.Stream(testContext(t), "twice", []byte("3")) {
		if !errors.Is(err, ErrNotAllowed) {
			t.Errorf("refused stream yields %v", err)
		}
	}
}

// An item of a Map whose caller has gone away leaves nothing behind.
func TestInterceptMapBreak(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	g.HandleCall("wait", func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() })
	g.HandleCall("now", func(context.Context, []byte) ([]byte, error) { return nil, nil })
	c := SwarmConfig{Connections: 1, Interceptors: []Interceptor{
		func(ctx context.Context, c *CallInfo, next Invoker) ([]byte, error) {
			if string(c.Body) == "0" {
				c = &CallInfo{Subroutine: "now"}
			}
			return next(ctx, c)
		},
	}}
	s := dial(t, g.URLs()[0], &c)
	for range s.Map(testContext(t), "wait", numbered(5000), nil) {
		break
	}
	eventually(t, "what was under way is cancelled", func() bool { st := g.Stats(); return st.Running == 0 && st.Queued == 0 })
}

// An interceptor may hand a task on with another body; the window counts what the client sent.
func TestInterceptedTaskOfAnotherSize(t *testing.T) {
	for _, size := range []int{1, 5000} {
		other := func(ctx context.Context, c *CallInfo, next Invoker) ([]byte, error) {
			changed := *c
			changed.Body = make([]byte, size)
			return next(ctx, &changed)
		}
		g := startGateway(t, GatewayConfig{Interceptors: []Interceptor{other}, WindowBytes: 64 << 10})
		g.HandleTask("task", func(task Task) { task.Finish(task.Body(), nil) })
		s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
		for range 200 {
			if out, err := s.Call(testContext(t), "task", make([]byte, 1000)); err != nil || len(out) != size {
				t.Fatalf("%d bytes, %v", len(out), err)
			}
		}
		if n := most(g, func(h *handler) int { return int(max(h.bodies, -h.bodies)) }); n != 0 {
			t.Errorf("%d bytes count as unanswered", n)
		}
	}
}
