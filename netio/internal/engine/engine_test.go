package engine

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"sync"
	"testing"
	"time"
)

// patience bounds every wait of a test: only a test that fails waits so long.
const patience = 30 * time.Second

func TestMain(m *testing.M) {
	if ln, err := net.Listen("tcp", "127.0.0.1:0"); err == nil { // the runtime's own descriptors are there from now on
		_ = ln.Close()
	}
	goroutines, descriptors := runtime.NumGoroutine(), countDescriptors()
	code := m.Run()
	for end := time.Now().Add(patience); code == 0; time.Sleep(time.Millisecond) {
		g, d := runtime.NumGoroutine(), countDescriptors()
		if g <= goroutines && d <= descriptors {
			break
		}
		if time.Now().After(end) {
			fmt.Printf("after all tests: %d goroutines, %d before; %d descriptors, %d before\n", g, goroutines, d, descriptors)
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

// events is a Handler that keeps what it is told.
type events struct {
	conn   chan *Conn
	closed chan error

	mu       sync.Mutex // guards received
	received bytes.Buffer
}

func newEvents() *events { return &events{conn: make(chan *Conn, 1), closed: make(chan error, 1)} }

func (e *events) Opened(c *Conn)   { e.conn <- c }
func (e *events) Closed(err error) { e.closed <- err }
func (e *events) Received(src []byte) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.received.Write(src)
}

func (e *events) bytes() []byte {
	e.mu.Lock()
	defer e.mu.Unlock()
	return bytes.Clone(e.received.Bytes())
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func within[T any](t *testing.T, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatalf("never happened: %s", what)
		panic("unreachable")
	}
}

func start(t *testing.T) *Engine {
	t.Helper()
	e, err := Start(slog.New(slog.DiscardHandler), 2)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Stop)
	return e
}

// pair returns both ends of a connection.
func pair(t *testing.T, network, address string) (ours, theirs net.Conn) {
	t.Helper()
	ln, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if ours, err = net.Dial(network, ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ours.Close() })
	if theirs, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return ours, theirs
}

// added returns a peer, and the engine's side of its connection.
func added(t *testing.T, e *Engine, network, address string) (peer net.Conn, h *events, c *Conn) {
	t.Helper()
	peer, conn := pair(t, network, address)
	h = newEvents()
	if err := e.Add(conn, h); err != nil {
		t.Fatal(err)
	}
	return peer, h, within(t, "it is opened", h.conn)
}

func TestBothWays(t *testing.T) {
	for _, at := range []struct{ network, address string }{
		{"tcp", "127.0.0.1:0"}, {"tcp6", "[::1]:0"}, {"unix", t.TempDir() + "/s"},
	} {
		t.Run(at.network, func(t *testing.T) {
			peer, h, c := added(t, start(t), at.network, at.address)
			if _, err := peer.Write([]byte("hello")); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it arrives", func() bool { return string(h.bytes()) == "hello" })
			if n, err := c.TryWrite([][]byte{[]byte("wel"), []byte("come")}); n != 7 || err != nil {
				t.Fatal(n, err)
			}
			got := make([]byte, 7)
			if _, err := io.ReadFull(peer, got); err != nil || string(got) != "welcome" {
				t.Fatalf("%q, %v", got, err)
			}
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			if n, err := peer.Read(got); n != 0 || err != io.EOF {
				t.Errorf("after CloseWrite the peer reads %d, %v", n, err)
			}
			_ = peer.Close()
			if err := within(t, "it is closed", h.closed); err == nil {
				t.Error("closed without a reason")
			}
			if _, err := c.TryWrite([][]byte{{1}}); !errors.Is(err, net.ErrClosed) {
				t.Errorf("a write after the end: %v", err)
			}
			if err := c.CloseWrite(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("CloseWrite after the end: %v", err)
			}
			c.Close()
		})
	}
}

