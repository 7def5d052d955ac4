package netio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"shoal/proto"
)

// fakeWelcomes answers each hello with a welcome, and keeps the connection until it ends.
func fakeWelcomes(t *testing.T, welcome func(n int, h proto.Hello) proto.Welcome) (url string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for n := 0; ; n++ {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			p := &raw{t: t, conn: conn}
			f, err := p.read()
			if err != nil {
				_ = conn.Close()
				continue
			}
			h, _ := proto.ParseHello(f.Payload)
			_, _ = conn.Write(proto.AppendWelcome(nil, welcome(n, h)))
			_, _ = p.read()
			_ = conn.Close()
		}
	}()
	return "tcp://" + ln.Addr().String()
}

// A welcome that does not fit its hello ends the handshake.
func TestSwarmWelcomeMalformed(t *testing.T) {
	right := proto.Welcome{Version: 1, FrameLimit: 1 << 20, StreamCredit: 1000, Window: 10, Streams: 4, WindowBytes: 1000, IdleTimeout: 60_000}
	key := proto.Extension{Type: proto.ExtensionKey, Value: make([]byte, proto.KeySize)}
	for _, c := range []struct {
		name   string
		config SwarmConfig
		change func(w *proto.Welcome)
		good   bool
	}{
		{"right", SwarmConfig{}, func(w *proto.Welcome) { w.Extensions = []proto.Extension{key} }, true},
		{"without a session", SwarmConfig{NoSession: true}, func(*proto.Welcome) {}, true},
		{"an extension of a later version", SwarmConfig{NoSession: true}, func(w *proto.Welcome) { w.Extensions = []proto.Extension{{Type: 0x777}} }, true},
		{"a critical extension", SwarmConfig{NoSession: true}, func(w *proto.Welcome) { w.Extensions = []proto.Extension{{Type: 0x8777}} }, false},
		{"no key", SwarmConfig{}, func(*proto.Welcome) {}, false},
		{"key without a session", SwarmConfig{NoSession: true}, func(w *proto.Welcome) { w.Extensions = []proto.Extension{key} }, false},
		{"resumed unasked", SwarmConfig{}, func(w *proto.Welcome) { w.Resumed = true }, false},
		{"features unasked", SwarmConfig{NoSession: true}, func(w *proto.Welcome) { w.Features = proto.FeatureS2 }, false},
		{"idle timeout 0", SwarmConfig{NoSession: true}, func(w *proto.Welcome) { w.IdleTimeout = 0 }, false},
		{"received anew", SwarmConfig{NoSession: true}, func(w *proto.Welcome) { w.Received = 8 }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			url := fakeWelcomes(t, func(int, proto.Hello) proto.Welcome {
				w := right
				c.change(&w)
				return w
			})
			c.config.Connections = 1
			s, err := Dial(testContext(t), url, &c.config)
			if err == nil {
				_ = s.Close()
			}
			if (err == nil) != c.good || !c.good && !errors.Is(err, ErrMalformed) {
				t.Errorf("error is %v", err)
			}
		})
	}
}

// What a lane began with holds when it is resumed.
func TestResumeKeepsLimits(t *testing.T) {
	g := startGateway(t, GatewayConfig{Compress: CompressS2})
	g.HandleStream("flood", func(_ context.Context, _ []byte, s *Stream) error {
		for i := int64(0); ; i++ {
			if err := s.Send(i, make([]byte, 100)); err != nil {
				return err
			}
		}
	})
	hello := sessionHello(1)
	hello.StreamCredit, hello.FrameLimit = 200, 5000
	p := connect(t, g).greet(hello)
	other := again(hello, p.got)
	other.Features, other.StreamCredit, other.FrameLimit = proto.FeatureS2, 1<<20, 1<<20
	p = connect(t, g).greet(other)
	if !p.welcome.Resumed || p.welcome.Features != 0 {
		t.Fatalf("welcome is %+v", p.welcome)
	}
	p.open(0, proto.ShapeStream, "flood", "")
	p.send(proto.KindPing, nil)
	p.tasks("echo", rawTask{7, string(make([]byte, 6000))})
	chunks := 0
	for answered := false; !answered; {
		switch f := p.next(); f.Kind {
		case proto.KindChunks:
			for rest := f.Payload; len(rest) > 0; chunks++ {
				_, rest, _ = proto.NextChunk(rest)
			}
		case proto.KindResults:
			r, _, _ := proto.NextResult(f.Payload)
			if answered = true; codeOf(r.Body) != proto.CodeTooLarge {
				t.Errorf("an answer above the lane's frame limit: %v, %d bytes", r.Status, len(r.Body))
			}
		}
	}
	if chunks > 2 {
		t.Errorf("%d chunks of 116 bytes within a credit of 200", chunks)
	}
}

