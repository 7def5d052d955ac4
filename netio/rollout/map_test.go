package rollout

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shoal/netio"
	"shoal/netio/target"
)

// gateway starts a gateway with one subroutine, and connects to it.
func gateway(t *testing.T, fn netio.CallFunc) *netio.Swarm {
	t.Helper()
	gw := netio.NewGateway(netio.GatewayConfig{Listen: []string{"tcp://127.0.0.1:0"}})
	gw.HandleCall("work", fn)
	if err := gw.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { gw.Close() })
	s, err := netio.Dial(t.Context(), gw.URLs()[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// numbered gives tasks on three targets, each with its number and its attempt as the body.
func numbered(n int) iter.Seq[Task] {
	return func(yield func(Task) bool) {
		for i := range n {
			body := func(attempt int) []byte { return fmt.Appendf(nil, "%d %d", i, attempt) }
			if !yield(Task{Target: string(rune('a' + i%3)), Body: body}) {
				return
			}
		}
	}
}

func newRollout(t *testing.T, c Config, o Options) *Rollout {
	t.Helper()
	r, err := New(c, o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFanoutAndPerTargetHoldAtTheGateway(t *testing.T) {
	var mu sync.Mutex
	running := map[string]int{}
	worst, worstOn := 0, 0
	s := gateway(t, func(ctx context.Context, in []byte) ([]byte, error) {
		var i, attempt int
		if _, err := fmt.Sscan(string(in), &i, &attempt); err != nil {
			return nil, err
		}
		on := string(rune('a' + i%3))
		mu.Lock()
		running[""]++
		running[on]++
		worst, worstOn = max(worst, running[""]), max(worstOn, running[on])
		mu.Unlock()
		time.Sleep(time.Millisecond)
		mu.Lock()
		running[""]--
		running[on]--
		mu.Unlock()
		return in, nil
	})
	r := newRollout(t, Config{Fanout: 5, PerTarget: 2}, Options{})
	seen := make([]bool, 100)
	for result, err := range r.Map(t.Context(), s, "work", numbered(100)) {
		if err != nil || string(result.Body) != fmt.Sprintf("%d 1", result.Index) || result.Attempt != 1 || seen[result.Index] {
			t.Errorf("%+v, %v", result, err)
		}
		seen[result.Index] = true
	}
	if slices.Contains(seen, false) || worst > 5 || worstOn > 2 {
		t.Errorf("%d at once, %d on one target; seen %v", worst, worstOn, seen)
	}
}

func TestRetriesGetTheirAttempt(t *testing.T) {
	s := gateway(t, func(_ context.Context, in []byte) ([]byte, error) {
		i, attempt, _ := strings.Cut(string(in), " ")
		if i == "3" || attempt < "3" {
			return nil, errors.New("not yet")
		}
		return in, nil
	})
	r := newRollout(t, Config{Retries: 2, Backoff: time.Millisecond}, Options{})
	n := 0
	for result, err := range r.Map(t.Context(), s, "work", numbered(10)) {
		n++
		if result.Attempt != 3 || errors.Is(err, netio.ErrFailed) != (result.Index == 3) {
			t.Errorf("%+v, %v", result, err)
		}
	}
	if n != 10 || len(r.Underway()) != 0 {
		t.Errorf("%d results, under way %v", n, r.Underway())
	}
}

// TestHaltNow has one task fail while others wait for their cancel, and some have not started.
func TestHaltNow(t *testing.T) {
	var started atomic.Int32
	s := gateway(t, func(ctx context.Context, in []byte) ([]byte, error) {
		if started.Add(1) == 4 {
			return nil, errors.New("broken")
		}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	r := newRollout(t, Config{Fanout: 4, Halt: Halt{Now: true, Fail: target.Share{Count: 1}}}, Options{})
	ended := map[error]int{}
	for _, err := range r.Map(t.Context(), s, "work", numbered(50)) {
		for _, kind := range []error{netio.ErrFailed, netio.ErrCanceled, ErrNotStarted} {
			if errors.Is(err, kind) {
				ended[kind]++
			}
		}
	}
	if ended[netio.ErrFailed] != 1 || ended[netio.ErrCanceled] != 3 || !r.Halted() {
		t.Errorf("ended as %v", ended)
	}
	if n := started.Load(); n != 4 {
		t.Errorf("%d started", n)
	}
}

func TestUnderwayThenCancel(t *testing.T) {
	s := gateway(t, func(ctx context.Context, in []byte) ([]byte, error) {
		if string(in) == "0 1" {
			return in, nil
		}
		<-ctx.Done()
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := newRollout(t, Config{Fanout: 3}, Options{})
	began := time.Now()
	ended := 0
	for result, err := range r.Map(ctx, s, "work", numbered(5)) {
		if ended++; err == nil {
			for len(r.Underway()) < 3 { // the loop of the test's own timeout
				time.Sleep(time.Millisecond)
			}
			list := r.Underway()
			if list[0].Task == 0 || list[0].Since.Before(began) || list[0].Attempt != 1 || list[0].Target == "" {
				t.Errorf("under way %+v", list)
			}
			cancel()
		} else if !errors.Is(err, netio.ErrCanceled) && !errors.Is(err, ErrNotStarted) {
			t.Errorf("%+v: %v", result, err)
		}
	}
	if ended < 4 {
		t.Errorf("%d results", ended)
	}
}

func TestBreakingTheLoopCancels(t *testing.T) {
	var canceled atomic.Int32
	s := gateway(t, func(ctx context.Context, in []byte) ([]byte, error) {
		if string(in) == "0 1" {
			return in, nil
		}
		<-ctx.Done()
		canceled.Add(1)
		return nil, ctx.Err()
	})
	r := newRollout(t, Config{Fanout: 4}, Options{})
	for range r.Map(t.Context(), s, "work", numbered(1000)) {
		break
	}
	if !r.Halted() {
		t.Error("not halted")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestClosedSwarmEndsAllThatWerePulled(t *testing.T) {
	s := gateway(t, func(ctx context.Context, in []byte) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	r := newRollout(t, Config{Fanout: 4, Retries: 1, Backoff: time.Millisecond}, Options{})
	go func() {
		for len(r.Underway()) < 4 {
			time.Sleep(time.Millisecond)
		}
		s.Close()
	}()
	n := 0
	for _, err := range r.Map(t.Context(), s, "work", numbered(10)) {
		if n++; err == nil {
			t.Error("a task is ok")
		}
	}
	if n < 4 {
		t.Errorf("%d results", n)
	}
}

func TestBadNameIsTheErrorOfAll(t *testing.T) {
	s := gateway(t, func(_ context.Context, in []byte) ([]byte, error) { return in, nil })
	r := newRollout(t, Config{}, Options{})
	var got []error
	for result, err := range r.Map(t.Context(), s, "", numbered(10)) {
		if result.Index < 0 {
			got = append(got, err)
		}
	}
	if len(got) != 1 || !errors.Is(got[0], netio.ErrUnknownSubroutine) {
		t.Errorf("got %v", got)
	}
}

func TestCanaryWaitsForItsWave(t *testing.T) {
	var mu sync.Mutex
	var order []string
	s := gateway(t, func(_ context.Context, in []byte) ([]byte, error) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, string(in))
		if string(in) == "2 1" {
			return nil, errors.New("broken")
		}
		return in, nil
	})
	r := newRollout(t, Config{
		Canary: []target.Share{{Count: 1}, {Percent: 20}}, Pause: 20 * time.Millisecond, Total: 10,
		Halt: Halt{Fail: target.Share{Count: 1}},
	}, Options{})
	results := 0
	for range r.Map(t.Context(), s, "work", numbered(10)) {
		results++
	}
	slices.Sort(order[1:])
	if !slices.Equal(order, []string{"0 1", "1 1", "2 1"}) || results != 3 {
		t.Errorf("started %v, %d results", order, results)
	}
}

func TestConfigText(t *testing.T) {
	for _, text := range []string{"never", "soon,fail=1", "now,fail=10%", "soon,fail=0.5%"} {
		if h, err := ParseHalt(text); err != nil || h.String() != text {
			t.Errorf("%q: %v, %v", text, h, err)
		}
	}
	for _, text := range []string{"now", "later,fail=1", "soon,fail=0", "soon,fail=", "soon,fail=101%", "soon,3", "now,fail=-1"} {
		if h, err := ParseHalt(text); err == nil {
			t.Errorf("%q: %v", text, h)
		}
	}
	waves, err := ParseCanary("1, 5%,25%")
	if want := []target.Share{{Count: 1}, {Percent: 5}, {Percent: 25}}; err != nil || !slices.Equal(waves, want) {
		t.Errorf("%v, %v", waves, err)
	}
	for _, text := range []string{"0", "1,,2", "x", "1,200%"} {
		if waves, err := ParseCanary(text); err == nil {
			t.Errorf("%q: %v", text, waves)
		}
	}
	for _, c := range []Config{
		{Fanout: -1}, {PerTarget: -1}, {Retries: -1}, {Rate: -1}, {Rate: 1e-9}, {Delay: -1}, {Pause: -1}, {StartWithin: -1},
		{Canary: []target.Share{{Percent: 5}}}, {Halt: Halt{Fail: target.Share{Percent: 5}}},
	} {
		if _, err := New(c, Options{}); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
