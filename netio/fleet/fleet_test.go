package fleet

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shoal/netio"
)

const patience = 60 * time.Second

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*patience)
	t.Cleanup(cancel)
	return ctx
}

// noLeaks fails the test where goroutines are left after its clean-up.
func noLeaks(t *testing.T) {
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
	})
}

// cluster is some gateways that know of each other at once.
type cluster struct {
	t        *testing.T
	mu       sync.Mutex
	members  []Member
	changed  chan struct{}
	gateways map[string]*site
}

// site is one gateway of a cluster.
type site struct {
	c      *cluster
	url    string
	gw     *netio.Gateway
	ran    sync.Map // argument → how often
	runs   atomic.Int64
	delay  atomic.Int64
	member Member
}

func newCluster(t *testing.T) *cluster {
	noLeaks(t)
	return &cluster{t: t, changed: make(chan struct{}), gateways: map[string]*site{}}
}

func (s *site) List() List {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return List{s.url, slices.Clone(s.c.members)}
}

func (s *site) Changed() <-chan struct{} {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	return s.c.changed
}

// start starts a gateway, and lets the others know of it.
func (c *cluster) start(m Member, config netio.GatewayConfig) *site {
	c.t.Helper()
	config.Listen = []string{"tcp://127.0.0.1:0"}
	if config.Workers == 0 {
		config.Workers = 16
	}
	s := &site{c: c, gw: netio.NewGateway(config)}
	s.gw.HandleCall("work", func(ctx context.Context, in []byte) ([]byte, error) {
		n, _ := s.ran.LoadOrStore(string(in), new(atomic.Int64))
		n.(*atomic.Int64).Add(1)
		s.runs.Add(1)
		if d := time.Duration(s.delay.Load()); d > 0 {
			select {
			case <-time.After(d):
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		return append([]byte("ok "), in...), nil
	})
	s.gw.HandleCall("where", func(context.Context, []byte) ([]byte, error) { return []byte(s.url), nil })
	s.gw.HandleStream("three", func(_ context.Context, in []byte, out *netio.Stream) error {
		for i := range int64(3) {
			if err := out.Send(i, in); err != nil {
				return err
			}
		}
		return nil
	})
	Announce(s.gw, s)
	if err := s.gw.Start(); err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = s.gw.Close() })
	s.url = s.gw.URLs()[0]
	s.member = m
	s.member.URL = s.url
	c.set(func(members []Member) []Member { return append(members, s.member) })
	return s
}

// leave takes a gateway out of what the others tell.
func (c *cluster) leave(s *site) {
	c.set(func(members []Member) []Member {
		return slices.DeleteFunc(slices.Clone(members), func(m Member) bool { return m.URL == s.url })
	})
}

func (c *cluster) set(change func([]Member) []Member) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.members = change(c.members)
	close(c.changed)
	c.changed = make(chan struct{})
}

// dial returns a fleet that has reached n gateways.
func (c *cluster) dial(n int, config *Config, urls ...string) *Fleet {
	c.t.Helper()
	f, err := Dial(testContext(c.t), urls, config)
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = f.Close() })
	f.use()
	eventually(c.t, fmt.Sprintf("%d gateways are known and reached", n), func() bool {
		f.use()
		up := 0
		for _, m := range f.Members() {
			if m.Connected {
				up++
			}
		}
		return up == n
	})
	return f
}

// use has every known gateway dialled, as tasks would.
func (f *Fleet) use() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.start(f.ranked)
}

func numbered(n int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := range n {
			if !yield(binary.BigEndian.AppendUint32(nil, uint32(i))) {
				return
			}
		}
	}
}

// mapAll maps n items and checks that each has its answer; it returns how many ended with each status.
func mapAll(t *testing.T, f *Fleet, n int, o *netio.MapOptions, during func(done int)) map[netio.Status]int {
	t.Helper()
	statuses := map[netio.Status]int{}
	seen := make([]bool, n)
	done := 0
	for r, err := range f.Map(testContext(t), "work", numbered(n), o) {
		if seen[r.Index] {
			t.Fatalf("item %d is answered twice", r.Index)
		}
		seen[r.Index] = true
		if o != nil && o.Ordered && r.Index != done {
			t.Fatalf("item %d in place of %d", r.Index, done)
		}
		statuses[netio.StatusOf(err)]++
		if err == nil && string(r.Body) != "ok "+string(binary.BigEndian.AppendUint32(nil, uint32(r.Index))) {
			t.Fatalf("item %d is answered %q", r.Index, r.Body)
		}
		if done++; during != nil {
			during(done)
		}
	}
	if done != n {
		t.Fatalf("%d of %d items are answered", done, n)
	}
	return statuses
}

