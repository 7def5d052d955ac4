package netio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"shoal/proto"
)

func TestDialErrors(t *testing.T) {
	checkLeaks(t)
	listener := func(serve func(conn net.Conn)) string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ln.Close() })
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				go func() { serve(conn); _ = conn.Close() }()
			}
		}()
		return "tcp://" + ln.Addr().String()
	}
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = gone.Close()
	read := func(conn net.Conn) { _, _ = conn.Read(make([]byte, 1000)) }
	hang := make(chan struct{})
	t.Cleanup(func() { close(hang) })
	for _, c := range []struct {
		name, url string
		want      error
	}{
		{"nothing there", "tcp://" + gone.Addr().String(), ErrUnreachable},
		{"no unix socket there", "unix://" + t.TempDir() + "/s", ErrUnreachable},
		{"web server", listener(func(conn net.Conn) { read(conn); _, _ = conn.Write([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }), ErrNotShoal},
		{"mail server", listener(func(conn net.Conn) { _, _ = conn.Write([]byte("220 mail.example.org ESMTP\r\n")); read(conn) }), ErrNotShoal},
		{"closes at once", listener(func(net.Conn) {}), ErrUnreachable},
		{"reads and closes", listener(read), ErrUnreachable},
		{"never answers", listener(func(net.Conn) { <-hang }), ErrUnreachable},
		{"wrong magic", listener(func(conn net.Conn) {
			read(conn)
			b := proto.AppendWelcome(nil, proto.Welcome{Version: 1, FrameLimit: 4096, Window: 1})
			b[8] = 'X'
			_, _ = conn.Write(b)
		}), ErrNotShoal},
		{"another version", listener(func(conn net.Conn) {
			read(conn)
			_, _ = conn.Write(proto.AppendWelcome(nil, proto.Welcome{Version: 2, FrameLimit: 4096, Window: 1}))
		}), ErrVersion},
		{"window of zero", listener(func(conn net.Conn) {
			read(conn)
			_, _ = conn.Write(proto.AppendWelcome(nil, proto.Welcome{Version: 1, FrameLimit: 4096, IdleTimeout: 1}))
		}), ErrMalformed},
		{"goodbye not allowed", listener(func(conn net.Conn) {
			read(conn)
			_, _ = conn.Write(proto.AppendGoodbye(nil, proto.Goodbye{Code: proto.GoodbyeNotAllowed, Text: "go away"}))
		}), ErrNotAllowed},
		{"goodbye draining", listener(func(conn net.Conn) {
			read(conn)
			_, _ = conn.Write(proto.AppendGoodbye(nil, proto.Goodbye{Code: proto.GoodbyeDraining}))
		}), ErrDraining},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := Dial(testContext(t), c.url, &SwarmConfig{DialTimeout: 200 * time.Millisecond})
			if err == nil {
				_ = s.Close()
			}
			if !errors.Is(err, c.want) {
				t.Errorf("error is %v, want %v", err, c.want)
			}
			if err != nil && !strings.Contains(err.Error(), c.url) {
				t.Errorf("%q does not say where", err)
			}
		})
	}
	for _, url := range []string{"", "localhost:1", "http://localhost:1"} {
		if _, err := Dial(testContext(t), url, nil); err == nil {
			t.Errorf("%q is dialled", url)
		}
	}
}

