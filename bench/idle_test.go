package bench

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"shoal/bench/internal/workload"
	"shoal/netio"
)

// BenchmarkIdleConnections: connections that were used once each and now are silent but for heartbeats.
func BenchmarkIdleConnections(b *testing.B) {
	for _, n := range []int{1_000, 15_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			p, watch := planFor(b), 5*time.Second
			if p.brief {
				n, watch = min(n, 200), 200*time.Millisecond
			}
			swarms := max(1, n/1000)
			gateway := startChild(b, spec{Role: roleGateway, Workers: n + 1})
			before := gateway.collect()
			for range swarms {
				sw := dialShoal(b, gateway.address, netio.SwarmConfig{Connections: n / swarms})
				useAll(b, sw, n/swarms)
			}
			fresh := gateway.usage()
			settled := gateway.collect()
			start := gateway.usage()
			time.Sleep(watch)
			end := gateway.usage()
			share := float64(end.since(start).CPU) / float64(watch) * 100
			perConn := func(u usage) float64 { return float64(u.RSS-before.RSS) / 1024 / float64(n) }
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(share, "%core")
			b.ReportMetric(perConn(settled), "KiB/conn")
			b.ReportMetric(perConn(fresh), "fresh-KiB/conn")
			b.ReportMetric(float64(end.Goroutines), "goroutines")
			row(b, "Idle connections, gateway", []string{"connections", "% of a core", "KiB each after a collection", "before it", "goroutines in all"},
				fmt.Sprint(n), num(share), num(perConn(settled)), num(perConn(fresh)), fmt.Sprint(end.Goroutines))
		})
	}
}

// useAll makes every connection of a swarm carry a task: each new one goes to a connection without any.
func useAll(b *testing.B, sw *netio.Swarm, conns int) {
	b.Helper()
	key := workload.WaitKey(100 * time.Millisecond)
	var running sync.WaitGroup
	for range conns {
		running.Go(func() {
			if _, err := sw.Call(b.Context(), tableName, key); err != nil {
				b.Error("call:", err)
			}
		})
	}
	running.Wait()
}

// BenchmarkIdleStreams: open streams over which nothing goes, each with a subroutine that waits.
func BenchmarkIdleStreams(b *testing.B) {
	n, watch := 10_000, 3*time.Second
	if planFor(b).brief {
		n, watch = 1_000, 100*time.Millisecond
	}
	gateway := startChild(b, spec{Role: roleGateway})
	sw := dialShoal(b, gateway.address, netio.SwarmConfig{Connections: 4})
	before := gateway.collect()
	for range n {
		st, err := sw.OpenStream(b.Context(), "wait", nil)
		check(b, err)
		b.Cleanup(st.Abort)
	}
	_, err := sw.Call(b.Context(), tableName, workload.WaitKey(100*time.Millisecond)) // the opens are before it
	check(b, err)
	fresh := gateway.usage()
	settled := gateway.collect()
	start := gateway.usage()
	time.Sleep(watch)
	share := float64(gateway.usage().since(start).CPU) / float64(watch) * 100
	perStream := func(u usage) float64 { return float64(u.RSS-before.RSS) / 1024 / float64(n) }
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(share, "%core")
	b.ReportMetric(perStream(settled), "KiB/stream")
	b.ReportMetric(perStream(fresh), "fresh-KiB/stream")
	row(b, "Idle streams, gateway", []string{"streams", "% of a core", "KiB each after a collection", "before it"},
		fmt.Sprint(n), num(share), num(perStream(settled)), num(perStream(fresh)))
}