// runs returns how often each item ran, at all sites.
func runs(sites ...*site) map[string]int64 {
	all := map[string]int64{}
	for _, s := range sites {
		s.ran.Range(func(key, n any) bool {
			all[key.(string)] += n.(*atomic.Int64).Load()
			return true
		})
	}
	return all
}

func atMostOnce(t *testing.T, sites ...*site) {
	t.Helper()
	for item, n := range runs(sites...) {
		if n > 1 {
			t.Errorf("item %x ran %d times", item, n)
		}
	}
}

func TestOneNameReachesAll(t *testing.T) {
	c := newCluster(t)
	sites := []*site{c.start(Member{}, netio.GatewayConfig{}), c.start(Member{}, netio.GatewayConfig{}), c.start(Member{}, netio.GatewayConfig{})}
	f := c.dial(3, nil, sites[0].url)
	for _, ordered := range []bool{false, true} {
		got := mapAll(t, f, 3000, &netio.MapOptions{Ordered: ordered}, nil)
		if got[netio.StatusOK] != 3000 {
			t.Errorf("statuses %v", got)
		}
	}
	for _, s := range sites {
		if s.runs.Load() == 0 {
			t.Errorf("%s ran nothing", s.url)
		}
	}
	for item, n := range runs(sites...) {
		if n != 2 {
			t.Fatalf("item %x ran %d times in two maps", item, n)
		}
	}
	out, err := f.Call(testContext(t), "work", []byte("a call"))
	if err != nil || string(out) != "ok a call" {
		t.Errorf("%q, %v", out, err)
	}
	chunks := 0
	for chunk, err := range f.Stream(testContext(t), "three", []byte("x")) {
		if err != nil || string(chunk.Body) != "x" {
			t.Errorf("%q, %v", chunk.Body, err)
		}
		chunks++
	}
	if chunks != 3 {
		t.Errorf("%d chunks", chunks)
	}
	if _, err := f.Call(testContext(t), "nobody", nil); !errors.Is(err, netio.ErrUnknownSubroutine) {
		t.Errorf("%v", err)
	}
}

// A drain of one gateway is an error to nobody, and loses and doubles nothing.
func TestDrainIsNobodysError(t *testing.T) {
	c := newCluster(t)
	sites := []*site{c.start(Member{}, netio.GatewayConfig{}), c.start(Member{}, netio.GatewayConfig{}), c.start(Member{}, netio.GatewayConfig{})}
	for _, s := range sites {
		s.delay.Store(int64(time.Millisecond))
	}
	f := c.dial(3, nil, sites[0].url)
	var drain sync.WaitGroup
	got := mapAll(t, f, 3000, nil, func(done int) {
		if done == 300 || done == 900 {
			s := sites[done/600]
			drain.Go(func() {
				if err := s.gw.Shutdown(testContext(t)); err != nil {
					t.Errorf("drain: %v", err)
				}
			})
		}
	})
	drain.Wait()
	if got[netio.StatusOK] != 3000 {
		t.Errorf("statuses %v", got)
	}
	atMostOnce(t, sites...)
}

// A gateway that is gone takes with it only what it may have run.
func TestLostGateway(t *testing.T) {
	for _, policy := range []netio.RestartPolicy{netio.RestartReport, netio.RestartRetry} {
		t.Run(fmt.Sprint(policy), func(t *testing.T) {
			c := newCluster(t)
			sites := []*site{c.start(Member{}, netio.GatewayConfig{}), c.start(Member{}, netio.GatewayConfig{}), c.start(Member{}, netio.GatewayConfig{})}
			for _, s := range sites {
				s.delay.Store(int64(2 * time.Millisecond))
			}
			f := c.dial(3, &Config{Swarm: netio.SwarmConfig{GiveUp: 200 * time.Millisecond}}, sites[1].url)
			got := mapAll(t, f, 3000, &netio.MapOptions{OnRestart: policy}, func(done int) {
				if done == 500 {
					_ = sites[0].gw.Close()
				}
			})
			lost := got[netio.StatusLost] + got[netio.StatusCanceled]
			if policy == netio.RestartRetry && got[netio.StatusOK]+got[netio.StatusCanceled] != 3000 || got[netio.StatusOK]+lost != 3000 {
				t.Errorf("statuses %v", got)
			}
			if most := 2*16 + 4*16; lost > most { // what it held
				t.Errorf("%d are lost, it held %d at most", lost, most)
			}
			if policy == netio.RestartReport {
				atMostOnce(t, sites...)
			}
		})
	}
}