// A client that has heard that it broke the protocol finds its lane gone, however fast it comes back.
func TestMalformedEndsLaneAtOnce(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	for i := range 50 {
		hello := sessionHello(uint64(100 + i))
		p := connect(t, g).greet(hello)
		p.echo()
		p.send(0x70, nil)
		for {
			if f := p.next(); f.Kind == proto.KindGoodbye {
				break
			}
		}
		q := connect(t, g)
		q.write(proto.AppendHello(nil, again(hello, p.got)))
		f := q.next()
		if f.Kind != proto.KindWelcome {
			continue // refused: it has just ended
		}
		if w, err := proto.ParseWelcome(f.Payload); err != nil || w.Resumed {
			t.Fatalf("try %d: resumed %v, %v", i, w.Resumed, err)
		}
	}
}

// What finds no room is told when to come back, and a swarm does so.
func TestRetryAfter(t *testing.T) {
	g := startGateway(t, GatewayConfig{MaxHandlers: 1, Streams: 1, RetryAfter: 1234 * time.Millisecond})
	g.HandleCall("busy", func(context.Context, []byte) ([]byte, error) {
		return nil, &StatusError{Status: StatusBusy, Text: "not now", RetryAfter: 42 * time.Millisecond}
	})
	g.HandleStream("busy stream", func(context.Context, []byte, *Stream) error {
		return &StatusError{Status: StatusBusy, RetryAfter: time.Second}
	})
	p := connect(t, g).greet(helloFor())
	p.tasks("busy", rawTask{0, ""})
	r := p.results(1)[0]
	if after := p.fields.RetryAfter(); r.Status != StatusBusy || after != 42*time.Millisecond {
		t.Errorf("status %v, retry after %v", r.Status, after)
	}
	p.tasks("echo", rawTask{0, "x"})
	if r := p.results(1)[0]; r.Status != StatusOK || p.fields != nil {
		t.Errorf("status %v, fields %x", r.Status, p.fields)
	}
	q := connect(t, g)
	q.write(proto.AppendHello(nil, helloFor()))
	bye, err := proto.ParseGoodbye(q.expect(proto.KindGoodbye))
	if err != nil || bye.Code != proto.GoodbyeFull || bye.RetryAfter() != 1234*time.Millisecond {
		t.Errorf("goodbye %v, retry after %v, %v", bye.Code, bye.RetryAfter(), err)
	}
	_ = p.conn.Close()
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1, Wait: patience})
	_, err = s.Call(testContext(t), "busy", nil)
	var te *TaskError
	if !errors.As(err, &te) || !errors.Is(err, ErrBusy) || te.RetryAfter != 42*time.Millisecond {
		t.Errorf("a call ends with %v, %+v", err, te)
	}
	st, err := s.OpenStream(testContext(t), "busy stream", nil)
	if err == nil {
		_, _, err = st.Recv()
	}
	if !errors.As(err, &te) || te.RetryAfter != time.Second {
		t.Errorf("a stream ends with %v", err)
	}
}

// The pauses of a swarm are as long as its gateway asks, within reason.
func TestAfterAsked(t *testing.T) {
	for _, c := range []struct{ pause, asked, least, most time.Duration }{
		{100, 0, 100, 100},
		{100, -5, 100, 100},
		{100, 10, 100, 100},
		{100, 1000, 1000, 1500},
		{time.Second, time.Hour, time.Minute, 90 * time.Second},
	} {
		for range 20 {
			if got := afterAsked(c.pause, c.asked); got < c.least || got > c.most {
				t.Errorf("%v, asked for %v: %v, want %v to %v", c.pause, c.asked, got, c.least, c.most)
			}
		}
	}
	full := fmt.Errorf("handshake: %w", saidGoodbye{heard(proto.Goodbye{Code: proto.GoodbyeFull, Extensions: []proto.Extension{proto.RetryAfterField(time.Second)}})})
	if got := pauseAfter(full, time.Millisecond); got < time.Second {
		t.Errorf("pause after %v: %v", full, got)
	}
	if got := pauseAfter(errIdle, time.Millisecond); got != time.Millisecond {
		t.Errorf("pause after %v: %v", errIdle, got)
	}
}

