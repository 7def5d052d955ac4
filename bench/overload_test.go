package bench

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"shoal/netio"
)

// An overloaded gateway: so many workers, each task of which takes so long, are asked for ten times what they can do.
const (
	overloadWorkers = 64
	overloadTask    = 4 * time.Millisecond
	overloadTimeout = 40 * time.Millisecond
	overloadTimes   = 10
)

// overloadResult is what one round of a load came to.
type overloadResult struct {
	useful float64 // tasks that ended with ok, a second
	late   int64   // tasks that began after their deadline, by more than a goroutine may be kept from its processor
	heap   uint64  // the most bytes of live and dead objects that were seen
}

// overloaded drives so many tasks in flight for a while; with a time-out they are refused when they have waited too long.
func overloaded(b *testing.B, inflight int, timeout, round time.Duration) (r overloadResult) {
	var late atomic.Int64
	gw := netio.NewGateway(netio.GatewayConfig{Listen: []string{"tcp://127.0.0.1:0"}, Workers: overloadWorkers})
	gw.HandleTask("work", func(t netio.Task) {
		if deadline, ok := t.Context().Deadline(); ok && time.Since(deadline) > overloadTask {
			late.Add(1)
		}
		t.FinishAfter(overloadTask, nil, nil)
	})
	check(b, gw.Start())
	defer gw.Close()
	sw := dialShoal(b, gw.URLs()[0], netio.SwarmConfig{})
	defer sw.Close()
	end := time.Now().Add(round)
	items := func(yield func([]byte) bool) {
		for body, first := make([]byte, 64), true; (first || time.Now().Before(end)) && yield(body); first = false {
		}
	}
	begun, ok := time.Now(), 0
	var m runtime.MemStats
	for n, err := range numbered(sw.Map(context.Background(), "work", items, &netio.MapOptions{InFlight: inflight, Timeout: timeout})) {
		if err == nil {
			ok++
		} else if !errors.Is(err, netio.ErrTimeout) && !errors.Is(err, netio.ErrBusy) {
			b.Fatal(err)
		}
		if n%2000 == 0 {
			runtime.ReadMemStats(&m)
			r.heap = max(r.heap, m.HeapAlloc)
		}
	}
	r.useful, r.late = float64(ok)/time.Since(begun).Seconds(), late.Load()
	return r
}

// numbered counts results.
func numbered(results func(yield func(netio.Result, error) bool)) func(yield func(int, error) bool) {
	return func(yield func(int, error) bool) {
		n := 0
		results(func(_ netio.Result, err error) bool { n++; return yield(n, err) })
	}
}

// BenchmarkWorkloadOverload: useful throughput at ten times the load that the workers can carry, beside the peak.
func BenchmarkWorkloadOverload(b *testing.B) {
	round := planFor(b).round
	carried := int(overloadWorkers * overloadTimeout / overloadTask) // in flight, these just make their deadline
	peak := overloaded(b, 2*overloadWorkers, 0, round)
	over := overloaded(b, overloadTimes*carried, overloadTimeout, round)
	b.ReportMetric(peak.useful, "peak-tasks/s")
	b.ReportMetric(over.useful, "overload-tasks/s")
	b.ReportMetric(over.useful/peak.useful, "ratio")
	b.ReportMetric(float64(over.late), "begun-late")
	b.ReportMetric(float64(over.heap)/(1<<20), "heap-MiB")
	row(b, "Overload: ten times what the workers can do", []string{"", "peak/s", "useful/s", "ratio", "begun late", "heap MiB"},
		"overload", num(peak.useful), num(over.useful), num(over.useful/peak.useful), num(float64(over.late)), num(float64(over.heap)/(1<<20)))
}
