package netio

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fault is one thing that can happen to a connection.
type fault int

const (
	cut       fault = iota // both sides are closed, with bytes on the way
	cutAtByte              // the same, after so many more bytes: in the middle of a frame, or between two
	reset                  // both sides get a reset
	halfClose              // one side is told that nothing more comes, the other goes on
	stall                  // nothing moves for a while
)

func (f fault) String() string {
	return [...]string{"cut", "cut at byte", "reset", "half-close", "stall"}[f]
}

var everyFault = []fault{cut, cutAtByte, reset, halfClose, stall}

// faultPlan says what a faultProxy does. Everything that is drawn comes from the seed.
type faultPlan struct {
	seed   uint64
	every  time.Duration // a fault happens to one connection so often; 0: never
	faults []fault
	split  bool          // bytes go on in pieces of odd sizes
	delay  time.Duration // each piece is held back for up to so long
	stall  time.Duration // how long a stall lasts at most
}

// faultProxy stands between swarms and a gateway and breaks their connections, over real sockets. It reorders nothing.
type faultProxy struct {
	t      testing.TB
	plan   faultPlan
	ln     net.Listener
	target string
	end    chan struct{}
	all    sync.WaitGroup

	mu     sync.Mutex // guards what follows
	rng    *rand.Rand
	wires  map[int]*wire
	next   int
	done   map[fault]int
	closed bool
}

// wire is one connection through the proxy.
type wire struct {
	client, gateway *net.TCPConn

	mu      sync.Mutex // guards what follows
	stalled time.Time  // nothing moves before
	left    int        // bytes until the wire is cut; negative: no end
}

// startFaultProxy starts a proxy in front of a gateway; it ends with the test, and says its seed if that fails.
func startFaultProxy(t testing.TB, url string, plan faultPlan) *faultProxy {
	t.Helper()
	checkLeaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &faultProxy{t: t, plan: plan, ln: ln, target: strings.TrimPrefix(url, "tcp://"), end: make(chan struct{}),
		rng: rand.New(rand.NewPCG(plan.seed, 0)), wires: map[int]*wire{}, done: map[fault]int{}}
	p.all.Go(p.accept)
	if plan.every > 0 {
		p.all.Go(p.torment)
	}
	t.Cleanup(func() {
		p.close()
		if t.Failed() {
			t.Logf("fault proxy: seed %d, faults %v", plan.seed, p.count())
		}
	})
	return p
}

func (p *faultProxy) url() string { return "tcp://" + p.ln.Addr().String() }

func (p *faultProxy) close() {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.end)
		_ = p.ln.Close()
		for _, w := range p.wires {
			w.close()
		}
	}
	p.mu.Unlock()
	p.all.Wait()
}

// count returns what has happened so far.
func (p *faultProxy) count() map[string]int {
	p.mu.Lock()
	defer p.mu.Unlock()
	named := map[string]int{}
	for f, n := range p.done {
		named[fmt.Sprint(f)] = n
	}
	return named
}

func (p *faultProxy) faults() (n int) {
	for _, c := range p.count() {
		n += c
	}
	return n
}

func (p *faultProxy) accept() {
	for {
		in, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		target := p.target
		p.mu.Unlock()
		out, err := net.Dial("tcp", target)
		if err != nil {
			_ = in.Close()
			continue
		}
		w := &wire{client: in.(*net.TCPConn), gateway: out.(*net.TCPConn), left: -1}
		p.mu.Lock()
		if p.closed {
			w.close()
		}
		id := p.next
		p.next++
		p.wires[id] = w
		forth, back := rand.New(rand.NewPCG(p.plan.seed, uint64(2*id+1))), rand.New(rand.NewPCG(p.plan.seed, uint64(2*id+2)))
		p.mu.Unlock()
		p.all.Go(func() {
			var ways sync.WaitGroup
			ways.Go(func() { p.pump(w, w.client, w.gateway, forth) })
			ways.Go(func() { p.pump(w, w.gateway, w.client, back) })
			ways.Wait()
			w.close()
			p.mu.Lock()
			delete(p.wires, id)
			p.mu.Unlock()
		})
	}
}

// pump moves the bytes of one direction.
func (p *faultProxy) pump(w *wire, from, to *net.TCPConn, rng *rand.Rand) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		for rest := buf[:n]; len(rest) > 0; {
			piece := rest
			if p.plan.split {
				piece = rest[:min(len(rest), 1+rng.IntN(1<<rng.IntN(17)))]
			}
			rest = rest[len(piece):]
			if p.plan.delay > 0 {
				p.pause(time.Duration(rng.Int64N(int64(p.plan.delay))))
			}
			if !p.pass(w, to, piece) {
				return
			}
		}
		if err != nil {
			if to.CloseWrite() != nil {
				w.close()
			}
			return
		}
	}
}

// pass hands a piece on, unless the wire is cut; it waits while the wire is stalled.
func (p *faultProxy) pass(w *wire, to *net.TCPConn, piece []byte) bool {
	for {
		w.mu.Lock()
		wait := time.Until(w.stalled)
		cut := w.left >= 0 && w.left <= len(piece)
		if cut {
			piece = piece[:w.left]
		}
		if w.left >= 0 {
			w.left -= len(piece)
		}
		w.mu.Unlock()
		if wait > 0 && !cut {
			p.pause(wait)
			continue
		}
		_, err := to.Write(piece)
		if cut {
			w.close()
		}
		return err == nil && !cut
	}
}

func (p *faultProxy) pause(d time.Duration) {
	select {
	case <-time.After(d):
	case <-p.end:
	}
}

// torment makes faults happen on the plan's schedule.
func (p *faultProxy) torment() {
	tick := time.NewTicker(p.plan.every)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.mu.Lock()
			if ids := slices.Sorted(maps.Keys(p.wires)); len(ids) > 0 {
				f := p.plan.faults[p.rng.IntN(len(p.plan.faults))]
				p.wires[ids[p.rng.IntN(len(ids))]].suffer(f, p.rng, p.plan.stall)
				p.done[f]++
			}
			p.mu.Unlock()
		case <-p.end:
			return
		}
	}
}

func (w *wire) suffer(f fault, rng *rand.Rand, longest time.Duration) {
	switch f {
	case cut:
		w.close()
	case cutAtByte:
		w.mu.Lock()
		w.left = rng.IntN(1 << rng.IntN(14))
		w.mu.Unlock()
	case reset:
		_ = w.client.SetLinger(0)
		_ = w.gateway.SetLinger(0)
		w.close()
	case halfClose:
		side := w.client
		if rng.IntN(2) == 0 {
			side = w.gateway
		}
		_ = side.CloseWrite()
	case stall:
		w.mu.Lock()
		w.stalled = time.Now().Add(time.Duration(rng.Int64N(int64(max(longest, time.Millisecond)))))
		w.mu.Unlock()
	}
}

func (w *wire) close() {
	_ = w.client.Close()
	_ = w.gateway.Close()
}

// retarget sends new connections to another gateway.
func (p *faultProxy) retarget(url string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = strings.TrimPrefix(url, "tcp://")
}

// cutAll cuts every connection there is.
func (p *faultProxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.wires {
		w.close()
	}
}
