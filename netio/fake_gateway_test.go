package netio

import (
	"net"
	"testing"
	"time"

	"shoal/proto"
)

// fakeGateway takes one connection, welcomes its client, and leaves it to serve, right or wrong as a test wants it.
func fakeGateway(t *testing.T, serve func(p *raw)) (url string) {
	t.Helper()
	checkLeaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	t.Cleanup(func() {
		_ = ln.Close()
		within(t, "the fake gateway ends", served)
	})
	go func() {
		defer close(served)
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		_ = ln.Close()
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		p := &raw{t: t, conn: conn}
		if _, err := p.read(); err != nil {
			return
		}
		_, _ = conn.Write(proto.AppendWelcome(nil, proto.Welcome{Version: 1, FrameLimit: 1 << 20, StreamCredit: 1000, Window: 10,
			Streams: 4, WindowBytes: 1000, IdleTimeout: 60_000, Extensions: []proto.Extension{{Type: proto.ExtensionKey, Value: make([]byte, proto.KeySize)}}}))
		serve(p)
	}()
	return "tcp://" + ln.Addr().String()
}

// goodbyeFrom reads until the goodbye; the code is that of an internal error if none comes.
func goodbyeFrom(p *raw) proto.Goodbye {
	for {
		f, err := p.read()
		if err != nil {
			return proto.Goodbye{Code: proto.GoodbyeInternal, Text: err.Error()}
		}
		if g, err := proto.ParseGoodbye(f.Payload); f.Kind == proto.KindGoodbye && err == nil {
			return g
		}
	}
}

// A gateway that breaks the protocol in the middle of a frame of results ends the calls, all of them.
func TestSwarmMalformedResults(t *testing.T) {
	said := make(chan proto.Goodbye, 1)
	url := fakeGateway(t, func(p *raw) {
		for tasks := 0; tasks < 2; {
			f, err := p.read()
			if err != nil {
				return
			}
			_, _, rest, _ := proto.ParseTasksHeader(f.Payload)
			for len(rest) > 0 {
				_, _, rest, _ = proto.NextTask(rest)
				tasks++
			}
		}
		payload := proto.AppendResult(nil, 0, StatusOK, []byte("good"))
		payload = proto.AppendResult(payload, 9, StatusOK, []byte("never asked for"))
		_, _ = p.conn.Write(proto.AppendFrame(nil, proto.Frame{Kind: proto.KindResults, Payload: payload}))
		said <- goodbyeFrom(p)
	})
	s := dial(t, url, &SwarmConfig{Connections: 1, GiveUp: 50 * time.Millisecond})
	one, two := s.Go(testContext(t), "a", nil), s.Go(testContext(t), "b", nil)
	within(t, "one call ends", one.Done())
	within(t, "the other call ends", two.Done())
	_, err1 := one.Result()
	_, err2 := two.Result()
	if (err1 == nil) == (err2 == nil) {
		t.Errorf("errors are %v and %v", err1, err2)
	}
	if g := within(t, "the gateway is told", said); g.Code != proto.GoodbyeMalformed {
		t.Errorf("goodbye %v: %s", g.Code, g.Text)
	}
}

