package netio

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"shoal/proto"
)

func TestGatewayOneByteAtATime(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	p := connect(t, g)
	for _, b := range proto.AppendHello(nil, helloFor()) {
		p.write([]byte{b})
	}
	p.expect(proto.KindWelcome)
	var all []byte
	for i := range uint32(3) {
		all = append(all, tasksFrame(0, "echo", rawTask{2 * i, "even"}, rawTask{2*i + 1, "odd"})...)
	}
	for _, b := range all {
		p.write([]byte{b})
	}
	for id, r := range p.results(6) {
		if want := []string{"even", "odd"}[id%2]; r.Status != StatusOK || string(r.Body) != want {
			t.Errorf("task %d: %v %q, want %q", id, r.Status, r.Body, want)
		}
	}
}

func TestGatewayDisconnectMidMessageFreesHandler(t *testing.T) {
	g := startGateway(t, GatewayConfig{MaxHandlers: 1})
	for range 20 {
		var p *raw
		eventually(t, "the only handler is free", func() bool { return g.Stats().Handlers == 0 })
		p = connect(t, g).greet(helloFor())
		frame := tasksFrame(0, "echo", rawTask{0, "half"})
		p.write(frame[:len(frame)/2])
		_ = p.conn.Close()
	}
	eventually(t, "the handler is freed", func() bool { return g.Stats().Handlers == 0 })
}

func TestGatewayManyClientsConnectAtOnce(t *testing.T) {
	for _, n := range []int{20, 200} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			g := startGateway(t, GatewayConfig{MaxHandlers: n})
			ctx := testContext(t)
			var all sync.WaitGroup
			begin := make(chan struct{})
			held := newGate(t)
			for i := range n {
				all.Go(func() {
					<-begin
					s, err := Dial(ctx, g.URLs()[0], &SwarmConfig{Connections: 1})
					if err != nil {
						t.Errorf("client %d: %v", i, err)
						held.arrived <- struct{}{}
						return
					}
					defer s.Close()
					want := fmt.Sprint("I am ", i)
					if out, err := s.Call(ctx, "echo", []byte(want)); err != nil || string(out) != want {
						t.Errorf("client %d gets %q, %v", i, out, err)
					}
					_, _ = held.pass(ctx, nil) // all are connected at the same time
				})
			}
			close(begin)
			for range n {
				within(t, "all clients are served", held.arrived)
			}
			if got := g.Stats().Handlers; got != n && !t.Failed() {
				t.Errorf("%d handlers", got)
			}
			held.release()
			all.Wait()
		})
	}
}

func TestGatewayFull(t *testing.T) {
	g := startGateway(t, GatewayConfig{MaxHandlers: 2})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 2})
	_, err := Dial(testContext(t), g.URLs()[0], &SwarmConfig{Connections: 1})
	if !errors.Is(err, ErrFull) {
		t.Fatalf("error is %v", err)
	}
	if got := connect(t, g); true {
		got.write(proto.AppendHello(nil, helloFor()))
		if text := got.goodbye(proto.GoodbyeFull); !strings.Contains(text, "2") {
			t.Errorf("%q does not name the limit", text)
		}
	}
	_ = s.Close() // a client can close its handlers
	eventually(t, "the handlers are free", func() bool { return g.Stats().Handlers == 0 })
	dial(t, g.URLs()[0], &SwarmConfig{Connections: 2})
}

func TestGatewayHandshakes(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	with := func(change func(h *proto.Hello)) []byte {
		h := helloFor()
		change(&h)
		return proto.AppendHello(nil, h)
	}
	for _, c := range []struct {
		name string
		send []byte
		code proto.GoodbyeCode
		text string
	}{
		{"critical extension", with(func(h *proto.Hello) { h.Extensions = []proto.Extension{{Type: 0x8001}} }), proto.GoodbyeNotAllowed, "0x8001"},
		{"version too high", with(func(h *proto.Hello) { h.MinVersion, h.MaxVersion = 2, 9 }), proto.GoodbyeVersion, "version 1"},
		{"version too low", with(func(h *proto.Hello) { h.MinVersion, h.MaxVersion = 0, 0 }), proto.GoodbyeVersion, "version 1"},
		{"versions crossed", with(func(h *proto.Hello) { h.MinVersion, h.MaxVersion = 2, 1 }), proto.GoodbyeMalformed, ""},
		{"frame limit too low", with(func(h *proto.Hello) { h.FrameLimit = 4095 }), proto.GoodbyeMalformed, "4095"},
		{"hello too long", append([]byte{1, 16, 0, 0, byte(proto.KindHello), 0, 0, 0}, "SHOL"...), proto.GoodbyeMalformed, ""},
		{"not shoal", []byte("EHLO example.org\r\n"), proto.GoodbyeMalformed, "EHLO"},
		{"wrong magic", append([]byte{56, 0, 0, 0, byte(proto.KindHello), 0, 0, 0}, "SHOE"...), proto.GoodbyeMalformed, "magic"},
		{"tasks first", tasksFrame(0, "echo", rawTask{0, "x"}), proto.GoodbyeMalformed, ""},
		{"zeros", make([]byte, 64), proto.GoodbyeMalformed, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, connect := range []func(testing.TB, *Gateway) *raw{connect, connectPipe} {
				p := connect(t, g)
				go func() { _, _ = p.conn.Write(c.send) }()
				if text := p.goodbye(c.code); !strings.Contains(text, c.text) {
					t.Errorf("%q does not say %q", text, c.text)
				}
			}
		})
	}
	t.Run("extension that may be ignored", func(t *testing.T) {
		h := helloFor()
		h.Extensions = []proto.Extension{{Type: 0x777, Value: []byte("later")}}
		connect(t, g).greet(h).echo()
	})
	eventually(t, "nothing is left of them", func() bool { return g.Stats().Handlers == 0 })
}