func TestDialWaitsForGateway(t *testing.T) {
	checkLeaks(t)
	url := "unix://" + t.TempDir() + "/s"
	done := make(chan error, 1)
	var s *Swarm
	go func() {
		var err error
		s, err = Dial(testContext(t), url, &SwarmConfig{Wait: patience, MaxBackoff: 10 * time.Millisecond})
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(30 * time.Millisecond):
	}
	startGateway(t, GatewayConfig{Listen: []string{url}})
	if err := within(t, "the swarm finds it", done); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if out, err := s.Call(testContext(t), "echo", []byte("hi")); err != nil || string(out) != "hi" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestDialWaitEnds(t *testing.T) {
	checkLeaks(t)
	url := "unix://" + t.TempDir() + "/s"
	start := time.Now()
	_, err := Dial(testContext(t), url, &SwarmConfig{Wait: 50 * time.Millisecond})
	if d := time.Since(start); !errors.Is(err, ErrUnreachable) || d < 50*time.Millisecond {
		t.Errorf("after %v: %v", d, err)
	}
	ctx, cancel := context.WithTimeout(testContext(t), 30*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, url, &SwarmConfig{Wait: time.Hour}); !errors.Is(err, ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with a context that ends: %v", err)
	}
}

func TestSwarmCallErrors(t *testing.T) {
	g := startGateway(t, GatewayConfig{FrameLimit: 8192})
	g.HandleTask("table", emulation{}.run)
	g.HandleCall("own", func(context.Context, []byte) ([]byte, error) {
		return nil, &StatusError{Code: 4711, Text: "because", Details: []byte{1, 2}}
	})
	g.HandleStream("stream", func(context.Context, []byte, *Stream) error { return nil })
	s := dial(t, g.URLs()[0], &SwarmConfig{FrameLimit: 4096})
	for _, c := range []struct {
		name string
		in   int
		want error
	}{
		{"fail", 0, ErrFailed}, {"panic", 0, ErrPanicked}, {"goexit", 0, ErrPanicked}, {"nobody", 0, ErrUnknownSubroutine},
		{"table", 3, ErrUnknownTask}, {"own", 0, ErrFailed}, {"stream", 0, ErrWrongShape}, {"", 0, ErrUnknownSubroutine},
		{strings.Repeat("n", 256), 0, ErrUnknownSubroutine}, {strings.Repeat("n", 255), 0, ErrUnknownSubroutine},
		{"echo", 8192, ErrTooLarge}, {"echo", 8000, ErrTooLarge}, // the answer is
	} {
		_, err := s.Call(testContext(t), c.name, make([]byte, c.in))
		if !errors.Is(err, c.want) {
			t.Errorf("%.20s of %d bytes: %v, want %v", c.name, c.in, err, c.want)
		}
	}
	var te *TaskError
	_, err := s.Call(testContext(t), "own", nil)
	if !errors.As(err, &te) || te.Code != 4711 || te.Text != "because" || string(te.Details) != "\x01\x02" || te.Subroutine != "own" {
		t.Errorf("error is %+v", err)
	}
	for _, size := range []int{0, 1, 4000} {
		if out, err := s.Call(testContext(t), "echo", make([]byte, size)); err != nil || len(out) != size {
			t.Errorf("%d bytes: %d, %v", size, len(out), err)
		}
	}
	if s.Connected() != 4 {
		t.Errorf("%d connections left", s.Connected())
	}
}

func TestSwarmGo(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	s := dial(t, g.URLs()[0], nil)
	var calls []*Pending
	for i := range 100 {
		calls = append(calls, s.Go(testContext(t), "echo", fmt.Append(nil, i)))
	}
	for i, c := range calls {
		for range 2 {
			if out, err := c.Result(); err != nil || string(out) != fmt.Sprint(i) {
				t.Errorf("call %d: %q, %v", i, out, err)
			}
		}
	}
}

func TestSwarmCloseWhileCallsRun(t *testing.T) {
	g := startGateway(t, GatewayConfig{Window: 8})
	g.HandleStream("hold", func(ctx context.Context, _ []byte, _ *Stream) error { <-ctx.Done(); return ctx.Err() })
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 2})
	var calls []*Pending
	for range 40 { // some of them wait for a slot
		calls = append(calls, s.Go(context.Background(), "wait", nil))
	}
	stream := make(chan error, 1)
	go func() {
		for _, err := range s.Stream(context.Background(), "hold", nil) {
			stream <- err
		}
	}()
	mapped := make(chan int, 1)
	go func() {
		n := 0
		for _, err := range s.Map(context.Background(), "wait", repeat(100), nil) {
			if err != nil {
				n++
			}
		}
		mapped <- n
	}()
	eventually(t, "all are under way", func() bool {
		st := g.Stats()
		return st.Running == 16 && st.Streams == 1 && s.waiting.Load() > 20
	})
	_ = s.Close()
	for _, c := range calls {
		within(t, "all calls return", c.Done())
		if _, err := c.Result(); !errors.Is(err, ErrCanceled) && !errors.Is(err, ErrClosed) && !errors.Is(err, ErrLost) {
			t.Errorf("error is %v", err)
		}
	}
	if err := within(t, "the stream ends", stream); err == nil {
		t.Error("the stream ended well")
	}
	within(t, "the map ends", mapped)
	eventually(t, "all is cancelled at the gateway", func() bool {
		st := g.Stats()
		return st.Running == 0 && st.Streams == 0 && st.Handlers == 0
	})
	if _, err := s.Call(context.Background(), "echo", nil); !errors.Is(err, ErrClosed) {
		t.Errorf("a call on a closed swarm: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
}

// repeat yields n items that say which they are.
func repeat(n int) func(yield func([]byte) bool) {
	return func(yield func([]byte) bool) {
		for i := range n {
			if !yield(fmt.Append(nil, i)) {
				return
			}
		}
	}
}

func TestSwarmPing(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	p := startProxy(t, g.URLs()[0])
	s := dial(t, p.url(), &SwarmConfig{Connections: 3, MinBackoff: time.Hour})
	for i, pong := range s.Ping(testContext(t), make([]byte, 1000)) {
		if pong.Connection != i || pong.RTT <= 0 || pong.Err != nil {
			t.Errorf("pong is %+v", pong)
		}
	}
	if pongs := s.Ping(testContext(t), make([]byte, 1001)); !errors.Is(pongs[0].Err, ErrTooLarge) {
		t.Errorf("error is %v", pongs[0].Err)
	}
	p.set(func(p *proxy) { p.silent = true })
	lost := make(chan []Pong, 1)
	go func() { lost <- s.Ping(context.Background(), nil) }()
	eventually(t, "a ping is on its way", func() bool {
		s.lanes[0].mu.Lock()
		defer s.lanes[0].mu.Unlock()
		return len(s.lanes[0].pings) == 1
	})
	p.cut()
	for _, pong := range within(t, "pings end with their connection", lost) {
		if !errors.Is(pong.Err, ErrUnreachable) {
			t.Errorf("pong is %+v", pong)
		}
	}
}

// zeros is a body without an end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// Closing a swarm in the middle of sends tells the gateway, whose subroutines end at once.
func TestSwarmCloseWhileSending(t *testing.T) {
	for range 10 {
		g := startGateway(t, GatewayConfig{})
		g.HandleSend("sink", func(_ context.Context, _ []byte, body io.Reader) ([]byte, error) {
			_, err := io.Copy(io.Discard, body)
			return nil, err
		})
		s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
		var senders sync.WaitGroup
		for range 16 {
			senders.Go(func() { _, _ = s.Send(testContext(t), "sink", nil, zeros{}) })
		}
		eventually(t, "all send", func() bool { return g.Stats().Streams == 16 })
		_ = s.Close()
		eventually(t, "the subroutines end", func() bool { return g.Stats().Streams == 0 })
		senders.Wait()
		_ = g.Close()
	}
}
