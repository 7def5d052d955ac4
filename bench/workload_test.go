package bench

import (
	"fmt"
	"testing"
	"time"

	"shoal/bench/internal/workload"
	"shoal/netio"
)

// load is one of the loads that figures are asked for.
type load struct {
	name     string
	conns    int
	inflight int
	batch    int
	calls    bool // by so many callers of Call; otherwise by one Map
}

// loads: single tasks in flight over connections, and batches. The 64 and the 1024 are driven in both ways; Map is the headline.
var loads = []load{
	{name: "one", conns: 1, inflight: 1, batch: 1, calls: true},
	{name: "64over4", conns: 4, inflight: 64, batch: 1},
	{name: "64over4calls", conns: 4, inflight: 64, batch: 1, calls: true},
	{name: "1024over8", conns: 8, inflight: 1024, batch: 1},
	{name: "1024over8calls", conns: 8, inflight: 1024, batch: 1, calls: true},
	{name: "batch16", conns: 8, inflight: 1024, batch: 16},
}

// shoal returns how the load is driven over a swarm.
func (l load) shoal(b *testing.B, url string, keys []byte, config netio.SwarmConfig) func(d time.Duration) *work {
	b.Helper()
	config.Connections = l.conns
	sw := dialShoal(b, url, config)
	if l.calls {
		return calls(b, sw, keys, l.inflight)
	}
	return mapped(b, sw, tableName, keys, netio.MapOptions{Batch: l.batch, InFlight: l.inflight})
}

// BenchmarkWorkload: table tasks beside the floor.
func BenchmarkWorkload(b *testing.B) {
	for _, l := range loads {
		b.Run(l.name, func(b *testing.B) {
			keys := workload.Keys(workload.ClientSeed)
			gateway, floor := startChild(b, spec{Role: roleGateway}), startChild(b, spec{Role: roleFloor})
			client := dialFloor(b, floor.address, keys, l.conns, l.inflight, l.batch)
			sides := []side{
				{"shoal", gateway, l.shoal(b, gateway.address, keys, netio.SwarmConfig{})},
				{"floor", floor, client.run},
			}
			if l.calls {
				sides = append(sides, side{"floorcalls", floor, dialFloorCalls(b, floor.address, keys, l.conns, l.inflight).run})
			}
			all := contest(b, planFor(b), sides...)
			reportLoad(b, l, all[0], all[1])
			if l.calls {
				reportCalls(b, all[0], all[2])
			}
		})
	}
}

const loadTitle = "Tasks: 24-byte key, 100k entries, 64-byte answer; each load over the floor's"

func loadRow(b *testing.B, name string, r results, ratio string) {
	heads := []string{"", "tasks/s", "ratio", "p50 µs", "p99", "p99.9", "allocs gw", "client", "B gw", "client", "CPU µs gw", "client"}
	row(b, loadTitle, heads, name, num(r.rate()), ratio,
		num(r.quantile(0.5)), num(r.quantile(0.99)), num(r.quantile(0.999)), num(r.gatewayAllocs()), num(r.clientAllocs()),
		num(r.gatewayBytes()), num(r.clientBytes()), num(r.gatewayCPU()), num(r.clientCPU()))
}

func reportLoad(b *testing.B, l load, shoal, floor results) {
	ratio := shoal.ratio(floor, sample.rate)
	b.ReportMetric(shoal.rate(), "tasks/s")
	b.ReportMetric(floor.rate(), "floor-tasks/s")
	b.ReportMetric(ratio, "ratio")
	b.ReportMetric(shoal.quantile(0.5), "p50-µs")
	b.ReportMetric(shoal.quantile(0.99), "p99-µs")
	b.ReportMetric(shoal.quantile(0.999), "p99.9-µs")
	b.ReportMetric(shoal.gatewayAllocs(), "gw-allocs/task")
	b.ReportMetric(shoal.gatewayBytes(), "gw-B/task")
	b.ReportMetric(shoal.clientAllocs(), "cl-allocs/task")
	b.ReportMetric(shoal.clientBytes(), "cl-B/task")
	b.ReportMetric(shoal.gatewayCPU(), "gw-cpu-µs/task")
	b.ReportMetric(shoal.clientCPU(), "cl-cpu-µs/task")
	b.ReportMetric(floor.gatewayCPU(), "floor-gw-cpu-µs/task")
	b.ReportMetric(floor.clientCPU(), "floor-cl-cpu-µs/task")
	loadRow(b, l.name, shoal, num(ratio))
	loadRow(b, "  floor", floor, "")
}

// reportCalls adds what the floor does for callers that each wait for their own answer.
func reportCalls(b *testing.B, shoal, floor results) {
	ratio := shoal.ratio(floor, sample.rate)
	b.ReportMetric(floor.rate(), "floorcalls-tasks/s")
	b.ReportMetric(ratio, "ratio-floorcalls")
	loadRow(b, fmt.Sprintf("  floor, callers (%s)", num(ratio)), floor, "")
}

// BenchmarkWorkloadSessions: what remembering costs.
func BenchmarkWorkloadSessions(b *testing.B) {
	for _, l := range loads {
		b.Run(l.name, func(b *testing.B) {
			keys := workload.Keys(workload.ClientSeed)
			gateway := startChild(b, spec{Role: roleGateway})
			all := contest(b, planFor(b),
				side{"session", gateway, l.shoal(b, gateway.address, keys, netio.SwarmConfig{})},
				side{"nosession", gateway, l.shoal(b, gateway.address, keys, netio.SwarmConfig{NoSession: true})})
			ratio := all[0].ratio(all[1], sample.rate)
			b.ReportMetric(all[0].rate(), "tasks/s")
			b.ReportMetric(all[1].rate(), "nosession-tasks/s")
			b.ReportMetric(ratio, "ratio")
			row(b, "Sessions: tasks/s with, without, ratio", []string{"", "with", "without", "ratio"},
				l.name, num(all[0].rate()), num(all[1].rate()), num(ratio))
		})
	}
}

// BenchmarkWorkloadUser: the table beside a batch subroutine that an embedder could write, over the same table.
func BenchmarkWorkloadUser(b *testing.B) {
	for _, l := range loads {
		if l.calls {
			continue
		}
		b.Run(l.name, func(b *testing.B) {
			keys := workload.Keys(workload.ClientSeed)
			gateway := startChild(b, spec{Role: roleGateway})
			sw := dialShoal(b, gateway.address, netio.SwarmConfig{Connections: l.conns})
			options := netio.MapOptions{Batch: l.batch, InFlight: l.inflight}
			all := contest(b, planFor(b),
				side{"user", gateway, mapped(b, sw, userName, keys, options)},
				side{"table", gateway, mapped(b, sw, tableName, keys, options)})
			ratio := all[0].ratio(all[1], sample.rate)
			b.ReportMetric(all[0].rate(), "user-tasks/s")
			b.ReportMetric(all[1].rate(), "table-tasks/s")
			b.ReportMetric(ratio, "ratio")
			row(b, "A user's batch subroutine: tasks/s, of the table, ratio", []string{"", "user's", "table", "ratio"},
				l.name, num(all[0].rate()), num(all[1].rate()), num(ratio))
		})
	}
}
