package netio

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"shoal/proto"
)

func TestShutdownDrains(t *testing.T) {
	path := t.TempDir() + "/s"
	g := startStreams(t, GatewayConfig{Listen: []string{"unix://" + path}})
	held := newGate(t)
	g.HandleCall("held", held.pass)
	g.HandleTask("table", emulation{"x": {[]byte("1"), 50 * time.Millisecond}}.run)
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 2})
	p := connect(t, g).greet(helloFor())
	p.tasks("held", rawTask{0, ""})
	calls := []*Pending{s.Go(testContext(t), "held", nil), s.Go(testContext(t), "table", []byte("x"))}
	within(t, "one runs", held.arrived)
	within(t, "two run", held.arrived)
	eventually(t, "all are under way", func() bool { st := g.Stats(); return st.Running == 2 && st.Held == 1 })
	done := make(chan error, 1)
	go func() { done <- g.Shutdown(testContext(t)) }()
	p.expect(proto.KindDrain)
	p.tasks("echo", rawTask{1, "new"})
	p.open(0, proto.ShapeStream, "count", "1")
	if r := p.results(1)[1]; r.Status != StatusDraining {
		t.Errorf("a new task: %v", r.Status)
	}
	if e, _ := p.end(0); e.Status != StatusDraining {
		t.Errorf("a new stream: %v", e.Status)
	}
	if _, err := s.Call(testContext(t), "echo", nil); !errors.Is(err, ErrDraining) {
		t.Errorf("a new call: %v", err)
	}
	if _, err := Dial(testContext(t), g.URLs()[0], nil); !errors.Is(err, ErrDraining) {
		t.Errorf("a new swarm: %v", err)
	}
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	default:
	}
	held.release()
	if r := p.results(1)[0]; r.Status != StatusOK || string(r.Body) != "through" {
		t.Errorf("the running task: %v %q", r.Status, r.Body)
	}
	p.goodbye(proto.GoodbyeDraining)
	for i, want := range []string{"through", "1"} {
		if out, err := calls[i].Result(); err != nil || string(out) != want {
			t.Errorf("running call %d: %q, %v", i, out, err)
		}
	}
	if err := within(t, "the drain ends", done); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket file is left: %v", err)
	}
}

