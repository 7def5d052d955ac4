package netio

import (
	"context"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// startSlowLine stands between swarms and a gateway and passes so many bytes a second on, each way. It keeps as little in
// between as the system lets it.
func startSlowLine(t *testing.T, url string, rate int) string {
	t.Helper()
	checkLeaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	closed := false
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		closed = true
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	pump := func(from, to net.Conn) {
		defer from.Close()
		defer to.Close()
		buf := make([]byte, 16<<10)
		for {
			n, err := from.Read(buf)
			if _, failed := to.Write(buf[:n]); failed != nil || err != nil {
				return
			}
			time.Sleep(time.Duration(n) * time.Second / time.Duration(rate))
		}
	}
	all.Go(func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", strings.TrimPrefix(url, "tcp://"))
			if err != nil {
				_ = in.Close()
				continue
			}
			for _, c := range []net.Conn{in, out} {
				_ = c.(*net.TCPConn).SetReadBuffer(16 << 10)
			}
			mu.Lock()
			open = append(open, in, out)
			if closed {
				_, _ = in.Close(), out.Close()
			}
			mu.Unlock()
			all.Go(func() { pump(in, out) })
			all.Go(func() { pump(out, in) })
		}
	})
	return "tcp://" + ln.Addr().String()
}

// A large frame on a slow line takes longer than the time-outs of both sides, and moves all the time. (The system lets a
// writer go on when a third of its buffer is free, which here may be a megabyte; and the answer to a ping waits for what is
// in the buffer before it.)
func TestSlowLineLargeFrames(t *testing.T) {
	const size = 12 << 20
	g := startGateway(t, GatewayConfig{FrameLimit: 16 << 20, WriteTimeout: time.Second})
	g.HandleCall("large", func(context.Context, []byte) ([]byte, error) { return make([]byte, size), nil })
	g.HandleCall("length", func(_ context.Context, in []byte) ([]byte, error) { return in[:min(len(in), 1)], nil })
	lines := &logBuffer{}
	s, err := newSwarm(startSlowLine(t, g.URLs()[0], 6<<20), &SwarmConfig{Connections: 1, FrameLimit: 16 << 20,
		Heartbeat: 350 * time.Millisecond, Logger: lines.logger()})
	if err != nil {
		t.Fatal(err)
	}
	dial := s.dial
	s.dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err == nil {
			err = c.(*net.TCPConn).SetWriteBuffer(64 << 10)
		}
		return c, err
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.reach(testContext(t)); err != nil {
		t.Fatal(err)
	}
	s.running.Go(s.keep)
	if out, err := s.Call(testContext(t), "large", nil); err != nil || len(out) != size {
		t.Errorf("%d bytes, %v\n%s", len(out), err, lines)
	}
	if _, err := s.Call(testContext(t), "length", make([]byte, size)); err != nil {
		t.Errorf("%v\n%s", err, lines)
	}
}

// A client that receives a little all the time, and has nothing to send, is not idle.
func TestTrickleIsNotIdle(t *testing.T) {
	g := startGateway(t, GatewayConfig{IdleTimeout: 400 * time.Millisecond})
	g.HandleStream("trickle", func(_ context.Context, _ []byte, out *Stream) error {
		for i := range int64(100) {
			if err := out.Send(i, []byte("line")); err != nil {
				return err
			}
			time.Sleep(10 * time.Millisecond)
		}
		return nil
	})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1, NoSession: true, Heartbeat: 40 * time.Millisecond})
	n := 0
	if err := s.StreamFunc(testContext(t), "trickle", nil, func(Chunk) bool { n++; return true }); err != nil || n != 100 {
		t.Errorf("%d chunks, %v", n, err)
	}
}
