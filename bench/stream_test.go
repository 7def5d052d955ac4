package bench

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shoal/netio"
)

// BenchmarkStream: server streams of 1 KiB chunks, as many as there are connections, beside the floor.
func BenchmarkStream(b *testing.B) {
	for _, n := range []int{1, 4} {
		b.Run(fmt.Sprintf("%dover%d", n, n), func(b *testing.B) {
			gateway, floor := startChild(b, spec{Role: roleGateway}), startChild(b, spec{Role: roleFloor})
			sw := dialShoal(b, gateway.address, netio.SwarmConfig{Connections: n})
			all := contest(b, planFor(b),
				side{"shoal", gateway, func(d time.Duration) *work { return readFeeds(b, sw, n, after(d)) }},
				side{"floor", floor, func(d time.Duration) *work { return readFloorFeeds(b, floor.address, n, after(d)) }})
			reportBytes(b, fmt.Sprintf("stream, 1 KiB chunks, %d over %d", n, n), "chunks/s", 1, chunkSize, all[0], all[1])
		})
	}
}

// after returns a flag that is set when d has passed.
func after(d time.Duration) *atomic.Bool {
	var stop atomic.Bool
	time.AfterFunc(d, func() { stop.Store(true) })
	return &stop
}

// readFeeds reads so many streams until told to stop.
func readFeeds(b *testing.B, sw *netio.Swarm, streams int, stop *atomic.Bool) *work {
	var running sync.WaitGroup
	var total atomic.Int64
	start := time.Now()
	for range streams {
		running.Go(func() {
			next := int64(0)
			for c, err := range sw.Stream(b.Context(), "feed", nil) {
				if err == nil && (len(c.Body) != chunkSize || c.Ident != next) {
					err = errWrongChunk
				}
				if err != nil {
					b.Error("stream:", err)
					break
				}
				next++
				if stop.Load() {
					break
				}
			}
			total.Add(next)
		})
	}
	running.Wait()
	return &work{tasks: int(total.Load()), elapsed: time.Since(start)}
}

var errWrongChunk = errors.New("a chunk is not the next")

// readFloorFeeds does the same over plain connections.
func readFloorFeeds(b *testing.B, address string, conns int, stop *atomic.Bool) *work {
	var running sync.WaitGroup
	var total atomic.Int64
	start := time.Now()
	for range conns {
		conn := dialFloorConn(b, address, floorFeed)
		running.Go(func() {
			defer conn.Close()
			r, body, n := bufio.NewReaderSize(conn, floorBuffer), make([]byte, chunkSize), int64(0)
			var header [4]byte
			for first := true; first || !stop.Load(); first = false {
				_, err := io.ReadFull(r, header[:])
				if err == nil && binary.LittleEndian.Uint32(header[:]) != chunkSize {
					err = errWrongChunk
				}
				if err == nil {
					_, err = io.ReadFull(r, body)
				}
				if err != nil {
					b.Error("floor stream:", err)
					break
				}
				n++
			}
			total.Add(n)
		})
	}
	running.Wait()
	return &work{tasks: int(total.Load()), elapsed: time.Since(start)}
}

// reportBytes reports streams and sends. A sample counts in units of which scale make one of the rate's, and a chunk is
// so many bytes.
func reportBytes(b *testing.B, name, unit string, scale, perChunk float64, shoal, floor results) {
	ratio := shoal.ratio(floor, sample.rate)
	b.ReportMetric(shoal.rate()/scale, unit)
	b.ReportMetric(floor.rate()/scale, "floor-"+unit)
	b.ReportMetric(ratio, "ratio")
	b.ReportMetric(shoal.gatewayAllocs()*perChunkUnits(scale, perChunk), "gw-allocs/chunk")
	b.ReportMetric(shoal.clientAllocs()*perChunkUnits(scale, perChunk), "cl-allocs/chunk")
	b.ReportMetric(shoal.gatewayCPU()*perChunkUnits(scale, perChunk), "gw-cpu-µs/chunk")
	b.ReportMetric(shoal.clientCPU()*perChunkUnits(scale, perChunk), "cl-cpu-µs/chunk")
	line := func(name string, r results, ratio string) {
		f := perChunkUnits(scale, perChunk)
		row(b, "Streams and sends, over the floor's", []string{"", "rate", "unit", "ratio", "allocs/chunk gw", "client", "CPU µs/chunk gw", "client"},
			name, num(r.rate()/scale), unit, ratio, fmt.Sprintf("%.3f", r.gatewayAllocs()*f), fmt.Sprintf("%.3f", r.clientAllocs()*f),
			num(r.gatewayCPU()*f), num(r.clientCPU()*f))
	}
	line(name, shoal, num(ratio))
	line("  floor", floor, "")
}

// perChunkUnits is how many of a sample's units are a chunk: samples of streams count chunks, those of sends bytes.
func perChunkUnits(scale, perChunk float64) float64 {
	if scale == 1 {
		return 1
	}
	return perChunk
}