// Tasks that a draining gateway refuses go to the successor that it names, as do those who dial it then.
func TestSuccessor(t *testing.T) {
	next := startGateway(t, GatewayConfig{})
	next.HandleCall("who", func(context.Context, []byte) ([]byte, error) { return []byte("next"), nil })
	g := startGateway(t, GatewayConfig{Successor: next.URLs()[0]})
	began, hold := make(chan struct{}), make(chan struct{})
	g.HandleCall("who", func(context.Context, []byte) ([]byte, error) {
		close(began)
		<-hold
		return []byte("first"), nil
	})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 2, Wait: patience})
	first := s.Go(testContext(t), "who", nil)
	within(t, "the task runs", began)
	stopped := make(chan error, 1)
	go func() { stopped <- g.Shutdown(testContext(t)) }()
	eventually(t, "the gateway drains", func() bool { return g.draining.Load() })
	second := s.Go(testContext(t), "who", nil) // parked until there is another gateway

	late, err := Dial(testContext(t), g.URLs()[0], &SwarmConfig{Connections: 1})
	if err != nil {
		t.Fatalf("a swarm that dials the draining gateway: %v", err)
	}
	defer late.Close()
	if out, err := late.Call(testContext(t), "who", nil); string(out) != "next" {
		t.Errorf("it is answered by %q, %v", out, err)
	}
	close(hold)
	if out, err := first.Result(); string(out) != "first" {
		t.Errorf("what ran is answered with %q, %v", out, err)
	}
	if err := within(t, "the gateway has drained", stopped); err != nil {
		t.Errorf("Shutdown: %v", err)
	}
	if out, err := second.Result(); string(out) != "next" {
		t.Errorf("what was refused is answered with %q, %v", out, err)
	}
	if out, err := s.Call(testContext(t), "who", nil); string(out) != "next" {
		t.Errorf("what comes later is answered with %q, %v", out, err)
	}
}

// Where nobody answers at the successor, the swarm comes back to the address that it was given.
func TestSuccessorThatIsNotThere(t *testing.T) {
	g := startGateway(t, GatewayConfig{Listen: []string{"unix://" + t.TempDir() + "/g.sock"}, Successor: "tcp://127.0.0.1:1"})
	url := g.URLs()[0]
	s := dial(t, url, &SwarmConfig{Connections: 1, Wait: patience})
	if err := g.Shutdown(testContext(t)); err != nil {
		t.Fatal(err)
	}
	startGateway(t, GatewayConfig{Listen: []string{url}})
	if out, err := s.Call(testContext(t), "echo", []byte("x")); string(out) != "x" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestSuccessorChecked(t *testing.T) {
	for _, url := range []string{"somewhere", "http://127.0.0.1:80", "unix://" + string(bytes.Repeat([]byte("/long"), 60))} {
		if err := NewGateway(GatewayConfig{Successor: url}).Start(); !errors.Is(err, ErrBadURL) && !errors.Is(err, ErrBadConfig) {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// brittleConn breaks after so many bytes, in both directions together.
type brittleConn struct {
	net.Conn
	left atomic.Int64
}

func (c *brittleConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p[:min(len(p), 4<<10)])
	return n, errors.Join(err, c.wear(n))
}

func (c *brittleConn) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := c.Conn.Write(p[done:min(len(p), done+4<<10)])
		done += n
		if err = errors.Join(err, c.wear(n)); err != nil {
			return done, err
		}
	}
	return done, nil
}

func (c *brittleConn) wear(n int) error {
	if c.left.Add(int64(-n)) > 0 {
		return nil
	}
	_ = c.Close()
	return errWireBroken
}

// Frames get through, both ways, that are far larger than what any connection carries before it breaks.
func TestLargeFramesOverBrittleConnections(t *testing.T) {
	for _, c := range []struct{ frame, carried int }{{3 << 20, 200 << 10}, {300 << 10, 24 << 10}} {
		g := startGateway(t, GatewayConfig{})
		var connections atomic.Int64
		s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1, MinBackoff: time.Millisecond, MaxBackoff: 2 * time.Millisecond, Wait: patience,
			Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
				conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
				if err != nil {
					return nil, err
				}
				connections.Add(1)
				b := &brittleConn{Conn: conn}
				b.left.Store(int64(c.carried))
				return b, nil
			}})
		in := bytes.Repeat([]byte("a large frame. "), c.frame/15)
		out, err := s.Call(testContext(t), "echo", in)
		if err != nil || !bytes.Equal(out, in) {
			t.Errorf("%d bytes came back as %d, %v", len(in), len(out), err)
		}
		if n := connections.Load(); n < int64(2*c.frame/c.carried) {
			t.Errorf("%d connections carried it", n)
		}
	}
}
