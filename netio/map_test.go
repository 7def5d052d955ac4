package netio

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

func TestMapAsFinished(t *testing.T) {
	g := startGateway(t, GatewayConfig{Window: 64})
	g.HandleTask("table", emulation{"0": {[]byte("slow"), 50 * time.Millisecond}, "1": {[]byte("fast"), 0}}.run)
	s := dial(t, g.URLs()[0], nil)
	for _, o := range []MapOptions{{}, {Batch: 16}, {Batch: 1000}, {Batch: 7, InFlight: 7}} {
		t.Run(fmt.Sprintf("%+v", o), func(t *testing.T) {
			const n = 500
			seen := make([]bool, n)
			for r, err := range s.Map(testContext(t), "echo", repeat(n), &o) {
				if err != nil || string(r.Body) != fmt.Sprint(r.Index) || seen[r.Index] || r.Elapsed <= 0 {
					t.Fatalf("%+v, %v; seen %v", r, err, seen[r.Index])
				}
				seen[r.Index] = true
			}
			if i := slices.Index(seen, false); i >= 0 {
				t.Errorf("item %d was not answered", i)
			}
		})
	}
	var order []int
	for r, err := range s.Map(testContext(t), "table", repeat(2), nil) {
		if err != nil {
			t.Error(err)
		}
		order = append(order, r.Index)
	}
	if !slices.Equal(order, []int{1, 0}) {
		t.Errorf("the fast one did not come first: %v", order)
	}
	var errs []error
	for _, err := range s.Map(testContext(t), "table", repeat(4), nil) {
		errs = append(errs, err)
	}
	unknown := 0
	for _, err := range errs {
		if errors.Is(err, ErrUnknownTask) {
			unknown++
		}
	}
	if len(errs) != 4 || unknown != 2 {
		t.Errorf("errors are %v", errs)
	}
	for range s.Map(testContext(t), "echo", repeat(0), nil) {
		t.Error("no items, one result")
	}
	for _, err := range s.Map(testContext(t), "", repeat(1), nil) {
		if !errors.Is(err, ErrUnknownSubroutine) {
			t.Errorf("error is %v", err)
		}
	}
}

func TestMapOrdered(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	g.HandleCall("uneven", func(_ context.Context, in []byte) ([]byte, error) {
		time.Sleep(time.Duration(in[len(in)-1]-'0') * 100 * time.Microsecond)
		return in, nil
	})
	s := dial(t, g.URLs()[0], nil)
	next := 0
	for r, err := range s.Map(testContext(t), "uneven", repeat(1000), &MapOptions{Ordered: true, InFlight: 50, Batch: 3}) {
		if err != nil || r.Index != next || string(r.Body) != fmt.Sprint(next) {
			t.Fatalf("%+v, %v in place of %d", r, err, next)
		}
		next++
	}
	if next != 1000 {
		t.Errorf("%d results", next)
	}
}

// A million items are never in memory: the input is at most InFlight ahead of who takes the results.
func TestMapMillionItems(t *testing.T) {
	n := 300_000
	if !testing.Short() && !raceEnabled {
		n = 1_000_000
	}
	g := startGateway(t, GatewayConfig{})
	s := dial(t, g.URLs()[0], nil)
	const inFlight = 2048
	pulled, taken, most := 0, atomic.Int64{}, 0
	items := func(yield func([]byte) bool) {
		for ; pulled < n; pulled++ {
			most = max(most, pulled-int(taken.Load()))
			if !yield([]byte{byte(pulled), byte(pulled >> 8)}) {
				return
			}
		}
	}
	for r, err := range s.Map(testContext(t), "echo", items, &MapOptions{Batch: 64, InFlight: inFlight}) {
		if err != nil || r.Body[0] != byte(r.Index) || r.Body[1] != byte(r.Index>>8) {
			t.Fatalf("%+v, %v", r, err)
		}
		taken.Add(1)
	}
	if int(taken.Load()) != n {
		t.Errorf("%d results", taken.Load())
	}
	if most > inFlight+2*64 {
		t.Errorf("the input ran %d items ahead", most)
	}
}

func TestMapInputDoesNotRunAheadOfSlowGateway(t *testing.T) {
	g := startGateway(t, GatewayConfig{Window: 4})
	held := newGate(t)
	g.HandleCall("held", held.pass)
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
	const n = 10 * mostReady
	var pulled atomic.Int64
	items := func(yield func([]byte) bool) {
		for range n {
			pulled.Add(1)
			if !yield(nil) {
				return
			}
		}
	}
	done := make(chan int, 1)
	go func() {
		got := 0
		for range s.Map(testContext(t), "held", items, nil) {
			got++
		}
		done <- got
	}()
	for range 4 {
		within(t, "the window fills", held.arrived)
	}
	eventually(t, "the input waits", func() bool { return s.waiting.Load() == 1 })
	if pulled := pulled.Load(); pulled > 4+2*mostReady+1 {
		t.Errorf("%d items were pulled", pulled)
	}
	held.release()
	if got := within(t, "the map ends", done); got != n {
		t.Errorf("%d results", got)
	}
}

