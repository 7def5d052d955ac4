package bench

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"shoal/netio"
)

// BenchmarkStuckReader: the memory of a gateway that streams as fast as it can to a client that does not read: one
// whose user does not take the chunks, and one that does not even read its sockets.
func BenchmarkStuckReader(b *testing.B) {
	for _, name := range []string{"user", "socket"} {
		b.Run(name, func(b *testing.B) {
			watch := 3 * time.Second
			if planFor(b).brief {
				watch = 200 * time.Millisecond
			}
			gateway := startChild(b, spec{Role: roleGateway})
			before := gateway.collect()
			url := gateway.address
			var pause atomic.Bool
			if name == "socket" {
				url = startRelay(b, url, &pause)
			}
			ctx, cancel := context.WithCancel(context.Background())
			b.Cleanup(cancel)
			sw := dialShoal(b, url, netio.SwarmConfig{Connections: 4, StreamCredit: 4 << 20})
			for range 16 {
				st, err := sw.OpenStream(ctx, "feed", nil)
				check(b, err)
				_, _, err = st.Recv()
				check(b, err)
			}
			pause.Store(true)
			time.Sleep(watch / 10)
			first := gateway.usage()
			time.Sleep(watch)
			last := gateway.usage()
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(mib(first.RSS-before.RSS), "first-MiB")
			b.ReportMetric(mib(last.RSS-before.RSS), "last-MiB")
			b.ReportMetric(mib(last.Peak-before.RSS), "peak-MiB")
			row(b, "16 streams over 4 connections to a client that does not read, gateway's MiB above its start",
				[]string{"who does not", "soon", "3 s later", "at the peak", "% of a core"}, name, num(mib(first.RSS-before.RSS)),
				num(mib(last.RSS-before.RSS)), num(mib(last.Peak-before.RSS)), num(float64(last.since(first).CPU)/float64(watch)*100))
		})
	}
}

// startRelay passes bytes between a client and the gateway, and stops reading from the gateway when told to pause.
func startRelay(b *testing.B, url string, pause *atomic.Bool) string {
	b.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(b, err)
	b.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			client, err := ln.Accept()
			if err != nil {
				return
			}
			gateway, err := net.Dial("tcp", strings.TrimPrefix(url, "tcp://"))
			if err != nil {
				_ = client.Close()
				continue
			}
			go relay(gateway, client, new(atomic.Bool))
			go relay(client, gateway, pause)
		}
	}()
	return "tcp://" + ln.Addr().String()
}

func relay(dst, src net.Conn, pause *atomic.Bool) {
	defer dst.Close()
	buf := make([]byte, 64<<10)
	for {
		n, err := src.Read(buf)
		if err != nil {
			return
		}
		if _, err := dst.Write(buf[:n]); err != nil {
			return
		}
		for pause.Load() {
			time.Sleep(10 * time.Millisecond)
			if _, err := dst.Write(nil); err != nil { // the client has gone
				return
			}
		}
	}
}
