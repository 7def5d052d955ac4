package probe

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// Open ports are open, the others closed, each once.
func TestScanLoopback(t *testing.T) {
	host := privateNet(1)
	port := listen(t, host+".10", nil)
	for i := range 20 {
		if i != 10 {
			continue
		}
		listenAt(t, fmt.Sprintf("%s.%d", host, 40+i), port)
	}
	results := scanned(t, Scan{Targets: host + ".0/25", Ports: ports(port, port+1, port+2), Seed: 5}, Options{})
	if len(results) != 128*3 {
		t.Fatalf("%d results", len(results))
	}
	if c := count(results); c != (Counts{Open: 2, Closed: 128*3 - 2}) {
		t.Errorf("%v", c)
	}
	for _, target := range []string{host + ".10", host + ".50"} {
		if r := of(t, results, target, port); r.Answer != Open || r.Protocol != TCP || r.Attempts != 1 {
			t.Errorf("%+v", r)
		}
	}
}

func BenchmarkScan(b *testing.B) {
	for b.Loop() {
		n := 0
		begun := time.Now()
		var st Status
		for r, err := range Run(context.Background(), Scan{Targets: "127.78.0.0/18", Ports: "1,2,3,4,5,6,7,8", Rate: maxRate}, Options{Status: func(s Status) { st = s }}) {
			if err != nil || r.Answer != Closed {
				b.Fatal(r, err)
			}
			n++
		}
		b.ReportMetric(float64(n)/time.Since(begun).Seconds(), "probes/s")
		b.Logf("%+v", st)
	}
}

// Whatever the limits are, each probe has its answer, and the limits hold.
func TestScanLimits(t *testing.T) {
	host := privateNet(2)
	inFlight, most := make(chan struct{}, 100), make(chan int, 100_000)
	port := listen(t, host+".1", nil)
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		inFlight <- struct{}{}
		most <- len(inFlight)
		defer func() { <-inFlight }()
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	for _, s := range []Scan{
		{Fanout: 3},
		{Fanout: 50, PerTarget: 1},
		{PerTarget: 2, Rate: 500},
		{Rate: 300, FixedRate: true},
	} {
		s.Targets, s.Ports, s.Seed = host+".[1-4]", ports(port, 1, 2, 3, 4, 5, 6, 7, 8, 9), 3
		for len(most) > 0 {
			<-most
		}
		begun := time.Now()
		if c := count(scanned(t, s, Options{Dial: dial})); c != (Counts{Open: 1, Closed: 39}) {
			t.Errorf("%+v: %v", s, c)
		}
		limit := max(1, s.Fanout)
		if s.PerTarget > 0 {
			limit = min(max(s.Fanout, 1000), 4*s.PerTarget)
		} else if s.Fanout == 0 {
			limit = 1000
		}
		for len(most) > 0 {
			if n := <-most; n > limit {
				t.Errorf("%+v: %d in flight", s, n)
			}
		}
		// 40 probes, of which the bucket holds some hundredth of a second's.
		if least := time.Duration(float64(40-max(1, s.Rate/100)-1) / float64(max(1, s.Rate)) * float64(time.Second)); s.Rate > 0 && time.Since(begun) < least {
			t.Errorf("%+v: took %v, the rate asks for %v", s, time.Since(begun), least)
		}
	}
}

// A scan that is cut off anywhere and goes on from what it had leaves nothing out and asks nothing twice.
func TestScanGoesOn(t *testing.T) {
	host := privateNet(3)
	port := listen(t, host+".7", nil)
	s := Scan{Targets: host + ".0/26", Ports: ports(port, 1, 2), Seed: 9, Fanout: 30}
	p, err := newPlan(&s)
	if err != nil {
		t.Fatal(err)
	}
	answered := newTracker(p.total, 0)
	all := map[uint64]Result{}
	for !answered.complete() {
		s.From, s.Answered = answered.low, answered.beyond()
		n := 0
		for r, err := range Run(context.Background(), s, Options{}) {
			if err != nil {
				t.Fatal(err)
			}
			if err := answered.check(r.Position); err != nil {
				t.Fatal(err)
			}
			answered.mark(r.Position)
			all[r.Position] = r
			if n++; n == 17 {
				break
			}
		}
	}
	if c := count(all); c != (Counts{Open: 1, Closed: 64*3 - 1}) {
		t.Errorf("%v", c)
	}
}

