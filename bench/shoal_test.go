package bench

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shoal/bench/internal/latency"
	"shoal/bench/internal/workload"
	"shoal/netio"
)

// dialShoal connects a swarm and waits until all its connections are up.
func dialShoal(b *testing.B, url string, config netio.SwarmConfig) *netio.Swarm {
	b.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	sw, err := netio.Dial(ctx, url, &config)
	check(b, err)
	b.Cleanup(func() { _ = sw.Close() })
	for up := false; !up; {
		up = true
		for _, pong := range sw.Ping(ctx, nil) {
			up = up && pong.Err == nil
		}
		check(b, ctx.Err())
		time.Sleep(time.Millisecond)
	}
	return sw
}

// Subroutines that answer from the table.
const (
	tableName = "table" // the table's own
	userName  = "user"  // an embedder's, over the same table
)

// calls is the work of so many callers, each with one task in flight.
func calls(b *testing.B, sw *netio.Swarm, keys []byte, callers int) func(d time.Duration) *work {
	return func(d time.Duration) *work {
		var stop atomic.Bool
		var running sync.WaitGroup
		hists := make([]latency.Histogram, callers)
		for i := range hists {
			running.Go(func() {
				cursor, last := workload.NewCursor(keys, i), time.Now()
				for first := true; first || !stop.Load(); first = false {
					answer, err := sw.Call(b.Context(), tableName, cursor.Next())
					if err == nil && (len(answer) != workload.AnswerSize || answer[0] != workload.KeyStart) {
						err = workload.ErrWrongAnswer
					}
					if err != nil {
						b.Error("call:", err)
						return
					}
					now := time.Now()
					hists[i].Add(now.Sub(last))
					last = now
				}
			})
		}
		time.Sleep(d)
		stop.Store(true)
		running.Wait()
		total := &latency.Histogram{}
		for i := range hists {
			total.Merge(&hists[i])
		}
		return &work{tasks: total.N, latencies: total}
	}
}

// mapped is the work of one Map.
func mapped(b *testing.B, sw *netio.Swarm, name string, keys []byte, o netio.MapOptions) func(d time.Duration) *work {
	return func(d time.Duration) *work {
		var stop atomic.Bool
		late := time.AfterFunc(d, func() { stop.Store(true) })
		defer late.Stop()
		total := &latency.Histogram{}
		for r, err := range sw.Map(b.Context(), name, keysUntil(keys, &stop), &o) {
			if err == nil && (len(r.Body) != workload.AnswerSize || r.Body[0] != workload.KeyStart) {
				err = workload.ErrWrongAnswer
			}
			if err != nil {
				b.Fatal("map: ", err)
			}
			total.Add(r.Elapsed)
		}
		return &work{tasks: total.N, latencies: total}
	}
}

// keysUntil yields keys, one at least, until told to stop.
func keysUntil(keys []byte, stop *atomic.Bool) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for c, first := workload.NewCursor(keys, 0), true; (first || !stop.Load()) && yield(c.Next()); first = false {
		}
	}
}