// callThatWaits makes a call that waits for the end of its context, and returns when it runs: what has not begun when a drain
// begins is refused.
func callThatWaits(t *testing.T, g *Gateway, s *Swarm) *Pending {
	runs := make(chan struct{})
	g.HandleCall("told", func(ctx context.Context, _ []byte) ([]byte, error) {
		close(runs)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	call := s.Go(context.Background(), "told", nil)
	within(t, "it runs", runs)
	return call
}

func TestShutdownCutShort(t *testing.T) {
	g := startStreams(t, GatewayConfig{})
	s := dial(t, g.URLs()[0], nil)
	call := callThatWaits(t, g, s)
	st, err := s.OpenStream(testContext(t), "hold", nil)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "both are under way", func() bool { st := g.Stats(); return st.Running == 1 && st.Streams == 1 })
	ctx, cancel := context.WithTimeout(testContext(t), 30*time.Millisecond)
	defer cancel()
	err = g.Shutdown(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 tasks and 1 streams") {
		t.Errorf("error is %v", err)
	}
	if _, err := call.Result(); !errors.Is(err, ErrLost) && !errors.Is(err, ErrCanceled) && !errors.Is(err, ErrDraining) {
		t.Errorf("the call ends with %v", err)
	}
	if _, err := st.Result(); err == nil {
		t.Error("the stream ended well")
	}
}

// A subroutine that does not return does not hold up the end for ever.
func TestCloseWithStubbornSubroutine(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	held := newGate(t)
	g.HandleCall("stubborn", held.pass)
	p := connect(t, g).greet(helloFor())
	p.tasks("stubborn", rawTask{0, ""})
	within(t, "it runs", held.arrived)
	closed := make(chan error, 1)
	go func() { closed <- g.Close() }()
	p.goodbye(proto.GoodbyeDraining)
	if err := within(t, "the gateway ends", closed); err != nil {
		t.Error(err)
	}
	held.release()
}

// A lane that is away during the drain gets its answers if it comes back.
func TestShutdownWaitsForLaneThatIsAway(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	held := newGate(t)
	g.HandleCall("held", held.pass)
	hello := helloFor()
	binary.LittleEndian.PutUint64(hello.Session[:], 4711)
	p := connect(t, g).greet(hello)
	p.tasks("held", rawTask{0, ""})
	within(t, "it runs", held.arrived)
	_ = p.conn.Close()
	done := make(chan error, 1)
	go func() { done <- g.Shutdown(testContext(t)) }()
	eventually(t, "it drains", g.draining.Load)
	held.release()
	eventually(t, "the answer is there", func() bool { return g.Stats().Running == 0 })
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	back := connect(t, g).greet(again(hello, 0))
	if !back.welcome.Resumed || !back.welcome.Draining {
		t.Errorf("welcome is %+v", back.welcome)
	}
	if r := back.results(1)[0]; r.Status != StatusOK {
		t.Errorf("the task: %v", r.Status)
	}
	back.write(proto.AppendAck(nil, back.got)) // until then it may not have arrived
	back.goodbye(proto.GoodbyeDraining)
	if err := within(t, "the drain ends", done); err != nil {
		t.Error(err)
	}
}

func TestCloseDuringShutdownCutsItShort(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	s := dial(t, g.URLs()[0], nil)
	callThatWaits(t, g, s)
	done := make(chan error, 1)
	go func() { done <- g.Shutdown(context.Background()) }()
	eventually(t, "it drains", g.draining.Load)
	_ = g.Close()
	if err := within(t, "the drain is cut short", done); err == nil {
		t.Error("the drain says that all was answered")
	}
}

// Whoever asks for the end while another drains waits for it, and learns the same.
func TestShutdownTwice(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	if err := newGateway(GatewayConfig{}).Shutdown(testContext(t)); err != nil {
		t.Errorf("one that never began: %v", err)
	}
	s := dial(t, g.URLs()[0], nil)
	callThatWaits(t, g, s)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	first, second := make(chan error, 1), make(chan error, 1)
	go func() { first <- g.Shutdown(ctx) }()
	eventually(t, "it drains", g.draining.Load)
	if err := shutdownCutShort(t, g); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("one that does not wait so long: %v", err)
	}
	go func() { second <- g.Shutdown(testContext(t)) }()
	select {
	case err := <-second:
		t.Fatalf("the second did not wait: %v", err)
	case err := <-first:
		t.Fatalf("one with less time cut the first short: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	cancel()
	err := within(t, "the first ends", first)
	if again := within(t, "the second ends", second); !errors.Is(err, context.Canceled) || again == nil || again.Error() != err.Error() {
		t.Errorf("the first: %v; the second: %v", err, again)
	}
	if late := g.Shutdown(ctx); late == nil || late.Error() != err.Error() {
		t.Errorf("afterwards: %v", late)
	}
}

// A client that is welcomed while the gateway ends hears a goodbye: it may have sent tasks the moment it was welcome, and what
// it knows of the end decides whether they run elsewhere.
func TestShutdownWhileWelcoming(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	ours, theirs := net.Pipe()
	held := &heldWrite{Conn: theirs, gate: newGate(t)}
	g.take(held, false)
	p := newRaw(t, ours)
	hello := helloFor()
	hello.Session = newID()
	p.greet(hello)
	within(t, "the welcome has left", held.gate.arrived)
	ended := make(chan error, 1)
	go func() { ended <- g.Shutdown(testContext(t)) }()
	within(t, "the gateway stops", g.stopping)
	g.mu.Lock() // whoever is closed without a word is closed before mu is free again
	//lint:ignore SA2001 nothing is to be done with it
	g.mu.Unlock()
	held.gate.release()
	for {
		f, err := p.read()
		if err != nil {
			t.Fatalf("no goodbye: %v", err)
		}
		if f.Kind == proto.KindGoodbye {
			if bye, err := proto.ParseGoodbye(f.Payload); err != nil || bye.Code != proto.GoodbyeDraining {
				t.Errorf("goodbye %+v, %v", bye, err)
			}
			break
		}
	}
	if err := within(t, "the end", ended); err != nil {
		t.Error(err)
	}
}

// A drain that begins while a client is being welcomed is told to it too.
func TestDrainWhileWelcoming(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	busy := newGate(t)
	g.HandleCall("held", busy.pass)
	connect(t, g).greet(helloFor()).tasks("held", rawTask{1, ""}) // so that the drain lasts
	within(t, "it runs", busy.arrived)
	ours, theirs := net.Pipe()
	held := &heldWrite{Conn: theirs, gate: newGate(t)}
	g.take(held, false)
	p := newRaw(t, ours).greet(helloFor())
	within(t, "the welcome has left", held.gate.arrived)
	ctx, cancel := context.WithCancel(testContext(t))
	done := make(chan error, 1)
	go func() { done <- g.Shutdown(ctx) }()
	eventually(t, "it drains", g.draining.Load)
	held.gate.release()
	if !p.welcome.Draining {
		p.expect(proto.KindDrain)
	}
	busy.release()
	cancel()
	within(t, "the end", done)
}

// heldWrite is a connection whose first write returns when the gate is released; its bytes have left before.
type heldWrite struct {
	net.Conn
	gate *gate
	once sync.Once
}

func (c *heldWrite) Write(b []byte) (n int, err error) {
	n, err = c.Conn.Write(b)
	c.once.Do(func() { _, _ = c.gate.pass(context.Background(), nil) })
	return n, err
}

func TestListenAndServe(t *testing.T) {
	checkLeaks(t)
	url := "unix://" + t.TempDir() + "/s"
	for _, ask := range []string{"context", "client"} {
		g := newGateway(GatewayConfig{Listen: []string{url}, AllowStop: true})
		ctx, cancel := context.WithCancel(testContext(t))
		done := make(chan error, 1)
		go func() { done <- g.ListenAndServe(ctx) }()
		s, err := Dial(ctx, url, &SwarmConfig{Wait: patience})
		if err != nil {
			t.Fatal(err)
		}
		if ask == "client" {
			if err := s.StopGateway(ctx); err != nil {
				t.Error(err)
			}
		} else {
			cancel()
		}
		if err := within(t, "it ends", done); err != nil {
			t.Errorf("stopped by its %s: %v", ask, err)
		}
		cancel()
		_ = s.Close()
	}
}

func TestStopFromAfarIsRefused(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	s := dial(t, g.URLs()[0], nil)
	if err := s.StopGateway(testContext(t)); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("error is %v", err)
	}
	if _, err := s.Call(testContext(t), "echo", nil); err != nil {
		t.Error(err)
	}
}

func TestListenAddressInUse(t *testing.T) {
	dir := t.TempDir()
	g := startGateway(t, GatewayConfig{Listen: []string{"tcp://127.0.0.1:0", "unix://" + dir + "/live"}})
	if err := os.WriteFile(dir+"/file", []byte("precious"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		url, text string
		want      error
	}{
		{g.URLs()[0], "in use", syscall.EADDRINUSE},
		{"unix://" + dir + "/live", "in use", syscall.EADDRINUSE},
		{"unix://" + dir + "/file", "no socket", fs.ErrExist},
		{"unix://" + dir, "no socket", fs.ErrExist},
		{"unix://" + dir + "/no/such", "folder", fs.ErrNotExist},
	} {
		other := newGateway(GatewayConfig{Listen: []string{"unix://" + dir + "/other", c.url}})
		if err := other.Start(); !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.url) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", c.url, err)
		}
		if _, err := os.Lstat(dir + "/other"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: the first address stays bound: %v", c.url, err)
		}
	}
	if b, err := os.ReadFile(dir + "/file"); err != nil || string(b) != "precious" {
		t.Errorf("the file has %q, %v", b, err)
	}
	if _, err := dial(t, "unix://"+dir+"/live", nil).Call(testContext(t), "echo", nil); err != nil {
		t.Errorf("the live one: %v", err)
	}
}

func TestListenReplacesStaleSocket(t *testing.T) {
	path := t.TempDir() + "/stale"
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path})
	if err != nil {
		t.Fatal(err)
	}
	ln.SetUnlinkOnClose(false) // as a process that is killed leaves it
	_ = ln.Close()
	startGateway(t, GatewayConfig{Listen: []string{"unix://" + path}})
	if _, err := dial(t, "unix://"+path, nil).Call(testContext(t), "echo", nil); err != nil {
		t.Error(err)
	}
}