func TestRoutes(t *testing.T) {
	c := newCluster(t)
	wide := c.start(Member{Reach: []string{"10.0.0.0/8", "web[1-100]"}}, netio.GatewayConfig{})
	near := c.start(Member{Reach: []string{"10.1.0.0/16"}, Labels: map[string]string{"site": "north"}}, netio.GatewayConfig{})
	six := c.start(Member{Reach: []string{"2001:db8::/32", "DB[1-3]"}}, netio.GatewayConfig{})
	host := func(_ string, in []byte) string { return string(in) }
	f := c.dial(3, &Config{Target: host}, wide.url)
	for target, want := range map[string]*site{
		"10.2.0.1": wide, "10.1.2.3": near, "web7": wide, "WEB7": wide, "2001:DB8::7": six, "[2001:db8::7]": six, "db2": six, "::ffff:10.1.0.1": near,
	} {
		out, err := f.Call(testContext(t), "where", []byte(target))
		if err != nil || string(out) != want.url {
			t.Errorf("%s: %s, %v; want %s", target, out, err, want.url)
		}
	}
	for _, target := range []string{"192.0.2.1", "web101", "db4"} {
		if _, err := f.Call(testContext(t), "where", []byte(target)); !errors.Is(err, ErrNoRoute) || !errors.Is(err, netio.ErrUnreachable) || !strings.Contains(err.Error(), target) {
			t.Errorf("%s: %v", target, err)
		}
	}
	items := []string{"10.1.0.9", "192.0.2.1", "web5"}
	ends := map[int]error{}
	for r, err := range f.Map(testContext(t), "where", func(yield func([]byte) bool) {
		for _, it := range items {
			if !yield([]byte(it)) {
				return
			}
		}
	}, nil) {
		ends[r.Index] = err
	}
	if ends[0] != nil || !errors.Is(ends[1], ErrNoRoute) || ends[2] != nil || len(ends) != 3 {
		t.Errorf("%v", ends)
	}
	north := c.dial(3, &Config{Labels: map[string]string{"site": "north"}}, wide.url)
	for range 20 {
		if out, err := north.Call(testContext(t), "where", nil); err != nil || string(out) != near.url {
			t.Errorf("%s, %v", out, err)
		}
	}
}

// Who joins has its share while a Map runs; who leaves is forgotten.
func TestMembersChange(t *testing.T) {
	c := newCluster(t)
	first := c.start(Member{}, netio.GatewayConfig{})
	first.delay.Store(int64(2 * time.Millisecond))
	f := c.dial(1, nil, first.url)
	var second *site
	got := mapAll(t, f, 4000, nil, func(done int) {
		switch {
		case done == 200:
			second = c.start(Member{}, netio.GatewayConfig{})
			second.delay.Store(int64(2 * time.Millisecond))
		case done > 200 && done%10 == 0 && done < 1000: // the members' news has no other bound than this wait
			eventually(t, "the second is known", func() bool { return len(f.Members()) == 2 })
		}
	})
	if got[netio.StatusOK] != 4000 || second.runs.Load() == 0 {
		t.Errorf("statuses %v, the second ran %d", got, second.runs.Load())
	}
	c.leave(second)
	if n := len(f.Members()); n != 2 { // a hint alone does not cut a connection
		t.Errorf("%d members", n)
	}
	_ = second.gw.Close()
	eventually(t, "who left is forgotten", func() bool { return len(f.Members()) == 1 })
}

func TestBadMembersAreNotTaken(t *testing.T) {
	c := newCluster(t)
	s := c.start(Member{}, netio.GatewayConfig{})
	f := c.dial(1, nil, s.url)
	c.set(func(members []Member) []Member {
		return append(members, Member{URL: "no url"}, Member{URL: "tcp://x:1", Reach: []string{"web[1-"}},
			Member{URL: "tcp://x:2", Labels: map[string]string{"": "x"}}, Member{URL: "tcp://x:3", Workers: -1},
			Member{URL: "tcp://" + strings.Repeat("x", 300)}, Member{URL: "tcp://127.0.0.1:9", Labels: map[string]string{"good": "yes"}})
	})
	eventually(t, "the good one is known", func() bool { return len(f.Members()) == 2 })
	if m := f.Members(); m[1].URL != "tcp://127.0.0.1:9" && m[0].URL != "tcp://127.0.0.1:9" {
		t.Errorf("%+v", m)
	}
}

