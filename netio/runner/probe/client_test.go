package probe

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"shoal/netio"
	"shoal/netio/target"
)

// offer starts a gateway that offers scans, and returns it with a swarm.
func offer(t *testing.T, c ServerConfig) (*netio.Gateway, *Server, *netio.Swarm) {
	t.Helper()
	gw := netio.NewGateway(netio.GatewayConfig{Listen: []string{"tcp://127.0.0.1:0"}})
	s := Serve(gw, c)
	if err := gw.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gw.Close() })
	sw, err := netio.Dial(context.Background(), gw.URLs()[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sw.Close() })
	return gw, s, sw
}

// remote prepares a scan.
func remote(t *testing.T, sw *netio.Swarm, s Scan, o RemoteOptions) *Remote {
	t.Helper()
	r, err := NewRemote(sw, s, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// A scan through a gateway has the results of one without.
func TestRemote(t *testing.T) {
	_, _, sw := offer(t, ServerConfig{})
	host := privateNet(4)
	port := listen(t, host+".3", func(conn net.Conn) { _, _ = conn.Write([]byte("hello\n")) })
	s := Scan{Targets: host + ".0/26,localhost", Ports: ports(port, 1, 2), Seed: 4, Banner: true}
	local := scanned(t, s, Options{})
	statuses := 0
	r := remote(t, sw, s, RemoteOptions{Status: func(s Status) { statuses++ }})
	through := map[uint64]Result{}
	for res, err := range r.Results(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		through[res.Position] = res
	}
	if len(through) != len(local) || r.Answered() != r.Total() || r.Counts() != count(local) || statuses == 0 || r.Resumes() != 0 {
		t.Fatalf("%d results, %d locally; %v, %v; %d statuses", len(through), len(local), r.Counts(), count(local), statuses)
	}
	for position, want := range local {
		got := through[position]
		if want.Service != nil {
			if string(got.Service.Banner) != string(want.Service.Banner) {
				t.Errorf("%+v, want %+v", got.Service, want.Service)
			}
			got.Service, want.Service = nil, nil
		}
		got.Elapsed, got.More, want.Elapsed, want.More = 0, false, 0, false
		if got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}

// A reader that breaks the loop again and again, and scans the rest each time, gets each result once.
func TestRemoteRest(t *testing.T) {
	_, _, sw := offer(t, ServerConfig{})
	s := Scan{Targets: privateNet(5) + ".0/24", Ports: "1,2,3", Seed: 6, Rate: 20_000, FixedRate: true}
	seen := map[uint64]bool{}
	for done := false; !done; {
		r := remote(t, sw, s, RemoteOptions{})
		n, most := 0, 1+rand.IntN(200)
		for res, err := range r.Results(context.Background()) {
			if err != nil {
				t.Fatal(err)
			}
			if seen[res.Position] {
				t.Fatalf("position %d is there twice", res.Position)
			}
			seen[res.Position] = true
			if n++; n == most {
				break
			}
		}
		s, done = r.Rest(), r.Answered() == r.Total()
	}
	if len(seen) != 256*3 {
		t.Errorf("%d results", len(seen))
	}
}

// What a gateway refuses is an error that says so.
func TestRemoteRefused(t *testing.T) {
	gw, _, sw := offer(t, ServerConfig{MaxScans: 1})
	ctx := context.Background()
	if _, err := NewRemote(sw, Scan{Targets: "a", Ports: "0"}, RemoteOptions{}); !errors.Is(err, ErrBadScan) {
		t.Errorf("%v", err)
	}
	for _, argument := range []string{`{`, `{"v":2,"targets":"a","ports":"1"}`, `{"targets":"a","ports":"1","fanout":-1}`} {
		if err := sw.StreamFunc(ctx, Subroutine, []byte(argument), func(netio.Chunk) bool { return true }); !errors.Is(err, netio.ErrBadArgument) {
			t.Errorf("%s: %v", argument, err)
		}
	}
	slow, err := json.Marshal(Scan{Targets: "127.0.0.0/24", Ports: "1", Rate: 1})
	if err != nil {
		t.Fatal(err)
	}
	st, err := sw.OpenStream(ctx, Subroutine, slow)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Abort()
	if _, _, err := st.Recv(); err != nil {
		t.Fatal(err)
	}
	one := Scan{Targets: "127.0.0.1", Ports: "1"}
	for _, err := range remote(t, sw, one, RemoteOptions{GiveUp: time.Millisecond}).Results(ctx) {
		if !errors.Is(err, ErrIncomplete) || !errors.Is(err, netio.ErrBusy) {
			t.Errorf("%v", err)
		}
	}
	gw.Remove(Subroutine)
	for _, err := range remote(t, sw, one, RemoteOptions{}).Results(ctx) {
		if !errors.Is(err, ErrIncomplete) || !errors.Is(err, netio.ErrUnknownSubroutine) {
			t.Errorf("%v", err)
		}
	}
}

// The gateway's limits hold whatever the client asks for.
func TestServerLimits(t *testing.T) {
	allow, err := target.Parse("127.0.0.2,127.0.0.8/29")
	if err != nil {
		t.Fatal(err)
	}
	_, s, sw := offer(t, ServerConfig{Allow: allow, MaxSockets: 3, MaxRate: 1000})
	r := remote(t, sw, Scan{Targets: "127.0.0.0/28", Ports: "1,2"}, RemoteOptions{})
	for res, err := range r.Results(context.Background()) {
		if err != nil {
			t.Fatal(err)
		}
		if allowed := allow.Contains(res.Target); allowed == (res.Answer == NotTried) {
			t.Errorf("%+v", res)
		}
	}
	if c := r.Counts(); c.NotTried != 14 || c.Total() != 32 {
		t.Errorf("%v", c)
	}
	if used := s.budget.used.Load(); used != 0 {
		t.Errorf("%d sockets are still counted", used)
	}
}

// A scan goes on across gateways that drain or are cut down: each result comes once, and none is missing.
func TestRemoteOutlivesGateways(t *testing.T) {
	address := ""
	begin := func() (*netio.Gateway, *Server) {
		gw := netio.NewGateway(netio.GatewayConfig{Listen: []string{"unix://" + address}})
		s := Serve(gw, ServerConfig{})
		if err := gw.Start(); err != nil {
			t.Error(err)
		}
		return gw, s
	}
	rounds := 6
	if *soak {
		rounds = 300
	}
	for round := range rounds {
		address = socketPath(t)
		gw, s := begin()
		sw, err := netio.Dial(context.Background(), "unix://"+address, &netio.SwarmConfig{Wait: time.Minute, MinBackoff: time.Millisecond, MaxBackoff: 20 * time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		r := remote(t, sw, Scan{Targets: privateNet(6) + ".0/24", Ports: "1-4", Seed: uint64(round), Rate: 20_000, FixedRate: true}, RemoteOptions{})
		seen := map[uint64]bool{}
		next := rand.IntN(300)
		for res, err := range r.Results(context.Background()) {
			if err != nil {
				t.Fatal(err)
			}
			if seen[res.Position] {
				t.Fatalf("position %d is there twice", res.Position)
			}
			seen[res.Position] = true
			if len(seen) != next {
				continue
			}
			next += 1 + rand.IntN(400)
			if rand.IntN(3) > 0 {
				s.Stop()
				if err := gw.Shutdown(context.Background()); err != nil {
					t.Fatal(err)
				}
			} else {
				_ = gw.Close()
			}
			gw, s = begin()
		}
		if len(seen) != 1024 || r.Answered() != r.Total() || r.Counts().Total() != 1024 {
			t.Errorf("round %d: %d results, %d answered, %v", round, len(seen), r.Answered(), r.Counts())
		}
		_ = sw.Close()
		_ = gw.Close()
	}
}
