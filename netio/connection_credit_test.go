package netio

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"

	"shoal/proto"
)

// Streams that nobody reads take no more of a gateway than the credit of their connection and one chunk; once they are read, or
// over, the others go on.
func TestConnectionCreditAtGateway(t *testing.T) {
	const credit, chunk = 64 << 10, 8 << 10
	g := startGateway(t, GatewayConfig{ConnectionCredit: credit})
	read := make(chan struct{})
	g.HandleSend("late", func(ctx context.Context, _ []byte, body io.Reader) ([]byte, error) {
		select {
		case <-read:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
		n, err := io.Copy(io.Discard, body)
		return fmt.Append(nil, n), err
	})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1})
	var streams []*ClientStream
	for range 12 {
		st, err := s.open(testContext(t), "late", nil, proto.ShapeSend)
		if err != nil {
			t.Fatal(err)
		}
		streams = append(streams, st)
	}
	var sending sync.WaitGroup
	for i, st := range streams {
		sending.Go(func() {
			for k := range 8 {
				if st.Send(int64(k), make([]byte, chunk)) != nil {
					return // aborted below
				}
			}
			st.CloseSend()
			if out, err := st.Result(); i >= 4 && (err != nil || string(out) != fmt.Sprint(8*chunk)) {
				t.Errorf("stream %d: %q, %v", i, out, err)
			}
		})
	}
	taken := func() (sum int64) {
		for _, st := range streams {
			sum += st.Progress().Sent
		}
		return sum
	}
	eventually(t, "the credit is used up", func() bool { return taken() >= credit-credit/8 })
	if n := taken(); n > credit+chunk {
		t.Errorf("%d bytes were sent on a credit of %d", n, credit)
	}
	for _, st := range streams[:4] { // what they hold comes back
		st.Abort()
	}
	close(read)
	done := make(chan struct{})
	go func() { sending.Wait(); close(done) }()
	within(t, "the others end", done)
}

// The same at a client that does not read.
func TestConnectionCreditAtClient(t *testing.T) {
	const credit, chunk, chunks = 64 << 10, 8 << 10, 50
	g := startGateway(t, GatewayConfig{})
	var mu sync.Mutex
	sent := 0
	g.HandleStream("flood", func(_ context.Context, _ []byte, s *Stream) error {
		for i := range int64(chunks) {
			if err := s.Send(i, make([]byte, chunk)); err != nil {
				return err
			}
			mu.Lock()
			sent += chunk
			mu.Unlock()
		}
		return nil
	})
	s := dial(t, g.URLs()[0], &SwarmConfig{Connections: 1, ConnectionCredit: credit})
	for range 2 { // the second time with what the first has given back
		var streams []*ClientStream
		mu.Lock()
		sent = 0
		mu.Unlock()
		for range 6 {
			st, err := s.OpenStream(testContext(t), "flood", nil)
			if err != nil {
				t.Fatal(err)
			}
			streams = append(streams, st)
		}
		eventually(t, "the credit is used up", func() bool { mu.Lock(); defer mu.Unlock(); return sent >= credit/2-chunk })
		mu.Lock()
		if sent > credit+chunk {
			t.Errorf("%d bytes were sent on a credit of %d", sent, credit)
		}
		mu.Unlock()
		streams[0].Abort()
		var reading sync.WaitGroup
		for _, st := range streams[1:] {
			reading.Go(func() {
				n := 0
				_, _, err := st.Recv()
				for ; err == nil; n++ {
					_, _, err = st.Recv()
				}
				if n != chunks || err != io.EOF {
					t.Errorf("%d chunks, %v", n, err)
				}
			})
		}
		reading.Wait()
	}
}

// A client that sends more than the connection has credit for is cut off; credit comes back for streams that are over.
func TestConnectionCreditEnforced(t *testing.T) {
	g := startGateway(t, GatewayConfig{ConnectionCredit: 1000})
	g.HandleDuplex("hold", func(ctx context.Context, _ []byte, _ *Stream) error { <-ctx.Done(); return ctx.Err() })
	p := connect(t, g).greet(helloFor())
	if credit, ok := p.welcome.LaneCredit(); credit != 1000 || !ok {
		t.Fatalf("credit %d, %v", credit, ok)
	}
	p.open(0, proto.ShapeDuplex, "hold", "")
	p.chunk(0, 0, strings.Repeat("x", 584))
	p.send(proto.KindAbort, proto.AppendAbort(nil, 0, StatusCanceled))
	id, bytes, _, err := proto.NextCredit(p.expect(proto.KindCredit))
	if id != proto.WholeLane || bytes != 600 || err != nil {
		t.Errorf("credit of %d for %#x, %v", bytes, id, err)
	}
	p.end(0)
	p.chunk(3, 0, strings.Repeat("x", 584)) // of no stream: it comes back too
	if _, bytes, _, _ := proto.NextCredit(p.expect(proto.KindCredit)); bytes != 600 {
		t.Errorf("credit of %d", bytes)
	}
	p.open(1, proto.ShapeDuplex, "hold", "")
	p.chunk(1, 0, strings.Repeat("x", 1000))
	p.chunk(1, 1, "")
	if text := p.goodbye(proto.GoodbyeMalformed); !strings.Contains(text, "lane") {
		t.Errorf("goodbye says %q", text)
	}
}

// A gateway sends no more than its client has credit for, in all.
func TestConnectionCreditObeyed(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	g.HandleStream("flood", func(_ context.Context, _ []byte, s *Stream) error {
		for i := range int64(10) {
			if err := s.Send(i, make([]byte, 84)); err != nil {
				return err
			}
		}
		return nil
	})
	hello := helloFor()
	hello.Extensions = []proto.Extension{proto.CreditExtension(150)}
	p := connect(t, g).greet(hello)
	p.open(0, proto.ShapeStream, "flood", "")
	p.open(1, proto.ShapeStream, "flood", "")
	got, given := 0, 150
	for ends := 0; ends < 2; {
		switch f := p.next(); f.Kind {
		case proto.KindChunks:
			for rest := f.Payload; len(rest) > 0; got += 100 {
				_, rest, _ = proto.NextChunk(rest)
			}
			if got >= given+100 {
				t.Fatalf("%d bytes on a credit of %d", got, given)
			}
			p.send(proto.KindCredit, proto.AppendCredit(nil, proto.WholeLane, 100))
			given += 100
		case proto.KindEnd:
			ends++
		}
	}
	if got != 2000 {
		t.Errorf("%d bytes", got)
	}
}