func TestSwarmTellsGatewayWhatIsMalformed(t *testing.T) {
	chunk := func(id uint32, size int) []byte {
		return proto.AppendFrame(nil, proto.Frame{Kind: proto.KindChunks, Payload: proto.AppendChunk(nil, proto.Chunk{Stream: id, Body: make([]byte, size)})})
	}
	end := func(id uint32) []byte {
		return proto.AppendFrame(nil, proto.Frame{Kind: proto.KindEnd, Payload: proto.AppendEnd(nil, proto.End{Stream: id})})
	}
	credit := func(id uint32) []byte {
		return proto.AppendFrame(nil, proto.Frame{Kind: proto.KindCredit, Payload: proto.AppendCredit(nil, id, 7)})
	}
	parts := func(frame []byte) []byte {
		all, _ := proto.AppendParts(nil, frame, 1)
		return all
	}
	for _, c := range []struct {
		name string
		send []byte
		good bool
	}{
		{"chunk within its credit", chunk(0, 5000), true},
		{"chunk of a stream that is over", append(end(0), chunk(0, 5)...), true},
		{"chunk of a stream that never was", chunk(3, 5), true},
		{"unknown kind that may be skipped", proto.AppendFrame(nil, proto.Frame{Kind: 0x70, Flags: proto.FlagSkippable}), true},
		{"drain", proto.AppendDrain(nil, 1000), true},
		{"pong to no ping", proto.AppendFrame(nil, proto.Frame{Kind: proto.KindPong, Payload: make([]byte, 1024)}), true},
		{"credit of a stream that never was", credit(3), true},
		{"end in parts, with a field of a later version", parts(fielded(end(0), proto.Extension{Type: 0x777})), true},
		{"pong too long", proto.AppendFrame(nil, proto.Frame{Kind: proto.KindPong, Payload: make([]byte, 1025)}), false},
		{"credit for the wrong direction", credit(0), false},
		{"credit for the lane", credit(proto.WholeLane), false},
		{"end with a critical field of a later version", fielded(end(0), proto.Extension{Type: 0x8777}), false},
		{"retry after of a byte", fielded(end(0), proto.Extension{Type: proto.FieldRetryAfter, Value: []byte{1}}), false},
		{"fields of chunks", proto.AppendFrame(nil, proto.Frame{Kind: proto.KindChunks, Flags: proto.FlagFields, Payload: []byte{1, 0, 0}}), false},
		{"another frame among parts", append(parts(end(0))[:9:9], chunk(0, 5)...), false},
		{"second welcome, skippable", proto.AppendFrame(nil, proto.Frame{Kind: proto.KindWelcome, Flags: proto.FlagSkippable}), false},
		{"chunk without credit", append(chunk(0, 84), chunk(0, 1)...), false},
		{"end of a stream that is not open", end(1), false},
		{"two ends", append(end(0), end(0)...), false},
		{"unknown kind", proto.AppendFrame(nil, proto.Frame{Kind: 0x70}), false},
		{"kind of a client", tasksFrame(0, "echo", rawTask{0, ""}), false},
		{"ack of what was not sent", proto.AppendAck(nil, 1<<40), false},
		{"frame above the limit", []byte{1, 32, 0, 0, byte(proto.KindResults), 0, 0, 0}, false},
		{"status lost", proto.AppendFrame(nil, proto.Frame{Kind: proto.KindEnd, Payload: []byte{0, 0, 0, 0, 9}}), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			said := make(chan proto.Goodbye, 1)
			url := fakeGateway(t, func(p *raw) {
				for {
					f, err := p.read()
					if err != nil {
						return
					}
					if f.Kind == proto.KindOpen {
						break
					}
				}
				_, _ = p.conn.Write(append(c.send, proto.AppendFrame(nil, proto.Frame{Kind: proto.KindPing})...))
				for {
					f, err := p.read()
					if err != nil {
						return
					}
					switch f.Kind {
					case proto.KindPong:
						said <- proto.Goodbye{Code: proto.GoodbyeDone}
						return
					case proto.KindGoodbye:
						g, _ := proto.ParseGoodbye(f.Payload)
						said <- g
						return
					}
				}
			})
			s := dial(t, url, &SwarmConfig{Connections: 1, StreamCredit: 100, FrameLimit: 8192, GiveUp: time.Millisecond})
			st, err := s.OpenStream(testContext(t), "x", nil) // nobody reads it
			if err != nil {
				t.Fatal(err)
			}
			defer st.Abort()
			g := within(t, "the gateway hears of it", said)
			if want := map[bool]proto.GoodbyeCode{true: proto.GoodbyeDone, false: proto.GoodbyeMalformed}[c.good]; g.Code != want {
				t.Errorf("goodbye %v (%s), want %v", g.Code, g.Text, want)
			}
		})
	}
}
