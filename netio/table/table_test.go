package table

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"shoal/netio"
)

// serve returns a swarm of a gateway that has the table as its only subroutine.
func serve(t *testing.T, answers *Table) *netio.Swarm {
	t.Helper()
	gw := netio.NewGateway(netio.GatewayConfig{Listen: []string{"tcp://127.0.0.1:0"}})
	gw.HandleBatch("table", answers.Run)
	if err := gw.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = gw.Close() })
	sw, err := netio.Dial(t.Context(), gw.URLs()[0], nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sw.Close() })
	return sw
}

// Tasks of a long batch get their own answers, those that wait and those that are not there too.
func TestRun(t *testing.T) {
	const n = 1000
	entries := map[string]Entry{}
	for i := range n {
		if i%7 != 0 {
			entries[fmt.Sprint(i)] = Entry{Response: fmt.Append(nil, "answer ", i), Wait: time.Duration(i%3) * time.Millisecond}
		}
	}
	answers := New(entries)
	sw := serve(t, answers)
	var items iter.Seq[[]byte] = func(yield func([]byte) bool) {
		for i := range n {
			if !yield(fmt.Append(nil, i)) {
				return
			}
		}
	}
	seen := 0
	for r, err := range sw.Map(t.Context(), "table", items, &netio.MapOptions{Batch: 100}) {
		seen++
		if r.Index%7 == 0 {
			if !errors.Is(err, netio.ErrUnknownTask) {
				t.Errorf("task %d, which is not there: %q, %v", r.Index, r.Body, err)
			}
		} else if err != nil || string(r.Body) != fmt.Sprint("answer ", r.Index) {
			t.Errorf("task %d: %q, %v", r.Index, r.Body, err)
		}
	}
	if seen != n {
		t.Errorf("%d answers", seen)
	}
}

// Swap replaces everything; what waits goes on with what it found.
func TestSwap(t *testing.T) {
	answers := New(map[string]Entry{"a": {Response: []byte("old"), Wait: time.Hour}, "b": {}})
	sw := serve(t, answers)
	ctx, cancel := context.WithCancel(t.Context())
	old := sw.Go(ctx, "table", []byte("a"))
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		s, err := sw.GatewayStats(t.Context())
		if err != nil || time.Now().After(end) {
			t.Fatal("the task does not wait:", err)
		}
		if s.Held == 1 {
			break
		}
	}
	answers.Swap(map[string]Entry{"a": {Response: []byte("new")}})
	if out, err := sw.Call(t.Context(), "table", []byte("a")); err != nil || string(out) != "new" {
		t.Errorf("after Swap: %q, %v", out, err)
	}
	if _, err := sw.Call(t.Context(), "table", []byte("b")); !errors.Is(err, netio.ErrUnknownTask) {
		t.Errorf("what is gone: %v", err)
	}
	cancel()
	if _, err := old.Result(); !errors.Is(err, netio.ErrCanceled) {
		t.Errorf("what waited ended before its time: %v", err)
	}
}

// LookupAll finds what Lookup finds, for any number of keys.
func TestLookupAll(t *testing.T) {
	entries := map[string]Entry{}
	for i := range 100 {
		entries[fmt.Sprint(i)] = Entry{Response: fmt.Append(nil, "answer ", i), Wait: time.Duration(i)}
	}
	answers := New(entries)
	for n := range 3*LookupsTogether + 1 {
		keys, found := make([][]byte, n), make([]Found, n)
		for i := range keys {
			keys[i] = fmt.Append(nil, 2*i)
			found[i] = Found{Response: []byte("what stood here before"), Wait: time.Hour, OK: i%2 == 0}
		}
		answers.LookupAll(keys, found)
		for i, f := range found {
			response, wait, ok := answers.Lookup(keys[i])
			if string(f.Response) != string(response) || f.Wait != wait || f.OK != ok {
				t.Errorf("%d keys: %s gave %v, want %s, %v, %v", n, keys[i], f, response, wait, ok)
			}
		}
	}
}

func TestZeroTable(t *testing.T) {
	answers := &Table{}
	if _, err := serve(t, answers).Call(t.Context(), "table", []byte("x")); !errors.Is(err, netio.ErrUnknownTask) || answers.Len() != 0 {
		t.Errorf("%d entries, %v", answers.Len(), err)
	}
	if _, _, ok := answers.Lookup([]byte("x")); ok {
		t.Error("it finds what is not there")
	}
}
