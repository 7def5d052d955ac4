package bench

import (
	"fmt"
	"testing"
	"time"

	"shoal/bench/internal/workload"
	"shoal/netio"
)

// BenchmarkWaiting: tasks of a second that all wait at once on one gateway.
func BenchmarkWaiting(b *testing.B) {
	for _, n := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p, wait, conns := planFor(b), time.Second, 4
			if n > 100_000 {
				conns = 16 // each has a window of 65,536
				if p.brief {
					b.Skip("takes long")
				}
			}
			if p.brief {
				n, wait = n/10, 100*time.Millisecond
			}
			gateway := startChild(b, spec{Role: roleGateway, Workers: n + 1000})
			sw := dialShoal(b, gateway.address, netio.SwarmConfig{Connections: conns})
			before := gateway.collect()
			w := waitAll(b, sw, n, 16, wait)
			u := gateway.usage()
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(w.sending.Seconds(), "sending-s")
			b.ReportMetric(w.afterLast.Seconds(), "after-last-sent-s")
			b.ReportMetric(mib(u.Peak), "peak-MiB")
			row(b, "Waiting: tasks of 1 s, all at once", []string{"tasks", "s to send", "s after the last was sent", "MiB before", "MiB at the peak", "CPU s gw"},
				fmt.Sprint(n), num(w.sending.Seconds()), fmt.Sprintf("%.3f", w.afterLast.Seconds()), num(mib(before.RSS)), num(mib(u.Peak)),
				num(u.since(before).CPU.Seconds()))
		})
	}
}

// BenchmarkWait512on512: 512 tasks of a second with as many workers.
func BenchmarkWait512on512(b *testing.B) { wait512(b, 512) }

// BenchmarkWait512on32: with 32 workers, which takes 16 seconds.
func BenchmarkWait512on32(b *testing.B) { wait512(b, 32) }

func wait512(b *testing.B, workers int) {
	wait := time.Second
	if planFor(b).brief {
		wait = 100 * time.Millisecond
	}
	gateway := startChild(b, spec{Role: roleGateway, Workers: workers})
	sw := dialShoal(b, gateway.address, netio.SwarmConfig{})
	b.ResetTimer()
	w := waitAll(b, sw, 512, 16, wait)
	total := w.sending + w.afterLast
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(total.Seconds(), "s")
	row(b, "512 tasks that wait", []string{"workers", "wait", "s from first sent to last answered"},
		fmt.Sprint(workers), wait.String(), fmt.Sprintf("%.4f", total.Seconds()))
}

// waited says how long tasks that wait took.
type waited struct {
	sending   time.Duration // from the first to the last
	afterLast time.Duration // from the last sent to the last answered
}

// waitAll sends n tasks that wait and takes the answers.
func waitAll(b *testing.B, sw *netio.Swarm, n, batch int, wait time.Duration) waited {
	b.Helper()
	key := workload.WaitKey(wait)
	var start, last time.Time
	items := func(yield func([]byte) bool) {
		start = time.Now()
		for range n {
			if !yield(key) {
				return
			}
		}
		last = time.Now() // n is a multiple of batch: the last frame has left
	}
	answered := 0
	for _, err := range sw.Map(b.Context(), tableName, items, &netio.MapOptions{Batch: batch, InFlight: 2 * n}) {
		check(b, err)
		answered++
	}
	end := time.Now()
	if answered != n {
		b.Fatalf("%d of %d answers", answered, n)
	}
	return waited{last.Sub(start), end.Sub(last)}
}

func mib(bytes int64) float64 { return float64(bytes) / (1 << 20) }