// The end of the context ends the scan, with its cause, and leaves nothing behind.
func TestScanCanceled(t *testing.T) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	mine := errors.New("enough of it")
	var dials atomic.Int32
	blocked := func(ctx context.Context, _, _ string) (net.Conn, error) {
		if dials.Add(1) == 100 {
			cancel(mine)
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}
	n := 0
	for _, err := range Run(ctx, Scan{Targets: "127.0.0.1", Ports: "1-100", TimeoutMS: 600_000}, Options{Dial: blocked}) {
		if n++; !errors.Is(err, mine) {
			t.Errorf("%v", err)
		}
	}
	if n != 1 {
		t.Errorf("%d answers", n)
	}
}

// Names are looked up once at a time, and each way that a lookup can go has its answer.
func TestScanNames(t *testing.T) {
	port := listen(t, "127.0.0.1", nil)
	var flaky atomic.Int32
	lookup := func(ctx context.Context, name string) ([]netip.Addr, error) {
		switch name {
		case "good1", "good2":
			return []netip.Addr{netip.MustParseAddr("::ffff:127.0.0.1")}, nil
		case "flaky":
			if flaky.Add(1) < 3 {
				return nil, &net.DNSError{Err: "server misbehaving", Name: name, IsTemporary: true}
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		case "dead":
			return nil, &net.DNSError{Err: "i/o timeout", Name: name, IsTimeout: true}
		}
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	results := scanned(t, Scan{Targets: "good[1-2],flaky,dead,none", Ports: ports(port, 1), PatienceMS: 50}, Options{Lookup: lookup})
	if c := count(results); c != (Counts{Open: 3, Closed: 3, Unreachable: 2, NotTried: 2}) && c.NotTried != 4 { // patience may end before flaky does
		t.Errorf("%v", c)
	}
	if r := of(t, results, "good2", port); r.Address != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("%+v", r)
	}
	if r := of(t, results, "none", 1); r.Answer != Unreachable || r.Reason != "no such host" {
		t.Errorf("%+v", r)
	}
	if r := of(t, results, "dead", 1); r.Answer != NotTried || r.Reason != "name not looked up: i/o timeout" {
		t.Errorf("%+v", r)
	}
}

// What may not be probed is not, and the others are.
func TestScanAllow(t *testing.T) {
	results := scanned(t, Scan{Targets: "127.0.0.1,127.0.0.2", Ports: "1-10"}, Options{
		Allow: func(a netip.Addr) bool { return a == netip.MustParseAddr("127.0.0.2") }})
	if c := count(results); c.NotTried != 10 || c.Closed+c.Open != 10 {
		t.Errorf("%v", c)
	}
	if r := of(t, results, "127.0.0.1", 1); r.Attempts != 0 || r.Reason == "" {
		t.Errorf("%+v", r)
	}
}

// Local errors are tried again, and are never an answer of the target.
func TestScanLocalErrors(t *testing.T) {
	var calls atomic.Int32
	for _, errno := range []syscall.Errno{syscall.EMFILE, syscall.ENFILE, syscall.EADDRNOTAVAIL, syscall.ENOBUFS, syscall.EAGAIN, syscall.ENETDOWN} {
		dial := func(ctx context.Context, network, address string) (net.Conn, error) {
			if calls.Add(1)%2 != 0 {
				return nil, os.NewSyscallError("connect", errno)
			}
			return nil, syscall.ECONNREFUSED
		}
		var last Status
		results := scanned(t, Scan{Targets: "127.0.0.1", Ports: "1-4"}, Options{Dial: dial, Status: func(s Status) { last = s }})
		if c := count(results); c != (Counts{Closed: 4}) {
			t.Errorf("%v: %v", errno, c)
		}
		if last.LocalErrors < 4 || last.Retried != last.LocalErrors {
			t.Errorf("%v: %+v", errno, last)
		}
	}
}

// A local error that stays is told as what it is when the patience is over; one that cannot pass is told at once.
func TestScanLocalErrorsThatStay(t *testing.T) {
	// Once no probe has had a descriptor for the patience of the scan, the others do not wait for as long each.
	for errno, attempts := range map[syscall.Errno]int{syscall.ENOBUFS: 2, syscall.EMFILE: 1, syscall.EPERM: 1, syscall.EINVAL: 1} {
		dial := func(context.Context, string, string) (net.Conn, error) { return nil, errno }
		results := scanned(t, Scan{Targets: "127.0.0.1", Ports: "1-3", PatienceMS: 100}, Options{Dial: dial})
		if c := count(results); c != (Counts{NotTried: 3}) {
			t.Errorf("%v: %v", errno, c)
		}
		for _, r := range results {
			if r.Reason != errno.Error() || r.Attempts < attempts {
				t.Errorf("%v: %+v", errno, r)
			}
		}
	}
}

// A port of this machine that nobody listens on is closed, also where the system gives it to the probe itself.
func TestScanOwnPorts(t *testing.T) {
	self := func(ctx context.Context, network, address string) (net.Conn, error) {
		to, err := net.ResolveTCPAddr(network, address)
		if err != nil {
			return nil, err
		}
		d := net.Dialer{LocalAddr: to, Control: func(_, _ string, c syscall.RawConn) error {
			var err error
			return errors.Join(c.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_REUSEADDR, 1) }), err)
		}}
		return d.DialContext(ctx, network, address)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := ln.Addr().(*net.TCPAddr).Port
	_ = ln.Close()
	conn, err := self(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", ports(port)))
	if err != nil {
		t.Skip("this system does not connect a socket to itself: ", err)
	}
	if !isSelf(conn) {
		t.Error("not taken for a connection with itself")
	}
	_ = conn.Close()
	if r := of(t, scanned(t, Scan{Targets: "127.0.0.1", Ports: ports(port)}, Options{Dial: self}), "127.0.0.1", port); r.Answer != Closed || r.Attempts != maxSelf {
		t.Errorf("%+v", r)
	}
}

