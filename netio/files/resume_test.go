package files

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"shoal/netio"
)

// A large file goes on from where it stopped: blocks that are there and right are not sent again, others are.
func TestLargeGoesOn(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		const size = 3*rangeSize + 100_000
		whole := content(size, 8)
		put(t, from+"/big", whole, 0o640, 0)
		temp := to + "/" + partialName("big", size, past.UnixNano())
		part := bytes.Clone(whole[:2*rangeSize+blockSize/2])
		part[5*blockSize+7] ^= 1                     // one block is wrong
		clear(part[rangeSize : rangeSize+blockSize]) // one is a hole
		put(t, temp, part, 0o600, 0)
		put(t, to+"/.shoal-00000000deadbeef.part", []byte("left by a crash"), 0o600, 0)
		ageFolders(t, from)
		s := carry(Selection{Patterns: []string{"big"}}, Options{})
		if want := int64(rangeSize + 100_000 + 2*blockSize); s.Bytes != want || s.Failed != 0 {
			t.Fatalf("sent %d bytes, want %d: %+v", s.Bytes, want, s)
		}
		same(t, to, from)
	})
}

// What stands under the temporary name and is no plain file of ours is not written through.
func TestPlantedTemp(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		put(t, from+"/big", content(largeSize, 8), 0o640, 0)
		put(t, from+"/big2", content(largeSize, 9), 0o640, 0)
		victim := t.TempDir() + "/victim"
		put(t, victim, []byte("untouched"), 0o644, 0)
		must(t, os.Symlink(victim, to+"/"+partialName("big", largeSize, past.UnixNano())))
		must(t, os.Link(victim, to+"/"+partialName("big2", largeSize, past.UnixNano())))
		carry(all, Options{})
		if got, _ := os.ReadFile(victim); string(got) != "untouched" {
			t.Fatalf("%.20q", got)
		}
		noTemps(t, to)
	})
}

// A temporary file that another transfer is writing stays; one that nobody writes is removed.
func TestLeftovers(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		put(t, from+"/d/x", []byte("x"), 0o644, 0)
		put(t, to+"/d/.shoal-1.part", nil, 0o600, 0)
		must(t, os.Symlink("x", to+"/d/.shoal-2.part"))
		put(t, to+"/d/.shoal-3.part", nil, 0o600, 0)
		f, err := os.Open(to + "/d/.shoal-3.part")
		must(t, err)
		defer f.Close()
		must(t, syscall.Flock(int(f.Fd()), syscall.LOCK_EX))
		carry(all, Options{})
		if got := tempsIn(t, to); len(got) != 1 || !strings.HasSuffix(got[0], "-3.part") {
			t.Fatalf("%q", got)
		}
		must(t, f.Close())
		carry(all, Options{})
	})
}

// An interrupt leaves nothing temporary, and the next run does the rest alone.
func TestInterrupt(t *testing.T) {
	from := t.TempDir()
	for i := range 60 {
		put(t, from+"/small/"+string(rune('A'+i)), content(50_000, uint64(i)), 0o644, 0)
	}
	put(t, from+"/large", content(4*largeSize, 3), 0o644, 0)
	ageFolders(t, from)
	check := func(t *testing.T, to string, carry func(ctx context.Context, o Options) (Summary, error)) {
		ctx, cancel := context.WithCancel(t.Context())
		first, err := carry(ctx, Options{Limit: 40 << 20, Progress: func(p Progress) {
			if p.Bytes > 5<<20 {
				cancel()
			}
		}})
		if !errors.Is(err, context.Canceled) {
			t.Fatalf("%+v %v", first, err)
		}
		wait(t, "the temporary files to go", func() bool { return len(tempsIn(t, to)) == 0 })
		second, err := carry(t.Context(), Options{})
		must(t, err)
		if second.Kept < first.Copied || second.Copied+second.Kept != 61 {
			t.Fatalf("first %+v, then %+v", first, second)
		}
		same(t, to, from)
	}
	t.Run("get", func(t *testing.T) {
		b := serve(t, ServerConfig{Root: from})
		to := t.TempDir()
		check(t, to, func(ctx context.Context, o Options) (Summary, error) { return b.Get(ctx, all, to, o) })
	})
	t.Run("put", func(t *testing.T) {
		b := serve(t, ServerConfig{Writable: true})
		check(t, b.root, func(ctx context.Context, o Options) (Summary, error) { return b.PutFolder(ctx, from, all, ".", o) })
	})
}

