package netio

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"time"
)

// onceCounts counts how often the tasks of a subroutine ran, by body.
type onceCounts struct {
	mu   sync.Mutex
	runs map[string]int
	open chan struct{} // those whose body begins with s wait for it
}

func startOnce(t *testing.T, c GatewayConfig) (*Gateway, *onceCounts) {
	counts := &onceCounts{runs: map[string]int{}, open: make(chan struct{})}
	count := func(body []byte) {
		counts.mu.Lock()
		counts.runs[string(body)]++
		counts.mu.Unlock()
	}
	g := startGateway(t, c)
	g.HandleCall("call", func(ctx context.Context, in []byte) ([]byte, error) {
		count(in)
		if in[0] == 's' {
			select {
			case <-counts.open:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}
		if in[0] == 'f' {
			return nil, errors.New("no")
		}
		return bytes.ToUpper(in), nil
	})
	g.HandleBatch("batch", func(tasks []Task) {
		for i := range tasks {
			count(tasks[i].Body())
			tasks[i].FinishAfter(time.Millisecond, tasks[i].Body(), nil)
		}
	})
	return g, counts
}

func (c *onceCounts) of(body string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.runs[body]
}

// keyedMap maps bodies, each under its own text as a key.
func keyedMap(t *testing.T, s *Swarm, name string, bodies ...string) map[string]string {
	t.Helper()
	got := map[string]string{}
	o := &MapOptions{Key: func(index, _ int) []byte { return []byte(bodies[index]) }, Batch: 4}
	for r, err := range s.Map(WithMetadata(testContext(t), map[string]string{"k": "v"}), name, func(yield func([]byte) bool) {
		for _, b := range bodies {
			if !yield([]byte(b)) {
				return
			}
		}
	}, o) {
		if got[bodies[r.Index]] = string(r.Body); err != nil {
			got[bodies[r.Index]] = StatusOf(err).String()
		}
	}
	return got
}

// A task that comes again under its key, by another client, does not run again: it gets the answer of the first, which may have
// ended, also badly, or still run, even if the first client is gone for good.
func TestOnce(t *testing.T) {
	for _, name := range []string{"call", "batch"} {
		g, counts := startOnce(t, GatewayConfig{})
		first, second := dial(t, g.URLs()[0], nil), dial(t, g.URLs()[0], nil)
		one := keyedMap(t, first, name, "a", "b", "f")
		two := keyedMap(t, second, name, "f", "a", "c", "b")
		if one["a"] != two["a"] || one["f"] != two["f"] || len(two) != 4 {
			t.Errorf("%s: %v, %v", name, one, two)
		}
		for _, body := range []string{"a", "b", "c", "f"} {
			if n := counts.of(body); n != 1 {
				t.Errorf("%s: %s ran %d times", name, body, n)
			}
		}
	}
}

func TestOnceWhileItRuns(t *testing.T) {
	g, counts := startOnce(t, GatewayConfig{Workers: 1})
	one := &SwarmConfig{Connections: 1} // so that they arrive in their order
	first, second := dial(t, g.URLs()[0], one), dial(t, g.URLs()[0], one)
	bodies := []string{"s1", "s2"} // the second waits for the worker
	answers, ended := make(chan map[string]string, 1), make(chan struct{})
	go func() { keyedMap(t, first, "call", bodies...); close(ended) }()
	eventually(t, "one runs, one waits", func() bool { return counts.of("s1") == 1 && g.Stats().Queued == 1 })
	go func() { answers <- keyedMap(t, second, "call", bodies...) }()
	eventually(t, "both have come again", func() bool { return g.Stats().Tasks == 4 })
	eventually(t, "one takes the place of the other", func() bool {
		g.once.mu.Lock()
		defer g.once.mu.Unlock()
		e := g.once.entries["\x00call\x00s1"]
		return len(e.waiting) == 1
	})
	var gone []*handler
	g.mu.Lock()
	for h := range g.handlers {
		if h.session.session == first.session {
			gone = append(gone, h)
		}
	}
	g.mu.Unlock()
	for _, h := range gone { // as if its client had stayed away
		g.endHandler(h, errLaneEnded)
	}
	close(counts.open)
	if got := <-answers; got["s1"] != "S1" || got["s2"] != "S2" {
		t.Errorf("the answers are %v", got)
	}
	<-ended // with what it has heard of its tasks
	if counts.of("s1") != 1 || counts.of("s2") != 1 {
		t.Errorf("ran %d and %d times", counts.of("s1"), counts.of("s2"))
	}
}

// What is remembered is bounded, in time too.
func TestOnceForgets(t *testing.T) {
	g, counts := startOnce(t, GatewayConfig{SessionTimeout: 50 * time.Millisecond})
	s := dial(t, g.URLs()[0], nil)
	keyedMap(t, s, "call", "a", "b")
	eventually(t, "it is forgotten", func() bool {
		g.once.mu.Lock()
		defer g.once.mu.Unlock()
		return len(g.once.entries) == 0 && g.once.bytes == 0
	})
	if got := keyedMap(t, s, "call", "a"); got["a"] != "A" || counts.of("a") != 2 {
		t.Errorf("%v, ran %d times", got, counts.of("a"))
	}
	if got := keyedMap(t, s, "call", "x", string(make([]byte, 65))); got["x"] != "X" {
		t.Errorf("beside a key that is too long: %v", got)
	}
}
