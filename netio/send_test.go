package netio

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"shoal/proto"
)

// startSends starts a gateway with "sum", which answers the length and the hash of what it is sent.
func startSends(t testing.TB, c GatewayConfig) *Gateway {
	g := startStreams(t, c)
	g.HandleSend("sum", func(_ context.Context, in []byte, body io.Reader) ([]byte, error) {
		hash := sha256.New()
		n, err := io.Copy(hash, body)
		return fmt.Appendf(nil, "%s %d %x", in, n, hash.Sum(nil)), err
	})
	g.HandleSend("first bytes", func(_ context.Context, _ []byte, body io.Reader) ([]byte, error) {
		buf := make([]byte, 5)
		_, err := io.ReadFull(body, buf)
		return buf, err
	})
	return g
}

func wantSum(in string, n int) string {
	hash := sha256.New()
	_, _ = io.Copy(hash, &pattern{n: n})
	return fmt.Sprintf("%s %d %x", in, n, hash.Sum(nil))
}

func TestSendSizes(t *testing.T) {
	g := startSends(t, GatewayConfig{})
	s := dial(t, g.URLs()[0], nil)
	for _, n := range []int{0, 1, chunkSize - 1, chunkSize, chunkSize + 1, 1 << 20, 50 << 20} {
		out, err := s.Send(testContext(t), "sum", []byte("of"), &pattern{n: n})
		if want := wantSum("of", n); err != nil || string(out) != want {
			t.Errorf("%d bytes: %q, %v; want %q", n, out, err, want)
		}
	}
	for _, n := range []int{0, 1, 4096} { // a body in small pieces, to a gateway that takes small frames
		small := startSends(t, GatewayConfig{FrameLimit: 4096})
		s := dial(t, small.URLs()[0], nil)
		out, err := s.Send(testContext(t), "sum", nil, &oneByte{&pattern{n: n}})
		if want := wantSum("", n); err != nil || string(out) != want {
			t.Errorf("%d bytes in small pieces: %q, %v; want %q", n, out, err, want)
		}
		_, _ = s.Close(), small.Close()
	}
}

// oneByte gives one byte a read.
type oneByte struct{ r io.Reader }