func TestMapBatchAboveWindow(t *testing.T) {
	g := startGateway(t, GatewayConfig{Window: 4, WindowBytes: 100})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
	n := 0
	for r, err := range s.Map(testContext(t), "echo", repeat(100), &MapOptions{Batch: 16}) {
		if err != nil || string(r.Body) != fmt.Sprint(r.Index) {
			t.Errorf("%+v, %v", r, err)
		}
		n++
	}
	if n != 100 {
		t.Errorf("%d results", n)
	}
	wide := slices.Values([][]byte{make([]byte, 90), make([]byte, 90), make([]byte, 10), make([]byte, 60)})
	for r, err := range s.Map(testContext(t), "echo", wide, &MapOptions{Batch: 4}) {
		if err != nil {
			t.Errorf("%+v, %v", r, err)
		}
	}
}

// A timeout counts from when an item is sent, not from when it was pulled: the window may be full for long.
func TestMapTimeoutCountsFromSending(t *testing.T) {
	g := startGateway(t, GatewayConfig{Window: 2})
	g.HandleCall("slow", func(context.Context, []byte) ([]byte, error) {
		time.Sleep(10 * time.Millisecond)
		return nil, nil
	})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
	n := 0
	for r, err := range s.Map(testContext(t), "slow", repeat(400), &MapOptions{Timeout: time.Second}) {
		if err != nil {
			t.Fatalf("item %d: %v", r.Index, err)
		}
		n++
	}
	if n != 400 {
		t.Errorf("%d results", n)
	}
}

func TestMapTooLargeItemFailsAlone(t *testing.T) {
	g := startGateway(t, GatewayConfig{FrameLimit: 8192})
	s := dial(t, g.URLs()[0], nil)
	for _, batch := range []int{1, 4, 100} {
		var items [][]byte
		for i := range 20 {
			items = append(items, make([]byte, 100+i%5/4*10_000))
		}
		good, bad := 0, 0
		for r, err := range s.Map(testContext(t), "echo", slices.Values(items), &MapOptions{Batch: batch}) {
			switch {
			case err == nil && r.Index%5 != 4:
				good++
			case errors.Is(err, ErrTooLarge) && r.Index%5 == 4:
				bad++
			default:
				t.Errorf("batch %d: item %d: %v", batch, r.Index, err)
			}
		}
		if good != 16 || bad != 4 {
			t.Errorf("batch %d: %d good, %d bad", batch, good, bad)
		}
	}
}

func TestMapBreakCancels(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	g.HandleCall("first", func(ctx context.Context, in []byte) ([]byte, error) {
		if string(in) == "0" {
			return in, nil
		}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	s := dial(t, g.URLs()[0], nil)
	for _, ordered := range []bool{false, true} {
		stopped := false
		items := func(yield func([]byte) bool) {
			defer func() { stopped = true }()
			for i := 0; yield(fmt.Append(nil, i)); i++ {
			}
		}
		for r, err := range s.Map(testContext(t), "first", items, &MapOptions{Ordered: ordered, InFlight: 100}) {
			if r.Index != 0 || err != nil {
				t.Errorf("%+v, %v", r, err)
			}
			break
		}
		if !stopped {
			t.Error("the input goes on")
		}
		eventually(t, "all is cancelled at the gateway", func() bool { st := g.Stats(); return st.Running == 0 && st.Queued == 0 })
	}
	if out, err := s.Call(testContext(t), "echo", []byte("goes on")); err != nil || string(out) != "goes on" {
		t.Errorf("%q, %v", out, err)
	}
}

func TestMapContextEnds(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	s := dial(t, g.URLs()[0], nil)
	for _, ordered := range []bool{false, true} {
		ctx, cancel := context.WithCancel(testContext(t))
		n := 0
		items := func(yield func([]byte) bool) {
			for i := 0; yield(nil); i++ {
				if i == 30 {
					cancel()
				}
			}
		}
		for _, err := range s.Map(ctx, "wait", items, &MapOptions{Ordered: ordered, Batch: 4}) {
			if !errors.Is(err, ErrCanceled) {
				t.Errorf("error is %v", err)
			}
			n++
		}
		if n < 20 || n > 40 {
			t.Errorf("%d results", n)
		}
		cancel()
	}
	n := 0
	for _, err := range s.Map(testContext(t), "wait", repeat(20), &MapOptions{Timeout: 20 * time.Millisecond}) {
		if !errors.Is(err, ErrTimeout) {
			t.Errorf("error is %v", err)
		}
		n++
	}
	if n != 20 {
		t.Errorf("%d results", n)
	}
	eventually(t, "nothing is left at the gateway", func() bool { st := g.Stats(); return st.Running == 0 && st.Queued == 0 })
}

// An iterator of items that panics does so in the caller's goroutine; one that ends its goroutine ends the items.
func TestMapItemsPanic(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	s := dial(t, g.URLs()[0], nil)
	ended := make(chan int, 1)
	go func() {
		n := 0
		for range s.Map(testContext(t), "echo", func(yield func([]byte) bool) { yield(nil); runtime.Goexit() }, nil) {
			n++
		}
		ended <- n
	}()
	if n := within(t, "the map ends", ended); n != 1 {
		t.Errorf("%d results", n)
	}
	func() {
		defer func() {
			if v := recover(); v != "no more items" {
				t.Errorf("recovered %v", v)
			}
		}()
		for range s.Map(testContext(t), "echo", func(yield func([]byte) bool) { yield(nil); panic("no more items") }, nil) {
		}
		t.Error("it went by")
	}()
}
