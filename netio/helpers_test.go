package netio

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait of a test: only a test that fails waits so long.
const patience = 20 * time.Second

func TestMain(m *testing.M) {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil { // the runtime's own descriptors are there from now on
		_ = ln.Close()
	}
	goroutines, descriptors := runtime.NumGoroutine(), countDescriptors()
	code := m.Run()
	if code == 0 && flag.Lookup("test.fuzz").Value.String() == "" { // fuzzing leaves a goroutine of its own
		if leak := waitForLeaks(goroutines, descriptors); leak != "" {
			fmt.Println("after all tests:", leak)
			code = 1
		}
	}
	os.Exit(code)
}

// countDescriptors returns how many files and sockets the process has open; 0 where that cannot be known.
func countDescriptors() int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(entries)
}

// waitForLeaks gives goroutines and descriptors time to end and says what is left.
func waitForLeaks(goroutines, descriptors int) string {
	for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		g, d := runtime.NumGoroutine(), countDescriptors()
		if g <= goroutines && d <= descriptors {
			return ""
		}
		if time.Now().After(end) {
			stacks := make([]byte, 1<<20)
			stacks = stacks[:runtime.Stack(stacks, true)]
			return fmt.Sprintf("%d goroutines, %d before; %d descriptors, %d before\n%s", g, goroutines, d, descriptors, stacks)
		}
	}
}

var leakChecked sync.Map

// checkLeaks fails the test if what it starts from here on is not gone when all its cleanups have run.
func checkLeaks(t testing.TB) {
	if _, again := leakChecked.LoadOrStore(t.Name(), true); again {
		return
	}
	goroutines, descriptors := runtime.NumGoroutine(), countDescriptors()
	t.Cleanup(func() {
		leakChecked.Delete(t.Name())
		if leak := waitForLeaks(goroutines, descriptors); leak != "" {
			t.Error("leak: " + leak)
		}
	})
}

// eventually waits until the condition holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// within fails the test if the channel gives nothing for too long.
func within[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("never happened: %s", what)
		panic("unreachable")
	}
}

// testContext returns a context that ends with the test, or long before the test binary would be stopped.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

// startGateway starts a gateway on a free port, with "echo", "fail", "panic", "goexit", and "wait", which ends with its
// context. It is closed at the end of the test.
func startGateway(t testing.TB, c GatewayConfig) *Gateway {
	t.Helper()
	checkLeaks(t)
	g := newGateway(c)
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = g.Close() })
	return g
}

func newGateway(c GatewayConfig) *Gateway {
	if c.Listen == nil {
		c.Listen = []string{"tcp://127.0.0.1:0"}
	}
	g := NewGateway(c)
	g.HandleCall("echo", func(_ context.Context, in []byte) ([]byte, error) { return in, nil })
	g.HandleCall("fail", func(_ context.Context, in []byte) ([]byte, error) { return nil, fmt.Errorf("no %s today", in) })
	g.HandleCall("panic", func(context.Context, []byte) ([]byte, error) { panic("oh no") })
	g.HandleCall("goexit", func(context.Context, []byte) ([]byte, error) { runtime.Goexit(); return nil, nil })
	g.HandleCall("wait", func(ctx context.Context, _ []byte) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() })
	return g
}

// dial returns a swarm whose connections are all up; it is closed at the end of the test.
func dial(t testing.TB, url string, c *SwarmConfig) *Swarm {
	t.Helper()
	checkLeaks(t)
	s, err := Dial(testContext(t), url, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.WaitConnected(testContext(t)); err != nil {
		t.Fatal(err)
	}
	return s
}

// gate blocks subroutines until it is opened, and counts who has come.
type gate struct {
	arrived chan struct{}
	open    chan struct{}
	once    sync.Once
}

func newGate(t testing.TB) *gate {
	g := &gate{arrived: make(chan struct{}, 1<<16), open: make(chan struct{})}
	t.Cleanup(g.release)
	return g
}

// pass waits for the gate whatever the context says.
func (g *gate) pass(context.Context, []byte) ([]byte, error) {
	g.arrived <- struct{}{}
	<-g.open
	return []byte("through"), nil
}

func (g *gate) release() { g.once.Do(func() { close(g.open) }) }

// logBuffer collects what a gateway or a swarm logs.
type logBuffer struct {
	mu  sync.Mutex // guards what follows
	buf bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func (l *logBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// proxy stands between a swarm and a gateway: it can cut all connections, also after so many bytes, and go silent.
type proxy struct {
	t      testing.TB
	ln     net.Listener
	target string

	mu       sync.Mutex // guards what follows
	conns    map[net.Conn]struct{}
	accepted int
	refuse   bool
	silent   bool
	moving   *sync.Cond // signalled when silent becomes false, or at the end
	closed   bool
	cutAfter int // bytes to the client, then all connections are cut; 0: never
}

func startProxy(t testing.TB, url string) *proxy {
	t.Helper()
	checkLeaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, ln: ln, target: strings.TrimPrefix(url, "tcp://"), conns: map[net.Conn]struct{}{}}
	p.moving = sync.NewCond(&p.mu)
	go p.accept()
	t.Cleanup(func() {
		_ = ln.Close()
		p.mu.Lock()
		p.closed = true
		p.moving.Broadcast()
		p.mu.Unlock()
		p.cut()
	})
	return p
}

func (p *proxy) url() string { return "tcp://" + p.ln.Addr().String() }

func (p *proxy) accept() {
	for {
		in, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		refuse, target := p.refuse || p.closed, p.target
		p.mu.Unlock()
		out, err := net.Dial("tcp", target)
		if refuse || err != nil {
			_ = in.Close()
			if out != nil {
				_ = out.Close()
			}
			continue
		}
		p.mu.Lock()
		p.conns[in], p.conns[out] = struct{}{}, struct{}{}
		p.accepted++
		p.mu.Unlock()
		go p.forward(in, out, false)
		go p.forward(out, in, true)
	}
}

func (p *proxy) forward(from, to net.Conn, toClient bool) {
	defer func() {
		_ = from.Close()
		_ = to.Close()
		p.mu.Lock()
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	buf := make([]byte, 4<<10)
	for {
		n, err := from.Read(buf)
		p.mu.Lock()
		for p.silent && !p.closed {
			p.moving.Wait()
		}
		cut := false
		if toClient && p.cutAfter > 0 {
			if p.cutAfter -= n; p.cutAfter <= 0 {
				n, p.cutAfter, cut = n+p.cutAfter, 0, true
			}
		}
		p.mu.Unlock()
		if _, werr := to.Write(buf[:n]); werr != nil || err != nil {
			return
		}
		if cut {
			p.cut()
		}
	}
}

// cut closes all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

func (p *proxy) set(change func(p *proxy)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change(p)
	p.moving.Broadcast()
}

// pattern is a reader of n bytes that are different everywhere.
type pattern struct{ at, n int }

func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.n {
		return 0, io.EOF
	}
	n := min(len(b), p.n-p.at)
	for i := range b[:n] {
		b[i] = patternAt(p.at + i)
	}
	p.at += n
	return n, nil
}

func patternAt(i int) byte { return byte(i ^ i>>8 ^ i>>16) }

// heapInUse returns the bytes of live objects.
func heapInUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools held is free after the second
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
