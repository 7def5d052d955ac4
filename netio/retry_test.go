package netio

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"sync/atomic"
	"testing"
	"time"
)

// numbered yields n items.
func numbered(n int) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for i := range n {
			if !yield(fmt.Append(nil, i)) {
				return
			}
		}
	}
}

// outcomes counts results by status.
func outcomes(results iter.Seq2[Result, error]) map[Status]int {
	got := map[Status]int{}
	for _, err := range results {
		got[StatusOf(err)]++
	}
	return got
}

func TestMapRetries(t *testing.T) {
	cases := []struct {
		name    string
		options MapOptions
		err     error // of the first two tries
		want    Status
		tries   int32
	}{
		{"busy", MapOptions{Retries: 2}, &StatusError{Status: StatusBusy}, StatusOK, 3},
		{"draining", MapOptions{Retries: 2}, &StatusError{Status: StatusDraining}, StatusOK, 3},
		{"timeout", MapOptions{Retries: 2}, context.DeadlineExceeded, StatusOK, 3},
		{"too few", MapOptions{Retries: 1}, &StatusError{Status: StatusBusy}, StatusBusy, 2},
		{"none", MapOptions{}, &StatusError{Status: StatusBusy}, StatusBusy, 1},
		{"failed", MapOptions{Retries: 5}, errors.New("no"), StatusFailed, 1},
		{"failed, asked for", MapOptions{Retries: 2, RetryFailed: true}, errors.New("no"), StatusOK, 3},
		{"unknown task", MapOptions{Retries: 5, RetryFailed: true}, ErrUnknownTask, StatusUnknownTask, 1},
		{"not allowed", MapOptions{Retries: 5, RetryFailed: true}, &StatusError{Status: StatusNotAllowed}, StatusNotAllowed, 1},
		{"canceled", MapOptions{Retries: 5, RetryFailed: true}, context.Canceled, StatusCanceled, 1},
		{"ordered", MapOptions{Retries: 2, Ordered: true}, &StatusError{Status: StatusBusy}, StatusOK, 3},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			g := startGateway(t, GatewayConfig{})
			var tries atomic.Int32
			g.HandleCall("sick", func(context.Context, []byte) ([]byte, error) {
				if tries.Add(1) <= 2 {
					return nil, c.err
				}
				return nil, nil
			})
			s := dial(t, g.URLs()[0], &SwarmConfig{})
			if got := outcomes(s.Map(testContext(t), "sick", numbered(1), &c.options)); len(got) != 1 || got[c.want] != 1 {
				t.Errorf("ended as %v, want %v", got, c.want)
			}
			if got := tries.Load(); got != c.tries {
				t.Errorf("%d tries, want %d", got, c.tries)
			}
		})
	}
}

// A gateway that refuses everything gets little more than each task once.
func TestRetryBudget(t *testing.T) {
	const n = 2000
	g := startGateway(t, GatewayConfig{})
	var tries atomic.Int32
	g.HandleCall("sick", func(context.Context, []byte) ([]byte, error) {
		tries.Add(1)
		return nil, &StatusError{Status: StatusBusy}
	})
	s := dial(t, g.URLs()[0], nil)
	got := outcomes(s.Map(testContext(t), "sick", numbered(n), &MapOptions{Retries: 3, Batch: 16}))
	if got[StatusBusy] != n || len(got) != 1 {
		t.Errorf("ended as %v", got)
	}
	if extra := int(tries.Load()) - n; extra > n/10+firstRetries/retryCost || extra < firstRetries/retryCost {
		t.Errorf("%d retries of %d tasks", extra, n)
	}
}

// What waits to be retried when the caller has had enough is over at once.
func TestRetriesEndWithTheirMap(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	var tries atomic.Int32
	g.HandleCall("sick", func(context.Context, []byte) ([]byte, error) {
		tries.Add(1)
		return nil, &StatusError{Status: StatusBusy}
	})
	s := dial(t, g.URLs()[0], nil)
	ctx, cancel := context.WithCancel(testContext(t))
	time.AfterFunc(20*time.Millisecond, cancel)
	begun := time.Now()
	got := outcomes(s.Map(ctx, "sick", numbered(20), &MapOptions{Retries: 1000}))
	if got[StatusBusy]+got[StatusCanceled] != 20 {
		t.Errorf("ended as %v", got)
	}
	if took := time.Since(begun); took > patience/2 {
		t.Errorf("it took %v", took)
	}
	for range s.Map(testContext(t), "echo", numbered(20), &MapOptions{Retries: 3}) {
		break
	}
}

// A gateway that is away, and one that comes back.
func TestRetryWhenUnreachable(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	p := startFaultProxy(t, g.URLs()[0], faultPlan{seed: 1})
	s := dial(t, p.url(), &SwarmConfig{Connections: 2, MinBackoff: time.Millisecond, MaxBackoff: 5 * time.Millisecond, GiveUp: 20 * time.Millisecond})
	p.retarget("tcp://127.0.0.1:1")
	p.cutAll()
	eventually(t, "it is given up", func() bool { best, _ := s.pick(); return best == nil })
	if got := outcomes(s.Map(testContext(t), "echo", numbered(3), &MapOptions{Retries: 1})); got[StatusFailed] != 3 {
		t.Errorf("without a gateway they ended as %v", got)
	}
	p.retarget(g.URLs()[0])
	if got := outcomes(s.Map(testContext(t), "echo", numbered(3), &MapOptions{Retries: 20})); got[StatusOK] != 3 {
		t.Errorf("with one they ended as %v", got)
	}
}
