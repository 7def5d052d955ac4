package bench

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shoal/bench/internal/latency"
	"shoal/bench/internal/workload"
	"shoal/netio"
)

// BenchmarkControl: single calls while three feeds of 1 KiB chunks run as fast as they can on the same swarm.
func BenchmarkControl(b *testing.B) {
	const feeds = 3
	for _, conns := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("3feedsover%d", conns), func(b *testing.B) {
			gateway := startChild(b, spec{Role: roleGateway})
			sw := dialShoal(b, gateway.address, netio.SwarmConfig{Connections: conns})
			call := calls(b, sw, workload.Keys(workload.ClientSeed), 1)
			var chunks []float64
			all := contest(b, planFor(b),
				side{"alone", gateway, call},
				side{"feeds", gateway, func(d time.Duration) *work {
					var stop atomic.Bool
					var running sync.WaitGroup
					running.Go(func() {
						w := readFeeds(b, sw, feeds, &stop)
						chunks = append(chunks, float64(w.tasks)/w.elapsed.Seconds())
					})
					w := call(d)
					stop.Store(true)
					running.Wait()
					return w
				}})
			b.ReportMetric(all[1].quantile(0.5), "p50-µs")
			b.ReportMetric(all[1].quantile(0.99), "p99-µs")
			b.ReportMetric(all[1].quantile(0.999), "p99.9-µs")
			b.ReportMetric(all[0].quantile(0.99), "alone-p99-µs")
			b.ReportMetric(latency.Median(chunks), "chunks/s")
			row(b, "Control calls on a swarm with three feeds", []string{"connections", "p50 µs", "p99", "p99.9", "alone p99", "feeds' chunks/s"},
				fmt.Sprint(conns), num(all[1].quantile(0.5)), num(all[1].quantile(0.99)), num(all[1].quantile(0.999)),
				num(all[0].quantile(0.99)), num(latency.Median(chunks)))
		})
	}
}
