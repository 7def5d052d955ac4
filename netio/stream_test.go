package netio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shoal/proto"
)

// startStreams starts a gateway with streams of many kinds.
func startStreams(t testing.TB, c GatewayConfig) *Gateway {
	g := startGateway(t, c)
	g.HandleStream("count", func(_ context.Context, in []byte, out *Stream) error { // 0 to n-1, then an error if there is one
		var n int64
		var fail string
		_, _ = fmt.Sscan(string(in), &n, &fail)
		for i := range n {
			if err := out.Send(i, fmt.Append(nil, "chunk ", i)); err != nil {
				return err
			}
		}
		if fail != "" {
			return errors.New(fail)
		}
		return nil
	})
	g.HandleStream("flood", func(_ context.Context, _ []byte, out *Stream) error {
		body := make([]byte, 1000)
		for i := int64(0); ; i++ {
			if err := out.Send(i, body); err != nil {
				return err
			}
		}
	})
	g.HandleStream("hold", func(ctx context.Context, _ []byte, _ *Stream) error { <-ctx.Done(); return ctx.Err() })
	g.HandleStream("panic stream", func(_ context.Context, _ []byte, out *Stream) error {
		_ = out.Send(1, nil)
		panic("oh no")
	})
	g.HandleDuplex("echo stream", func(_ context.Context, _ []byte, s *Stream) error {
		for {
			ident, body, err := s.Recv()
			if err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
			if err := s.Send(-ident, body); err != nil {
				return err
			}
		}
	})
	return g
}

func TestStreamOrderIdentsAndEnd(t *testing.T) {
	g := startStreams(t, GatewayConfig{})
	s := dial(t, g.URLs()[0], nil)
	for _, n := range []int64{0, 1, 5000} {
		next := int64(0)
		for c, err := range s.Stream(testContext(t), "count", fmt.Append(nil, n)) {
			if err != nil || c.Ident != next || string(c.Body) != fmt.Sprint("chunk ", next) {
				t.Fatalf("chunk %d %q, %v in place of %d", c.Ident, c.Body, err, next)
			}
			next++
		}
		if next != n {
			t.Errorf("%d chunks of %d", next, n)
		}
	}
	var got []string
	err := s.StreamFunc(testContext(t), "count", []byte("3 broken"), func(c Chunk) bool {
		got = append(got, string(c.Body))
		return true
	})
	if !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "broken") || len(got) != 3 {
		t.Errorf("%q, %v", got, err)
	}
	for _, c := range []struct {
		name string
		want error
	}{{"panic stream", ErrPanicked}, {"echo", ErrWrongShape}, {"echo stream", ErrWrongShape}, {"nobody", ErrUnknownSubroutine}, {"", ErrUnknownSubroutine}} {
		if err := s.StreamFunc(testContext(t), c.name, nil, func(Chunk) bool { return true }); !errors.Is(err, c.want) {
			t.Errorf("%q: %v, want %v", c.name, err, c.want)
		}
	}
}

// Breaking the loop ends the subroutine's context and its Send; the connection goes on and ids are used again.
func TestStreamAbort(t *testing.T) {
	g := startStreams(t, GatewayConfig{Streams: 2})
	type end struct{ ctx, send error }
	ends := make(chan end, 1)
	g.HandleStream("watched", func(ctx context.Context, _ []byte, out *Stream) error {
		var e end
		for i := int64(0); e.send == nil; i++ {
			e.send = out.Send(i, nil)
		}
		<-ctx.Done()
		e.ctx = ctx.Err()
		ends <- e
		return e.send
	})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
	for round := range 20 {
		n := 0
		for _, err := range s.Stream(testContext(t), "watched", nil) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; n == 3 {
				break
			}
		}
		if e := within(t, "the subroutine ends", ends); !errors.Is(e.ctx, context.Canceled) || e.send == nil {
			t.Fatalf("round %d: it sees %+v", round, e)
		}
	}
	if err := s.StreamFunc(testContext(t), "watched", nil, func(Chunk) bool { return false }); err != nil {
		t.Errorf("a callback that has enough: %v", err)
	}
	within(t, "the subroutine ends", ends)
	ctx, cancel := context.WithCancel(testContext(t))
	err := s.StreamFunc(ctx, "watched", nil, func(Chunk) bool { cancel(); return true })
	if !errors.Is(err, ErrCanceled) {
		t.Errorf("a context that ends: %v", err)
	}
	within(t, "the subroutine ends", ends)
	if st := s.lanes[0]; st.nextStream > 2 || s.Connected() != 1 {
		t.Errorf("%d ids used, %d connections", st.nextStream, s.Connected())
	}
}