// cutter stands between a swarm and a gateway and cuts each connection after so many bytes of the gateway's.
func cutter(t *testing.T, to string, after int64) (url string, cuts *atomic.Int64) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = ln.Close() })
	cuts = &atomic.Int64{}
	go func() { // ends with the listener
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			gateway, err := net.Dial("tcp", strings.TrimPrefix(to, "tcp://"))
			if err != nil {
				_ = client.Close()
				continue
			}
			end := func() { _ = client.Close(); _ = gateway.Close() }
			go func() {
				_, _ = io.CopyN(client, gateway, after)
				cuts.Add(1)
				end()
			}()
			go func() {
				_, _ = io.CopyN(gateway, client, after)
				end()
			}()
		}
	}()
	return "tcp://" + ln.Addr().String(), cuts
}

// Connections that are cut in the middle, again and again, do not show.
func TestConnectionsCut(t *testing.T) {
	b := serve(t, ServerConfig{Writable: true})
	plant(t, b.root+"/from")
	url, cuts := cutter(t, b.gw.URLs()[0], 3<<20)
	sw, err := netio.Dial(t.Context(), url, nil)
	must(t, err)
	defer sw.Close()
	to := t.TempDir()
	s, err := NewClient(sw).Get(t.Context(), Selection{Patterns: []string{"from/"}}, to, Options{})
	if err != nil || s.Failed != 0 {
		t.Fatalf("%+v %v", s, err)
	}
	same(t, to, b.root+"/from")
	s, err = NewClient(sw).PutFolder(t.Context(), to, all, "back", Options{})
	if err != nil || s.Failed != 0 {
		t.Fatalf("%+v %v", s, err)
	}
	same(t, b.root+"/back", b.root+"/from")
	if cuts.Load() < 4 {
		t.Errorf("only %d cuts", cuts.Load())
	}
}

// A gateway that is gone for good ends the transfer with what to expect; one that comes back is gone on with.
func TestGatewayRestarts(t *testing.T) {
	dir := t.TempDir()
	from := dir + "/from"
	plant(t, from)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	url := "tcp://" + ln.Addr().String()
	must(t, ln.Close())
	begin := func() (*netio.Gateway, *Server) {
		gw := netio.NewGateway(netio.GatewayConfig{Listen: []string{url}})
		srv, err := Serve(gw, ServerConfig{Root: dir, Writable: true})
		must(t, err)
		must(t, gw.Start())
		return gw, srv
	}
	gw, srv := begin()
	sw, err := netio.Dial(t.Context(), url, nil)
	must(t, err)
	defer sw.Close()
	restart := func(p Progress) {
		if p.Bytes > 4<<20 && gw != nil {
			_ = gw.Close()
			_ = srv.Close()
			gw = nil
		}
	}
	c := NewClient(sw)
	for _, carry := range []func(o Options) (Summary, error){
		func(o Options) (Summary, error) {
			return c.Get(t.Context(), Selection{Patterns: []string{"from/"}}, dir+"/got", o)
		},
		func(o Options) (Summary, error) { return c.PutFolder(t.Context(), from, all, "put", o) },
	} {
		o := Options{Limit: 30 << 20, Progress: func(p Progress) {
			if restart(p); gw == nil {
				gw, srv = begin()
				t.Cleanup(func() { _ = gw.Close() })
			}
		}}
		s, err := carry(o)
		for tries := 0; err != nil && tries < 3; tries++ { // as a person would: the same command again
			s, err = carry(Options{})
		}
		if err != nil || s.Failed != 0 {
			t.Fatalf("%+v %v", s, err)
		}
	}
	same(t, dir+"/got", from)
	same(t, dir+"/put", from)
	noTemps(t, dir)
	_ = gw.Close()
}

// The same large file put by two clients at once: the later one takes over, whole, and the other says so.
func TestTakenOver(t *testing.T) {
	b := serve(t, ServerConfig{Writable: true})
	from := t.TempDir()
	put(t, from+"/big", content(4*largeSize, 1), 0o644, 0)
	ageFolders(t, from)
	begun := make(chan struct{})
	var once atomic.Bool
	first := make(chan Summary)
	go func() {
		s, _ := b.PutFolder(t.Context(), from, all, ".", Options{Limit: 16 << 20, Progress: func(p Progress) {
			if p.Bytes > 2<<20 && !once.Swap(true) {
				close(begun)
			}
		}})
		first <- s
	}()
	<-begun
	s := b.putFolder(t, from, all, ".", Options{})
	if s.Failed != 0 || s.Copied != 1 {
		t.Fatalf("%+v", s)
	}
	other := <-first
	if other.Copied != 1 && !errors.Is(failures(other)["big"], ErrInUse) {
		t.Fatalf("%+v", other)
	}
	same(t, b.root, from)
	noTemps(t, b.root)
}