// A gateway that is named in another way than it names itself is one gateway.
func TestTwoNamesOfOneGateway(t *testing.T) {
	c := newCluster(t)
	s := c.start(Member{}, netio.GatewayConfig{})
	f := c.dial(1, nil, strings.Replace(s.url, "127.0.0.1", "localhost", 1))
	eventually(t, "its own name is known", func() bool { m := f.Members(); return len(m) == 1 && m[0].URL == s.url })
}

func TestNobodyThere(t *testing.T) {
	noLeaks(t)
	_, err := Dial(testContext(t), []string{"tcp://127.0.0.1:1", "tcp://127.0.0.1:2"}, nil)
	if !errors.Is(err, netio.ErrUnreachable) || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Errorf("%v", err)
	}
	if _, err := Dial(testContext(t), nil, &Config{Subset: -1}); !errors.Is(err, netio.ErrBadConfig) {
		t.Errorf("%v", err)
	}
}

// One address of two that does not answer costs nothing.
func TestOneOfTwoAnswers(t *testing.T) {
	c := newCluster(t)
	s := c.start(Member{}, netio.GatewayConfig{})
	f := c.dial(1, nil, "tcp://127.0.0.1:1", s.url)
	if got := mapAll(t, f, 100, nil, nil); got[netio.StatusOK] != 100 {
		t.Errorf("%v", got)
	}
}

func TestMapEndsEarly(t *testing.T) {
	c := newCluster(t)
	a, b := c.start(Member{}, netio.GatewayConfig{}), c.start(Member{}, netio.GatewayConfig{})
	f := c.dial(2, nil, a.url)
	a.delay.Store(int64(time.Hour))
	b.delay.Store(int64(time.Hour))
	ctx, cancel := context.WithCancel(testContext(t))
	statuses := map[netio.Status]int{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for _, err := range f.Map(ctx, "work", numbered(1000), nil) {
			statuses[netio.StatusOf(err)]++
		}
	}()
	eventually(t, "tasks run", func() bool { return a.runs.Load() > 0 && b.runs.Load() > 0 })
	cancel()
	<-done
	if statuses[netio.StatusCanceled] == 0 || len(statuses) != 1 {
		t.Errorf("%v", statuses)
	}
	a.delay.Store(0)
	b.delay.Store(0)
	for range f.Map(testContext(t), "work", numbered(1000), nil) {
		break
	}
	func() {
		defer func() {
			if v := recover(); v != "no more items" {
				t.Errorf("recovered %v", v)
			}
		}()
		for range f.Map(testContext(t), "work", func(yield func([]byte) bool) { yield(nil); panic("no more items") }, nil) {
		}
	}()
}

// A slow gateway holds few tasks up.
func TestSlowGatewayGetsLess(t *testing.T) {
	c := newCluster(t)
	slow, fast := c.start(Member{}, netio.GatewayConfig{}), c.start(Member{}, netio.GatewayConfig{})
	slow.delay.Store(int64(100 * time.Millisecond))
	fast.delay.Store(int64(time.Millisecond))
	f := c.dial(2, nil, slow.url)
	if got := mapAll(t, f, 3000, nil, nil); got[netio.StatusOK] != 3000 {
		t.Errorf("%v", got)
	}
	if s, q := slow.runs.Load(), fast.runs.Load(); s*4 > q {
		t.Errorf("the slow gateway ran %d, the fast one %d", s, q)
	}
}

func TestMemberCheck(t *testing.T) {
	good := Member{URL: "tcp://127.0.0.1:1", Reach: []string{"10.0.0.0/8", "web[1-9]"}, Labels: map[string]string{"site": "north"}, Workers: 4}
	if err := good.Check(); err != nil {
		t.Error(err)
	}
	same := good
	same.Labels = maps.Clone(good.Labels)
	if !good.equal(&same) {
		t.Error("equal members differ")
	}
	if key, value, err := ParseLabel("site=north=x"); key != "site" || value != "north=x" || err != nil {
		t.Errorf("%q %q %v", key, value, err)
	}
	for _, bad := range []string{"", "site", "=north"} {
		if _, _, err := ParseLabel(bad); !errors.Is(err, ErrBadMember) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