func TestGatewayHandshakeThatNeverComes(t *testing.T) {
	g := startGateway(t, GatewayConfig{HandshakeTimeout: 30 * time.Millisecond})
	silent := connect(t, g)
	slow := connect(t, g)
	slow.write(proto.AppendHello(nil, helloFor())[:20])
	silent.goodbye(proto.GoodbyeIdle)
	slow.goodbye(proto.GoodbyeIdle)
	connect(t, g).greet(helloFor()).echo()
}

func TestGatewayHTTPClient(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(strings.Replace(g.URLs()[0], "tcp", "http", 1))
	if err == nil {
		_ = resp.Body.Close()
		t.Fatalf("HTTP is answered with %s", resp.Status)
	}
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		t.Errorf("the HTTP client waited for nothing: %v", err)
	}
	connect(t, g).greet(helloFor()).echo()
}

func TestGatewayIdleTimeout(t *testing.T) {
	g := startGateway(t, GatewayConfig{IdleTimeout: 300 * time.Millisecond})
	p := connect(t, g).greet(helloFor())
	if p.welcome.IdleTimeout != 300 {
		t.Errorf("welcome says %d ms", p.welcome.IdleTimeout)
	}
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1}) // pings as often as the gateway wants it
	start := time.Now()
	p.goodbye(proto.GoodbyeIdle)
	if waited := time.Since(start); waited < 200*time.Millisecond {
		t.Errorf("cut off after %v", waited)
	}
	eventually(t, "several idle times have passed", func() bool { return time.Since(start) > 800*time.Millisecond })
	if s.Connected() != 1 {
		t.Error("a client that pings was cut off")
	}
	if g.Stats().Handlers != 1 {
		t.Errorf("%d handlers", g.Stats().Handlers)
	}
}

func TestGatewayHalfClose(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	p := connect(t, g).greet(helloFor())
	p.tasks("wait", rawTask{0, ""})
	eventually(t, "the task runs", func() bool { return g.Stats().Running == 1 })
	if err := p.conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	p.closed()
	eventually(t, "the task is cancelled and the handler free", func() bool {
		s := g.Stats()
		return s.Running == 0 && s.Handlers == 0
	})
}

func TestGatewayTwoClientsGetTheirOwnAnswers(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	ctx := testContext(t)
	var all sync.WaitGroup
	for client := range 4 {
		s := dial(t, g.URLs()[0], nil)
		for caller := range 4 {
			all.Go(func() {
				for i := range 100 {
					want := fmt.Sprintf("client %d caller %d call %d", client, caller, i)
					if out, err := s.Call(ctx, "echo", []byte(want)); err != nil || string(out) != want {
						t.Errorf("%q is answered with %q, %v", want, out, err)
						return
					}
				}
			})
		}
	}
	all.Wait()
}

func TestGatewayManyAddresses(t *testing.T) {
	g := startGateway(t, GatewayConfig{Listen: []string{"tcp://127.0.0.1:0", "tcp://localhost:0", "unix://" + t.TempDir() + "/s"}})
	urls := g.URLs()
	if len(urls) != 3 {
		t.Fatalf("URLs are %v", urls)
	}
	for _, url := range urls {
		if strings.HasSuffix(url, ":0") {
			t.Errorf("%s has no port", url)
		}
		out, err := dial(t, url, nil).Call(testContext(t), "echo", []byte(url))
		if err != nil || string(out) != url {
			t.Errorf("%s: %q, %v", url, out, err)
		}
	}
}

func TestGatewayServesOnce(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	if err := g.Start(); !errors.Is(err, ErrClosed) {
		t.Errorf("second start: %v", err)
	}
	_ = g.Close()
	if err := g.Start(); !errors.Is(err, ErrClosed) {
		t.Errorf("start after the end: %v", err)
	}
	if err := g.Close(); err != nil {
		t.Errorf("second close: %v", err)
	}
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.URLs()[0], "tcp://"))
	if err == nil {
		_, err = io.ReadAll(conn)
		_ = conn.Close()
		t.Errorf("a closed gateway accepts: %v", err)
	}
}
