package netio

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
)

func TestStreamsMerged(t *testing.T) {
	g := startStreams(t, GatewayConfig{})
	var ident atomic.Int64
	g.HandleStream("shared", func(_ context.Context, _ []byte, out *Stream) error {
		for i := ident.Add(1) - 1; i < 3000; i = ident.Add(1) - 1 {
			if err := out.Send(i, fmt.Append(nil, i)); err != nil {
				return err
			}
		}
		return nil
	})
	s := dial(t, g.URLs()[0], nil)
	var got []int64
	for c, err := range s.Streams(testContext(t), "shared", nil, 4) {
		if err != nil || string(c.Body) != fmt.Sprint(c.Ident) {
			t.Fatalf("%d %q, %v", c.Ident, c.Body, err)
		}
		got = append(got, c.Ident)
	}
	slices.Sort(got)
	if len(got) != 3000 || got[0] != 0 || got[2999] != 2999 || len(slices.Compact(got)) != 3000 {
		t.Errorf("%d chunks, from %d", len(got), got[0])
	}
	ident.Store(0)
	next := int64(0)
	for c, err := range InOrder(s.Streams(testContext(t), "shared", nil, 4), 0, 3000) {
		if err != nil || c.Ident != next || string(c.Body) != fmt.Sprint(next) {
			t.Fatalf("%d %q, %v in place of %d", c.Ident, c.Body, err, next)
		}
		next++
	}
	if next != 3000 {
		t.Errorf("%d chunks in order", next)
	}
	for range s.Streams(testContext(t), "flood", nil, 4) {
		break
	}
	eventually(t, "all are aborted", func() bool { return g.Stats().Streams == 0 })
	for range 20 { // the end of the context is never taken for that of the streams
		ctx, cancel := context.WithCancel(testContext(t))
		var last error
		for _, err := range s.Streams(ctx, "flood", nil, 4) {
			cancel()
			last = err
		}
		if !errors.Is(last, ErrCanceled) {
			t.Errorf("ended with %v", last)
		}
		cancel()
	}
}

func TestInOrder(t *testing.T) {
	for _, c := range []struct {
		in, want []int64
		window   int
		good     bool
	}{
		{[]int64{5, 6, 7}, []int64{5, 6, 7}, 0, true},
		{[]int64{7, 6, 5}, []int64{5, 6, 7}, 2, true},
		{[]int64{7, 6, 5}, nil, 1, false},
		{[]int64{5, 5}, []int64{5}, 9, false},
		{[]int64{6, 6}, nil, 9, false},
		{[]int64{5, 7}, []int64{5}, 9, false},
		{nil, nil, 0, true},
	} {
		var got []int64
		good := true
		chunks := func(yield func(Chunk, error) bool) {
			body := make([]byte, 1)
			for _, i := range c.in {
				body[0] = byte(i) // the same memory for each
				if !yield(Chunk{Ident: i, Body: body}, nil) {
					return
				}
			}
		}
		for chunk, err := range InOrder(chunks, 5, c.window) {
			if err != nil {
				good = false
				continue
			}
			if chunk.Body[0] != byte(chunk.Ident) {
				t.Errorf("%v: chunk %d has the bytes of another", c.in, chunk.Ident)
			}
			got = append(got, chunk.Ident)
		}
		if !slices.Equal(got, c.want) || good != c.good {
			t.Errorf("%v in a window of %d: %v, %v", c.in, c.window, got, good)
		}
	}
}

// Streams that are open when their swarm is closed end as canceled, with what has arrived, however sessions are kept.
func TestSwarmCloseCancelsStreams(t *testing.T) {
	for _, noSession := range []bool{false, true} {
		g := startStreams(t, GatewayConfig{})
		g.HandleDuplex("seven", func(ctx context.Context, _ []byte, s *Stream) error {
			if err := s.Send(7, []byte("seven")); err != nil {
				return err
			}
			<-ctx.Done()
			return ctx.Err()
		})
		s := dial(t, g.URLs()[0], &SwarmConfig{NoSession: noSession})
		st, err := s.Duplex(testContext(t), "seven", nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := st.Recv(); err != nil {
			t.Fatal(err)
		}
		_ = s.Close()
		_, _, err = st.Recv()
		var se *StreamError
		if !errors.As(err, &se) || se.Progress.LastIdent != 7 || se.Progress.Received != 1 {
			t.Errorf("no session %v: it ends with %v", noSession, err)
		}
		if !errors.Is(err, ErrCanceled) || !errors.Is(err, ErrClosed) || !errors.Is(err, context.Canceled) || errors.Is(err, ErrLost) {
			t.Errorf("no session %v: it ends with %v", noSession, err)
		}
		if StatusOf(err) != StatusCanceled {
			t.Errorf("its status is %v", StatusOf(err))
		}
		if err := st.Send(1, nil); !errors.Is(err, ErrCanceled) {
			t.Errorf("sending afterwards: %v", err)
		}
	}
}

// A loop that panics leaves no stream behind.
func TestStreamsLoopPanics(t *testing.T) {
	g := startStreams(t, GatewayConfig{})
	g.HandleStream("endless", func(_ context.Context, _ []byte, out *Stream) error {
		for {
			if err := out.Send(0, []byte("x")); err != nil {
				return err
			}
		}
	})
	s := dial(t, g.URLs()[0], nil)
	func() {
		defer func() { _ = recover() }()
		for range s.Streams(testContext(t), "endless", nil, 4) {
			panic("in the loop")
		}
	}()
	eventually(t, "the streams end", func() bool { return g.Stats().Streams == 0 })
}
