package netio

import (
	"context"
	"strings"
	"testing"

	"shoal/proto"
)

// most returns the most that measure says of any handler.
func most(g *Gateway, measure func(h *handler) int) (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for h := range g.handlers {
		h.mu.Lock()
		n = max(n, measure(h))
		h.mu.Unlock()
	}
	return n
}

// A client that keeps to its ids gets its refusals, however many and though the outbox is full of them.
func TestRefusalsOfProperClient(t *testing.T) {
	for _, c := range []struct {
		GatewayConfig
		batch, inFlight int
	}{
		{GatewayConfig{SendBuffer: 64 << 10}, 64, 60_000},
		{GatewayConfig{Compress: CompressZstd}, 65_536, 65_536},
		{GatewayConfig{Compress: CompressZstd, Window: 1000, Streams: 1}, 1000, 1000},
	} {
		g := startGateway(t, c.GatewayConfig)
		s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
		ends := map[Status]int{}
		name := strings.Repeat("n", 200)
		for _, err := range s.Map(testContext(t), name, repeat(300_000), &MapOptions{Batch: c.batch, InFlight: c.inFlight}) {
			ends[StatusOf(err)]++
		}
		if len(ends) != 1 || ends[StatusUnknownSubroutine] != 300_000 {
			t.Errorf("%+v: tasks end as %v", c, ends)
		}
	}
}

// One that uses ids again and acknowledges no answer does not fill the gateway's memory.
func TestRefusalsWithoutAcks(t *testing.T) {
	for name, one := range map[string]func(id uint32) []byte{
		"tasks": func(id uint32) []byte { return tasksFrame(0, "no such", rawTask{id, ""}) },
		"streams": func(id uint32) []byte {
			open := proto.AppendOpen(nil, proto.Open{Stream: id, Shape: proto.ShapeStream, Name: []byte("over")})
			b := proto.AppendFrame(nil, proto.Frame{Kind: proto.KindOpen, Payload: open})
			return proto.AppendFrame(b, proto.Frame{Kind: proto.KindAbort, Payload: proto.AppendAbort(nil, id, StatusCanceled)})
		},
	} {
		t.Run(name, func(t *testing.T) {
			g := startGateway(t, GatewayConfig{Window: 1000, Streams: 1000, SendBuffer: 64 << 10})
			g.HandleStream("over", func(context.Context, []byte, *Stream) error { return nil })
			p := connect(t, g).greet(sessionHello(1))
			go func() { // 1,000 ids again and again; the write fails when the gateway has had enough
				for i := uint32(0); ; i++ {
					if _, err := p.conn.Write(one(i % 1000)); err != nil {
						return
					}
				}
			}()
			p.goodbye(proto.GoodbyeMalformed)
		})
	}
}

// Pings with something sequenced between them, from a client that does not read: pongs and acks are bounded.
func TestControlFramesAreBounded(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	p := connect(t, g).greet(sessionHello(1))
	one := proto.AppendFrame(nil, proto.Frame{Kind: proto.KindCancel, Payload: proto.AppendCancel(nil, 5)})
	one = proto.AppendFrame(one, proto.Frame{Kind: proto.KindPing})
	burst := []byte(strings.Repeat(string(one), 1<<20/len(one)))
	received := 0
	for range 32 {
		p.write(burst)
		received += len(burst) / len(one)
	}
	eventually(t, "all has arrived", func() bool {
		return most(g, func(h *handler) int { return int(h.in.Received()) }) == received*(proto.HeaderSize+4)
	})
	if n := most(g, func(h *handler) int { return h.out.ControlBytes() }); n > 2*(64<<10) {
		t.Errorf("%d bytes of control frames wait", n)
	}
}

// A stream that was aborted counts until its subroutine has returned, though its id is free.
func TestAbortedStreamsCount(t *testing.T) {
	const streams = 4
	g := startGateway(t, GatewayConfig{Streams: streams})
	held := newGate(t)
	g.HandleStream("held", func(ctx context.Context, in []byte, _ *Stream) error {
		_, err := held.pass(ctx, in)
		return err
	})
	p, other := connect(t, g).greet(helloFor()), connect(t, g).greet(helloFor())
	for range streams {
		p.open(0, proto.ShapeStream, "held", "")
		p.send(proto.KindAbort, proto.AppendAbort(nil, 0, StatusCanceled))
		if e, _ := p.end(0); e.Status != StatusCanceled {
			t.Fatalf("it ends as %v", e.Status)
		}
	}
	p.open(0, proto.ShapeStream, "held", "")
	if e, _ := p.end(0); e.Status != StatusBusy {
		t.Errorf("one more ends as %v", e.Status)
	}
	for range streams {
		within(t, "those before it run", held.arrived)
	}
	other.open(0, proto.ShapeStream, "held", "")
	within(t, "another client's runs", held.arrived)
	held.release()
	eventually(t, "all have returned", func() bool { return g.Stats().Streams == 0 })
	p.open(0, proto.ShapeStream, "held", "")
	if e, _ := p.end(0); e.Status != StatusOK {
		t.Errorf("one after that ends as %v", e.Status)
	}
}
