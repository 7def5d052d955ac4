package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"strings"
	"testing"
	"time"

	"shoal/bench/internal/latency"
)

// profilesVariable names a directory for CPU profiles: one for each round, side and process.
const profilesVariable = "SHOAL_BENCH_PROFILES"

// side is one way of doing the work.
type side struct {
	name   string
	server *child
	run    func(d time.Duration) *work // does the work for so long
}

// work is what a round has done.
type work struct {
	tasks     int                // or chunks, or bytes
	latencies *latency.Histogram // nil: not taken
	elapsed   time.Duration      // 0: from the call of run to its return
}

// sample is one round of one side.
type sample struct {
	work
	server, client usage
}

func (s sample) rate() float64 { return float64(s.tasks) / s.elapsed.Seconds() }

// results are the rounds of one side.
type results []sample

// med returns the median of f over the rounds.
func (r results) med(f func(s sample) float64) float64 {
	values := make([]float64, len(r))
	for i := range r {
		values[i] = f(r[i])
	}
	return latency.Median(values)
}

func (r results) rate() float64 { return r.med(sample.rate) }

func (r results) quantile(q float64) float64 {
	return r.med(func(s sample) float64 { return s.latencies.Quantile(q) })
}

// perTask returns the median of what one task used.
func (r results) perTask(f func(s sample) float64) float64 {
	return r.med(func(s sample) float64 { return f(s) / float64(max(1, s.tasks)) })
}

func (r results) gatewayAllocs() float64 {
	return r.perTask(func(s sample) float64 { return float64(s.server.Mallocs) })
}

func (r results) gatewayBytes() float64 {
	return r.perTask(func(s sample) float64 { return float64(s.server.Bytes) })
}

func (r results) gatewayCPU() float64 {
	return r.perTask(func(s sample) float64 { return float64(s.server.CPU) / 1e3 })
}

func (r results) clientAllocs() float64 {
	return r.perTask(func(s sample) float64 { return float64(s.client.Mallocs) })
}

func (r results) clientBytes() float64 {
	return r.perTask(func(s sample) float64 { return float64(s.client.Bytes) })
}

func (r results) clientCPU() float64 {
	return r.perTask(func(s sample) float64 { return float64(s.client.CPU) / 1e3 })
}

// ratio returns the median of f(r)/f(other), round by round.
func (r results) ratio(other results, f func(s sample) float64) float64 {
	var values []float64
	for i := range r {
		if v := f(other[i]); v > 0 {
			values = append(values, f(r[i])/v)
		}
	}
	return latency.Median(values)
}

// contest measures the sides in turn, A B A B, after a short round of each that does not count.
func contest(b *testing.B, p plan, sides ...side) []results {
	b.Helper()
	all := make([]results, len(sides))
	for _, s := range sides {
		s.run(p.round / 4)
	}
	b.ResetTimer()
	for i := range p.rounds {
		for j, s := range sides {
			all[j] = append(all[j], measure(b, s, p, i))
		}
	}
	b.ReportMetric(0, "ns/op")
	return all
}

func measure(b *testing.B, s side, p plan, round int) sample {
	b.Helper()
	dir := os.Getenv(profilesVariable)
	stem := filepath.Join(dir, fmt.Sprintf("%s-%s-%d", strings.ReplaceAll(strings.TrimPrefix(b.Name(), "Benchmark"), "/", "-"), s.name, round+1))
	runtime.GC()
	if s.server != nil && dir != "" {
		s.server.ask(order{Do: "profile", Path: stem + "-server.pprof"})
		check(b, startProfile(stem+"-client.pprof"))
	}
	var serverBefore, serverAfter usage
	if s.server != nil {
		serverBefore = s.server.usage()
	}
	before, start := usageNow(), time.Now()
	w := s.run(p.round)
	if w.elapsed == 0 {
		w.elapsed = time.Since(start)
	}
	after := usageNow()
	if s.server != nil {
		serverAfter = s.server.usage()
	}
	if s.server != nil && dir != "" {
		pprof.StopCPUProfile()
		s.server.ask(order{Do: "endprofile"})
	}
	if w.tasks == 0 {
		b.Fatalf("%s: %s did nothing", b.Name(), s.name)
	}
	return sample{*w, serverAfter.since(serverBefore), after.since(before)}
}