func TestStreamDeadline(t *testing.T) {
	g := startStreams(t, GatewayConfig{})
	ended := make(chan error, 1)
	g.HandleStream("watched", func(ctx context.Context, _ []byte, _ *Stream) error {
		if _, ok := ctx.Deadline(); !ok {
			return errors.New("no deadline")
		}
		<-ctx.Done()
		ended <- context.Cause(ctx)
		return nil
	})
	s := dial(t, g.URLs()[0], nil)
	ctx, cancel := context.WithTimeout(testContext(t), 30*time.Millisecond)
	defer cancel()
	err := s.StreamFunc(ctx, "watched", nil, func(Chunk) bool { return true })
	if !errors.Is(err, ErrTimeout) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error is %v", err)
	}
	if err := within(t, "the subroutine ends", ended); !errors.Is(err, ErrTimeout) {
		t.Errorf("it sees %v", err)
	}
	p := connect(t, g).greet(helloFor()) // a client that leaves it all to the gateway
	p.send(proto.KindOpen, proto.AppendOpen(nil, proto.Open{Stream: 0, Deadline: clockMillis() + 20, Shape: proto.ShapeStream, Name: []byte("watched")}))
	if e, _ := p.end(0); e.Status != StatusTimeout {
		t.Errorf("end is %v", e.Status)
	}
	p.echo()
}

// Exactly one end, whatever crosses it; what comes for streams that are over is dropped.
func TestStreamEndsOnce(t *testing.T) {
	g := startStreams(t, GatewayConfig{})
	p := connect(t, g).greet(helloFor())
	abort := func(id uint32) { p.send(proto.KindAbort, proto.AppendAbort(nil, id, StatusCanceled)) }
	for range 50 {
		p.open(0, proto.ShapeStream, "count", "2")
		abort(0)
		abort(0)
		if e, n := p.end(0); e.Status == StatusOK && n == 0 {
			t.Error("ended well without its chunks")
		}
	}
	p.open(0, proto.ShapeStream, "hold", "")
	abort(0)
	if e, _ := p.end(0); e.Status != StatusCanceled {
		t.Errorf("end is %v", e.Status)
	}
	p.open(0, proto.ShapeDuplex, "echo stream", "")
	p.chunk(0, 5, "x")
	p.send(proto.KindEnd, proto.AppendEnd(nil, proto.End{Stream: 0}))
	if e, n := p.end(0); e.Status != StatusOK || n != 1 {
		t.Errorf("end is %v after %d chunks", e.Status, n)
	}
	p.chunk(0, 6, "too late")
	abort(0)
	p.send(proto.KindCredit, proto.AppendCredit(nil, 0, 10))
	p.echo() // nothing more of any stream
	eventually(t, "no stream is left", func() bool { return g.Stats().Streams == 0 })
}

// A gateway that streams as fast as it can to a client that never reads sends its credit and no more.
func TestStreamCreditBoundsGateway(t *testing.T) {
	g := startStreams(t, GatewayConfig{})
	var sent atomic.Int64
	g.HandleStream("counted flood", func(_ context.Context, _ []byte, out *Stream) error {
		for i := int64(0); ; i++ {
			if err := out.Send(i, make([]byte, 1000)); err != nil {
				return err
			}
			sent.Add(1016)
		}
	})
	p := connect(t, g).greet(helloFor()) // credit 64 KiB
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1, StreamCredit: 100_000})
	open := func(id uint32) { p.open(id, proto.ShapeStream, "counted flood", "") }
	for _, c := range []struct {
		credit int64
		start  func()
	}{
		{64 << 10, func() { open(0) }},
		{100_000, func() {
			st, err := s.OpenStream(testContext(t), "counted flood", nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(st.Abort)
		}},
	} {
		sent.Store(0)
		c.start()
		eventually(t, "the stream stalls", func() bool { return sent.Load() >= c.credit })
		before := heapInUse() // takes its time
		if n := sent.Load(); n > c.credit+1016 {
			t.Errorf("%d bytes sent on a credit of %d", n, c.credit)
		}
		if grown := heapInUse() - before; grown > 1<<20 {
			t.Errorf("the heap grows by %d bytes while nobody reads", grown)
		}
	}
	p.send(proto.KindCredit, proto.AppendCredit(nil, 0, 10_000))
	eventually(t, "credit lets it go on", func() bool { return sent.Load() > 100_000+2*1016 })
}

