package netio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"

	"shoal/proto"
)

// startMetadata starts a gateway with a subroutine of each shape that answers with its metadata.
func startMetadata(t *testing.T) *Gateway {
	g := startGateway(t, GatewayConfig{})
	show := func(ctx context.Context) []byte { return fmt.Append(nil, Metadata(ctx)) }
	g.HandleCall("call", func(ctx context.Context, _ []byte) ([]byte, error) { return show(ctx), nil })
	g.HandleTask("task", func(t Task) { t.Finish(show(t.Context()), nil) })
	g.HandleBatch("batch", func(tasks []Task) {
		for i := range tasks {
			tasks[i].Finish(show(tasks[i].Context()), nil)
		}
	})
	g.HandleSend("send", func(ctx context.Context, _ []byte, _ io.Reader) ([]byte, error) { return show(ctx), nil })
	g.HandleStream("stream", func(ctx context.Context, _ []byte, s *Stream) error { return s.Send(0, show(ctx)) })
	return g
}

// Metadata reaches subroutines of every shape, with a session and without, and none stays behind for the next call.
func TestMetadata(t *testing.T) {
	s := dial(t, startMetadata(t).URLs()[0], &SwarmConfig{Connections: 1})
	plain := testContext(t)
	first := WithMetadata(plain, map[string]string{"trace": "abc", "user": ""})
	both := WithMetadata(first, map[string]string{"trace": "def", "über": "\x00\xff"})
	for _, c := range []struct {
		ctx  context.Context
		want map[string]string
	}{
		{plain, nil},
		{first, map[string]string{"trace": "abc", "user": ""}},
		{WithMetadata(plain, nil), nil},
		{both, map[string]string{"trace": "def", "user": "", "über": "\x00\xff"}},
		{plain, nil},
	} {
		want := fmt.Sprint(c.want)
		for _, name := range []string{"call", "task", "batch"} {
			if out, err := s.Call(c.ctx, name, nil); string(out) != want {
				t.Errorf("%s: %q, want %q, %v", name, out, want, err)
			}
		}
		if out, err := s.Go(c.ctx, "call", nil).Result(); string(out) != want {
			t.Errorf("Go: %q, want %q, %v", out, want, err)
		}
		if out, err := s.Send(c.ctx, "send", nil, strings.NewReader("body")); string(out) != want {
			t.Errorf("send: %q, want %q, %v", out, want, err)
		}
		for chunk, err := range s.Stream(c.ctx, "stream", nil) {
			if string(chunk.Body) != want {
				t.Errorf("stream: %q, want %q, %v", chunk.Body, want, err)
			}
		}
		items := slices.Values([][]byte{nil, nil, nil})
		for r, err := range s.Map(c.ctx, "batch", items, &MapOptions{Batch: 2}) {
			if string(r.Body) != want {
				t.Errorf("map: %q, want %q, %v", r.Body, want, err)
			}
		}
	}
	if got := Metadata(both); got != nil {
		t.Errorf("outside of a subroutine: %v", got)
	}
}

// Interceptors see metadata at the gateway, and add to it at the client.
func TestMetadataInterceptors(t *testing.T) {
	seen := make(chan map[string]string, 1)
	g := startGateway(t, GatewayConfig{Interceptors: []Interceptor{func(ctx context.Context, c *CallInfo, next Invoker) ([]byte, error) {
		seen <- Metadata(ctx)
		return next(ctx, c)
	}}})
	s := dial(t, g.URLs()[0], &SwarmConfig{Interceptors: []Interceptor{func(ctx context.Context, c *CallInfo, next Invoker) ([]byte, error) {
		return next(WithMetadata(ctx, map[string]string{"trace": "inner"}), c)
	}}})
	if _, err := s.Call(WithMetadata(testContext(t), map[string]string{"trace": "outer", "a": "b"}), "echo", nil); err != nil {
		t.Fatal(err)
	}
	if got, want := <-seen, map[string]string{"trace": "inner", "a": "b"}; !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// What cannot cross the wire as metadata fails at the caller, whatever is called.
func TestMetadataLimits(t *testing.T) {
	s := dial(t, startMetadata(t).URLs()[0], &SwarmConfig{Connections: 1})
	for _, c := range []struct {
		pairs map[string]string
		want  error
	}{
		{map[string]string{"k": strings.Repeat("v", proto.FieldsLimit-8)}, nil},
		{map[string]string{"k": strings.Repeat("v", proto.FieldsLimit-7)}, ErrTooLarge},
		{map[string]string{"k": strings.Repeat("v", 1<<20)}, ErrTooLarge},
		{map[string]string{"": "v"}, ErrBadConfig},
		{map[string]string{strings.Repeat("k", 256): "v"}, ErrBadConfig},
		{map[string]string{"shoal.class": "v"}, ErrBadConfig},
	} {
		ctx := WithMetadata(testContext(t), c.pairs)
		_, callErr := s.Call(ctx, "call", nil)
		_, goErr := s.Go(ctx, "call", nil).Result()
		_, sendErr := s.Send(ctx, "send", nil, strings.NewReader(""))
		errs := map[string]error{"call": callErr, "go": goErr, "send": sendErr}
		for _, err := range s.Map(ctx, "call", slices.Values([][]byte{nil}), nil) {
			errs["map"] = err
		}
		for what, err := range errs {
			if !errors.Is(err, c.want) {
				t.Errorf("%s with %d pairs: %v, want %v", what, len(c.pairs), err, c.want)
			}
		}
	}
}

// Metadata goes along when a task is sent again after an outage.
func TestMetadataIsSentAgain(t *testing.T) {
	g := startMetadata(t)
	proxy := startFaultProxy(t, g.URLs()[0], faultPlan{})
	began, hold := make(chan struct{}), make(chan struct{})
	g.HandleCall("wait", func(context.Context, []byte) ([]byte, error) {
		close(began)
		<-hold
		return nil, nil
	})
	s := dial(t, proxy.url(), &SwarmConfig{Connections: 1})
	waiting := s.Go(testContext(t), "wait", nil)
	within(t, "the task runs", began)
	proxy.cutAll()
	out, err := s.Call(WithMetadata(testContext(t), map[string]string{"a": "b"}), "call", nil)
	if string(out) != "map[a:b]" {
		t.Errorf("%q, %v", out, err)
	}
	close(hold)
	if _, err := waiting.Result(); err != nil {
		t.Error(err)
	}
}