func (o *oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

func TestSendReturningEarlyStopsTheSender(t *testing.T) {
	g := startSends(t, GatewayConfig{})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
	for range 10 {
		body := &pattern{n: 1 << 40} // never ends
		out, err := s.Send(testContext(t), "first bytes", nil, body)
		if err != nil || len(out) != 5 || out[4] != patternAt(4) {
			t.Errorf("%q, %v", out, err)
		}
		if body.at > 8<<20 {
			t.Errorf("%d bytes were read", body.at)
		}
	}
	if _, err := s.Send(testContext(t), "nobody", nil, &pattern{n: 1 << 40}); !errors.Is(err, ErrUnknownSubroutine) {
		t.Errorf("error is %v", err)
	}
	if _, err := s.Send(testContext(t), "first bytes", nil, strings.NewReader("abc")); !errors.Is(err, ErrFailed) {
		t.Errorf("a body that is too short: %v", err)
	}
	if out, err := s.Call(testContext(t), "echo", []byte("goes on")); err != nil || string(out) != "goes on" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestSendBodyFails(t *testing.T) {
	g := startSends(t, GatewayConfig{})
	ended := make(chan error, 1)
	g.HandleSend("watched", func(ctx context.Context, _ []byte, body io.Reader) ([]byte, error) {
		_, err := io.Copy(io.Discard, body)
		if ctx.Err() == nil {
			err = fmt.Errorf("context goes on; %w", err)
		}
		ended <- err
		return nil, nil
	})
	s := dial(t, g.URLs()[0], nil)
	broken := errors.New("disk is broken")
	_, err := s.Send(testContext(t), "watched", nil, io.MultiReader(&pattern{n: 200_000}, &failing{broken}))
	if !errors.Is(err, broken) {
		t.Errorf("error is %v", err)
	}
	if err := within(t, "the subroutine ends", ended); err == nil || strings.Contains(err.Error(), "goes on") {
		t.Errorf("it sees %v", err)
	}
	ctx, cancel := context.WithTimeout(testContext(t), 20*time.Millisecond)
	defer cancel()
	if _, err := s.Send(ctx, "watched", nil, &pattern{n: 1 << 40}); !errors.Is(err, ErrTimeout) {
		t.Errorf("after the deadline: %v", err)
	}
	if err := within(t, "the subroutine ends", ended); err == nil || strings.Contains(err.Error(), "goes on") {
		t.Errorf("it sees %v", err)
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// A subroutine that does not read has its sender wait: no more than the credit is on its way or in memory.
func TestSendCreditBoundsSender(t *testing.T) {
	g := startSends(t, GatewayConfig{StreamCredit: 100_000})
	held := newGate(t)
	g.HandleSend("late", func(ctx context.Context, in []byte, body io.Reader) ([]byte, error) {
		_, _ = held.pass(ctx, in)
		n, err := io.Copy(io.Discard, body)
		return fmt.Append(nil, n), err
	})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
	var read atomic.Int64
	body := &counted{&pattern{n: 5 << 20}, &read}
	sent := make(chan string, 1)
	go func() {
		out, err := s.Send(testContext(t), "late", nil, body)
		sent <- fmt.Sprint(string(out), err)
	}()
	within(t, "it begins", held.arrived)
	eventually(t, "the sender is held up", func() bool { return read.Load() > 100_000 })
	for range 50 {
		if _, err := s.Call(testContext(t), "echo", nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := read.Load(); n > 100_000+3*chunkSize {
		t.Errorf("%d bytes were read on a credit of 100000", n)
	}
	held.release()
	if out := within(t, "the send ends", sent); out != fmt.Sprint(5<<20, "<nil>") {
		t.Errorf("answer is %q", out)
	}
}

type counted struct {
	r    io.Reader
	read *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.read.Add(int64(n))
	return n, err
}

func TestSendOfRawClient(t *testing.T) {
	g := startSends(t, GatewayConfig{})
	p := connect(t, g).greet(helloFor())
	p.open(0, proto.ShapeSend, "sum", "raw")
	p.chunk(0, 0, "\x00")
	p.chunk(0, 0, "")
	p.chunk(0, 0, "\x01")
	p.send(proto.KindEnd, proto.AppendEnd(nil, proto.End{Stream: 0}))
	if e, _ := p.end(0); e.Status != StatusOK || string(e.Body) != wantSum("raw", 2) {
		t.Errorf("end is %v %q", e.Status, e.Body)
	}
	p.open(0, proto.ShapeSend, "sum", "") // and one that goes without an end
	p.chunk(0, 0, "x")
	_ = p.conn.Close()
	eventually(t, "the subroutine ends with its client", func() bool { return g.Stats().Streams == 0 })
}

func TestStreamReaderAndWriter(t *testing.T) {
	g := startStreams(t, GatewayConfig{})
	g.HandleStream("written", func(_ context.Context, _ []byte, out *Stream) error {
		_, err := io.Copy(out.Writer(), &pattern{n: 300_000})
		return err
	})
	s := dial(t, g.URLs()[0], nil)
	st, err := s.OpenStream(testContext(t), "written", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Abort()
	r := st.Reader()
	start := make([]byte, 1000)
	if _, err := io.ReadFull(r, start); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(r)
	if err != nil || len(start)+len(rest) != 300_000 {
		t.Fatalf("%d bytes, %v", len(start)+len(rest), err)
	}
	for i, b := range append(start, rest...) {
		if b != patternAt(i) {
			t.Fatalf("byte %d is another", i)
		}
	}
}

// Streams in both directions go through many cuts of their connection without loss or repetition.
func TestStreamSurvivesCuts(t *testing.T) {
	g := startSends(t, GatewayConfig{})
	p := startProxy(t, g.URLs()[0])
	s := dial(t, p.url(), quick(1))
	ctx, stop := context.WithCancel(testContext(t))
	cut := make(chan struct{})
	go func() {
		defer close(cut)
		for i := 1; ctx.Err() == nil; i++ {
			p.set(func(p *proxy) { p.cutAfter = 1 + i*7919%50_000 })
			time.Sleep(2 * time.Millisecond)
		}
	}()
	sent := make(chan string, 1)
	go func() {
		out, err := s.Send(testContext(t), "sum", nil, &pattern{n: 3 << 20})
		sent <- fmt.Sprint(string(out), err)
	}()
	next := int64(0)
	for c, err := range s.Stream(testContext(t), "count", []byte("50000")) {
		if err != nil || c.Ident != next || string(c.Body) != fmt.Sprint("chunk ", next) {
			t.Fatalf("chunk %d %q, %v in place of %d", c.Ident, c.Body, err, next)
		}
		next++
	}
	if next != 50_000 {
		t.Errorf("%d chunks", next)
	}
	if out := within(t, "the send ends", sent); out != wantSum("", 3<<20)+"<nil>" {
		t.Errorf("answer is %q", out)
	}
	stop()
	<-cut
	p.set(func(p *proxy) {
		if p.cutAfter = 0; p.accepted < 3 {
			t.Errorf("%d connections", p.accepted)
		}
	})
}

func TestStreamLostWithGateway(t *testing.T) {
	old, p, restart := restartable(t)
	old.HandleStream("three", func(ctx context.Context, _ []byte, out *Stream) error {
		for i := range int64(3) {
			_ = out.Send(10*i, nil)
		}
		<-ctx.Done()
		return nil
	})
	old.HandleSend("part", func(ctx context.Context, _ []byte, body io.Reader) ([]byte, error) {
		_, _ = io.ReadFull(body, make([]byte, 1<<20))
		<-ctx.Done()
		return nil, nil
	})
	s := dial(t, p.url(), quick(1))
	part := make(chan error, 1)
	var read atomic.Int64
	go func() {
		_, err := s.Send(testContext(t), "part", nil, &counted{&pattern{n: 100 << 20}, &read})
		part <- err
	}()
	eventually(t, "the send is under way", func() bool { return read.Load() > 1<<20 })
	var last error
	n := 0
	for _, err := range s.Stream(testContext(t), "three", nil) {
		if last = err; err == nil {
			if n++; n == 3 {
				restart(GatewayConfig{})
			}
		}
	}
	var se *StreamError
	if !errors.Is(last, ErrLost) || !errors.As(last, &se) || se.Progress.Received != 3 || se.Progress.LastIdent != 20 {
		t.Errorf("stream ended with %v: %+v", last, se)
	}
	err := within(t, "the send ends", part)
	if !errors.Is(err, ErrLost) || !errors.As(err, &se) || se.Progress.Taken < 512<<10 || se.Progress.Taken > 1<<20+chunkSize || se.Progress.Sent < se.Progress.Taken {
		t.Errorf("send ended with %v: %+v", err, se)
	}
	if out, err := s.Call(testContext(t), "echo", []byte("goes on")); err != nil || string(out) != "goes on" {
		t.Errorf("%q, %v", out, err)
	}
}