// The window of a stream whose reader waits for more grows, to a bound that the streams of a connection share; one that is
// not read sends what it may at the beginning.
func TestStreamWindowGrows(t *testing.T) {
	const credit, chunk = 100_000, 1000 + proto.ChunkHeaderSize
	g := startStreams(t, GatewayConfig{})
	var sent [2]atomic.Int64
	for i := range sent {
		g.HandleStream(fmt.Sprint("flood ", i), func(_ context.Context, _ []byte, out *Stream) error {
			for {
				if err := out.Send(0, make([]byte, 1000)); err != nil {
					return err
				}
				sent[i].Add(chunk)
			}
		})
	}
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1, StreamCredit: credit})
	unread, err := s.OpenStream(testContext(t), "flood 0", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer unread.Abort()
	read, err := s.OpenStream(testContext(t), "flood 1", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer read.Abort()
	consumed := int64(0)
	consume := func(until func() bool) {
		t.Helper()
		eventually(t, "the window is as large as it should be", func() bool {
			for range 100 {
				if _, _, err := read.Recv(); err != nil {
					t.Fatal(err)
				}
				consumed += chunk
			}
			return until()
		})
	}
	stalls := func(i int, window int64) {
		t.Helper()
		ahead := func() int64 { return sent[i].Load() - []int64{0, consumed}[i] }
		eventually(t, "the stream stalls", func() bool { return ahead() >= window/2 && ahead() > 0 })
		_ = heapInUse() // takes its time
		if n := ahead(); n > window+chunk {
			t.Errorf("stream %d: %d bytes ahead of a window of %d", i, n, window)
		}
	}
	consume(func() bool { return read.window == 2*credit })
	consume(func() bool { return consumed > 40*credit })
	if read.window != 2*credit { // with the other one's it is three in all
		t.Errorf("the window is %d beside a stream that is not read", read.window)
	}
	stalls(0, credit)
	stalls(1, 2*credit)
	unread.Abort()
	consume(func() bool { return read.window == 3*credit })
	consume(func() bool { return consumed > 80*credit })
	stalls(1, 3*credit)
}

// On one connection: a stream that nobody reads, another one, and calls.
func TestStreamStalledHoldsUpNothingElse(t *testing.T) {
	g := startStreams(t, GatewayConfig{})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
	for range 3 {
		stalled, err := s.OpenStream(testContext(t), "flood", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer stalled.Abort()
		if _, _, err := stalled.Recv(); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	for _, err := range s.Stream(testContext(t), "count", []byte("20000")) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n%1000 == 0 {
			if _, err := s.Call(testContext(t), "echo", nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n != 20_000 {
		t.Errorf("%d chunks", n)
	}
	if pong := s.Ping(testContext(t), nil)[0]; pong.Err != nil {
		t.Error(pong.Err)
	}
}

func TestStreamTooMany(t *testing.T) {
	g := startStreams(t, GatewayConfig{Streams: 4, MaxStreams: 6})
	one := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
	two := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
	hold := func(s *Swarm) (*ClientStream, error) { return s.OpenStream(testContext(t), "hold", nil) }
	var open []*ClientStream
	for i := range 4 {
		st, err := hold(one)
		if err != nil {
			t.Fatalf("stream %d: %v", i, err)
		}
		open = append(open, st)
	}
	if _, err := hold(one); !errors.Is(err, ErrBusy) {
		t.Errorf("above what the connection may have: %v", err)
	}
	eventually(t, "four run", func() bool { return g.Stats().Streams == 4 })
	for range 3 {
		st, err := hold(two)
		if err != nil {
			t.Fatal(err)
		}
		open = append(open, st)
	}
	if _, err := open[6].Result(); !errors.Is(err, ErrBusy) {
		t.Errorf("above what the gateway may have: %v", err)
	}
	open[0].Abort()
	eventually(t, "there is room again", func() bool {
		st, err := hold(two)
		if err != nil {
			return false
		}
		defer st.Abort()
		eventually(t, "it runs or is refused", func() bool { return g.Stats().Streams == 6 || len(two.lanes[0].openStreams()) < 3 })
		return g.Stats().Streams == 6
	})
}

// openStreams returns the ids of the open streams.
func (l *lane) openStreams() (ids []uint32) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id := range l.streams {
		ids = append(ids, id)
	}
	return ids
}

func TestStreamDuplex(t *testing.T) {
	g := startStreams(t, GatewayConfig{StreamCredit: 10_000})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1, StreamCredit: 10_000})
	st, err := s.Duplex(testContext(t), "echo stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Abort()
	const n = 2000
	go func() {
		for i := range int64(n) {
			if err := st.Send(i, bytes.Repeat([]byte{byte(i)}, int(i)%3000)); err != nil {
				t.Errorf("send %d: %v", i, err)
			}
		}
		st.CloseSend()
		if err := st.Send(0, nil); err == nil {
			t.Error("a chunk after the end was taken")
		}
	}()
	for i := range int64(n) {
		ident, body, err := st.Recv()
		if err != nil || ident != -i || len(body) != int(i)%3000 || len(body) > 0 && body[0] != byte(i) {
			t.Fatalf("chunk %d: ident %d, %d bytes, %v", i, ident, len(body), err)
		}
	}
	if _, _, err := st.Recv(); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if p := st.Progress(); p.Received != n || p.LastIdent != -n+1 {
		t.Errorf("progress is %+v", p)
	}
	if err := st.Send(0, make([]byte, 5<<20)); err == nil {
		t.Error("a chunk after the end was taken")
	}
}

func TestStreamChunkTooLarge(t *testing.T) {
	g := startStreams(t, GatewayConfig{FrameLimit: 8192})
	s := dial(t, g.URLs()[0], nil)
	st, err := s.Duplex(testContext(t), "echo stream", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Abort()
	if err := st.Send(0, make([]byte, 8192-15)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("error is %v", err)
	}
	if err := st.Send(1, make([]byte, 8192-16)); err != nil {
		t.Error(err)
	}
	if ident, body, err := st.Recv(); ident != -1 || len(body) != 8192-16 || err != nil {
		t.Errorf("ident %d, %d bytes, %v", ident, len(body), err)
	}
	if _, err := s.OpenStream(testContext(t), "count", make([]byte, 8192)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("an argument that is too large: %v", err)
	}
}

func TestStreamManyAtOnce(t *testing.T) {
	g := startStreams(t, GatewayConfig{})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 2, StreamCredit: 2000})
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			n := 0
			for c, err := range s.Stream(testContext(t), "count", []byte("200")) {
				if err != nil || c.Ident != int64(n) {
					t.Errorf("stream %d: chunk %d in place of %d, %v", i, c.Ident, n, err)
					return
				}
				n++
			}
			if n != 200 {
				t.Errorf("stream %d: %d chunks", i, n)
			}
		})
	}
	all.Wait()
}

// foreignContext is one that package context does not know: each child of it costs a goroutine until it is cancelled.
type foreignContext struct {
	context.Context
	done chan struct{}
}

func (c foreignContext) Done() <-chan struct{} { return c.done }

// A stream that was read to its end leaves nothing behind in its caller's context.
func TestStreamReadToItsEndLeavesNothing(t *testing.T) {
	g := startStreams(t, GatewayConfig{})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
	ctx := foreignContext{testContext(t), make(chan struct{})}
	defer close(ctx.done)
	before := runtime.NumGoroutine()
	for range 100 {
		st, err := s.OpenStream(ctx, "count", []byte("1"))
		if err != nil {
			t.Fatal(err)
		}
		for err == nil {
			_, _, err = st.Recv()
		}
		if err != io.EOF {
			t.Fatal(err)
		}
	}
	eventually(t, "the goroutines end", func() bool { return runtime.NumGoroutine() < before+10 })
}
