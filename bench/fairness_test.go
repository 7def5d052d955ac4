package bench

import (
	"testing"
	"time"

	"shoal/bench/internal/latency"
	"shoal/bench/internal/workload"
	"shoal/netio"
)

// BenchmarkFairness: one client's single calls, alone and while a client in a third process keeps 100,000 tasks queued
// at the gateway. The same calls to the floor's idle server meanwhile tell how much of it is three processes on two
// cores.
func BenchmarkFairness(b *testing.B) {
	const queued = 100_000
	keys := workload.Keys(workload.ClientSeed)
	gateway, floor := startChild(b, spec{Role: roleGateway}), startChild(b, spec{Role: roleFloor})
	other := startChild(b, spec{Role: roleFlood, URL: gateway.address, Tasks: queued})
	call := calls(b, dialShoal(b, gateway.address, netio.SwarmConfig{Connections: 1}), keys, 1)
	client := dialFloor(b, floor.address, keys, 1, 1, 1)
	var rates []float64
	flooded := func(run func(d time.Duration) *work) func(d time.Duration) *work {
		return func(d time.Duration) *work {
			start := time.Now()
			other.ask(order{Do: "start"})
			time.Sleep(d / 4)
			begun := time.Now()
			w := run(d)
			w.elapsed = time.Since(begun)
			done := other.ask(order{Do: "stop"}).Done
			rates = append(rates, float64(done)/time.Since(start).Seconds())
			return w
		}
	}
	all := contest(b, planFor(b),
		side{"alone", gateway, call}, side{"flooded", gateway, flooded(call)}, side{"floor", floor, flooded(client.run)})
	alone, beside, machine := all[0], all[1], all[2]
	p99 := func(s sample) float64 { return s.latencies.Quantile(0.99) }
	b.ReportMetric(alone.quantile(0.99), "alone-p99-µs")
	b.ReportMetric(beside.quantile(0.99), "p99-µs")
	b.ReportMetric(beside.ratio(alone, p99), "ratio")
	b.ReportMetric(machine.quantile(0.99), "floor-p99-µs")
	b.ReportMetric(latency.Median(rates), "flood-tasks/s")
	for _, line := range []struct {
		name string
		r    results
	}{{"alone", alone}, {"beside 100,000 queued tasks of another", beside}, {"  the floor's server, idle, meanwhile", machine}} {
		row(b, "Single calls of one client", []string{"", "p50 µs", "p99", "p99.9", "p99 / alone", "flood's tasks/s"},
			line.name, num(line.r.quantile(0.5)), num(line.r.quantile(0.99)), num(line.r.quantile(0.999)),
			num(line.r.ratio(alone, p99)), num(latency.Median(rates)))
	}
}