// A description that makes no sense is refused with what is wrong.
func TestBadScan(t *testing.T) {
	for _, s := range []Scan{
		{Targets: "", Ports: "1"},
		{Targets: "a[", Ports: "1"},
		{Targets: "a", Ports: ""},
		{Targets: "a", Ports: "0"},
		{Targets: "a", Ports: "65536"},
		{Targets: "a", Ports: "9-8"},
		{Targets: "a", Ports: "http"},
		{Targets: "::/0", Ports: "1"},
		{Targets: "a", Ports: "1", From: 2},
		{Targets: "a", Ports: "1", Answered: []byte{2}},
		{Targets: "a", Ports: "1", Version: 2},
		{Targets: "a", Ports: "1", TimeoutMS: -1},
		{Targets: "a", Ports: "1", PatienceMS: 1 << 60},
		{Targets: "a", Ports: "1", Rate: -1},
		{Targets: "a", Ports: "1", Fanout: maxFanout + 1},
		{Targets: "a", Ports: "1", PerTarget: -1},
		{Targets: "a", Ports: "1", Retries: maxRetries + 1},
	} {
		n := 0
		for _, err := range Run(context.Background(), s, Options{}) {
			if n++; !errors.Is(err, ErrBadScan) {
				t.Errorf("%+v: %v", s, err)
			}
		}
		if n != 1 {
			t.Errorf("%+v: %d results", s, n)
		}
	}
}

// Ports may overlap; each counts once.
func TestPorts(t *testing.T) {
	doors, err := parsePorts("80, 22,79-82,icmp,ICMP,65535")
	if want := []door{80, 22, 79, 81, 82, icmpDoor, 65535}; err != nil || !slices.Equal(doors, want) {
		t.Errorf("%v, %v", doors, err)
	}
}