// A write that the socket does not take waits for the peer, and brings every byte, in more pieces than the system takes at once.
func TestWriteWaits(t *testing.T) {
	peer, _, c := added(t, start(t), "tcp", "127.0.0.1:0")
	pieces := make([][]byte, 3*maxPieces)
	sent := sha256.New()
	total := 0
	for i := range pieces {
		pieces[i] = bytes.Repeat([]byte{byte(i), byte(i >> 8)}, 2<<10)
		total += len(pieces[i])
		sent.Write(pieces[i])
	}
	done := make(chan error, 1)
	go func() {
		n, err := c.Write(pieces)
		if err == nil && n != int64(total) {
			err = fmt.Errorf("%d bytes of %d", n, total)
		}
		done <- err
	}()
	eventually(t, "the write waits", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.waiting != nil })
	received := sha256.New()
	if _, err := io.CopyN(received, peer, int64(total)); err != nil {
		t.Fatal(err)
	}
	if err := within(t, "the write ends", done); err != nil {
		t.Error(err)
	}
	if !bytes.Equal(sent.Sum(nil), received.Sum(nil)) {
		t.Error("other bytes arrive than were written")
	}
	if c.waiting != nil {
		t.Error("the descriptor that waited is left")
	}
}

// What ends a write that waits: the deadline, the end of the connection by us, that by the peer.
func TestWriteEnds(t *testing.T) {
	e := start(t)
	for name, end := range map[string]func(peer net.Conn, c *Conn){
		"deadline": func(_ net.Conn, c *Conn) { c.SetWriteDeadline(time.Now()) },
		"close":    func(_ net.Conn, c *Conn) { c.Close() },
		"peer":     func(peer net.Conn, _ *Conn) { _ = peer.(*net.TCPConn).SetLinger(0); _ = peer.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			peer, _, c := added(t, e, "tcp", "127.0.0.1:0")
			done := make(chan error, 1)
			go func() {
				for {
					if _, err := c.Write([][]byte{make([]byte, 1<<20)}); err != nil {
						done <- err
						return
					}
				}
			}()
			eventually(t, "the write waits", func() bool { c.mu.Lock(); defer c.mu.Unlock(); return c.waiting != nil })
			end(peer, c)
			err := within(t, "the write ends", done)
			if name == "deadline" && !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("it ends with %v", err)
			}
			if name == "deadline" {
				if _, err := c.Write([][]byte{make([]byte, 64<<20)}); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("a write after the deadline: %v", err)
				}
			}
		})
	}
}

// Close lets what the peer has sent arrive before the end.
func TestCloseReadsWhatIsThere(t *testing.T) {
	peer, h, c := added(t, start(t), "tcp", "127.0.0.1:0")
	if _, err := peer.Write([]byte("last words")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it has arrived", func() bool { return len(h.bytes()) > 0 })
	c.Close()
	within(t, "it is closed", h.closed)
	if n, err := peer.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("the peer reads %d, %v", n, err)
	}
	if string(h.bytes()) != "last words" {
		t.Errorf("got %q", h.bytes())
	}
}

func TestStop(t *testing.T) {
	e := start(t)
	_, h, _ := added(t, e, "tcp", "127.0.0.1:0")
	e.Stop()
	within(t, "what is left is closed", h.closed)
	e.Stop()
	ours, theirs := pair(t, "tcp", "127.0.0.1:0")
	if err := e.Add(theirs, newEvents()); !errors.Is(err, ErrStopped) {
		t.Errorf("Add after Stop: %v", err)
	}
	if _, err := ours.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a connection that came too late is left open: %v", err)
	}
}

func TestTakes(t *testing.T) {
	ours, theirs := pair(t, "tcp", "127.0.0.1:0")
	_ = theirs.Close()
	piped, _ := net.Pipe()
	if !Takes(ours) || Takes(piped) {
		t.Error("it takes what has a descriptor, and nothing else")
	}
}
