package netio

import (
	"bytes"
	"context"
	"encoding/hex"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"shoal/proto"
)

var update = flag.Bool("update", false, "record the session of testdata anew")

const recordedSession = "../testdata/session.txt"

// recorder writes down what a raw client and a gateway say to each other.
type recorder struct {
	t    *testing.T
	g    *Gateway
	text strings.Builder
	p    *raw
}

func (r *recorder) note(format string, args ...any) {
	fmt.Fprintf(&r.text, "\n# "+format+"\n", args...)
}

func (r *recorder) connect() {
	r.text.WriteString("connect\n")
	r.p = connect(r.t, r.g)
}

func (r *recorder) cut() {
	r.text.WriteString("cut\n")
	_ = r.p.conn.Close()
}

func (r *recorder) send(b []byte, what string) {
	fmt.Fprintf(&r.text, "> %x  # %s\n", b, what)
	r.p.write(b)
}

// hear takes one frame of the gateway's.
func (r *recorder) hear(what string) proto.Frame {
	r.t.Helper()
	f, err := r.p.read()
	if err != nil {
		r.t.Fatal(err)
	}
	fmt.Fprintf(&r.text, "< %x  # %s\n", proto.AppendFrame(nil, f), what)
	return f
}

// record plays the session against a gateway.
func (r *recorder) record() {
	duplex := func(kind proto.Kind, payload []byte) []byte {
		return proto.AppendFrame(nil, proto.Frame{Kind: kind, Payload: payload})
	}
	hello := sessionHello(0x6c616f6873)
	hello.Clock = 5000
	r.note("The client says hello and gets the key of the lane.")
	r.connect()
	r.send(proto.AppendHello(nil, hello), "hello")
	w, err := proto.ParseWelcome(r.hear("welcome").Payload)
	if err != nil {
		r.t.Fatal(err)
	}
	key := bytes.Clone(w.Key())

	r.note("A task, and a ping, which the gateway answers after an ack of the frame.")
	first := tasksFrame(0, "echo", rawTask{0, "first"})
	r.send(first, "tasks")
	answer := proto.AppendFrame(nil, r.hear("results"))
	ping := proto.AppendFrame(nil, proto.Frame{Kind: proto.KindPing, Payload: []byte("12:34")})
	r.send(ping, "ping")
	r.hear("ack")
	r.hear("pong")

	r.note("A duplex stream: a chunk there and back.")
	r.send(duplex(proto.KindOpen, proto.AppendOpen(nil, proto.Open{Stream: 7, Shape: proto.ShapeDuplex, Name: []byte("back")})), "open")
	r.send(duplex(proto.KindChunks, proto.AppendChunk(nil, proto.Chunk{Stream: 7, Ident: 1, Body: []byte("there and back")})), "chunks")
	chunk := proto.AppendFrame(nil, r.hear("chunks"))

	r.note("A task whose answer is lost on the way, and half of the frame of another one: then the connection breaks.")
	second := tasksFrame(0, "echo", rawTask{0, "second"})
	third := fielded(tasksFrame(0, "echo", rawTask{1, "third"}), proto.Extension{Type: proto.FieldMetadata, Value: proto.AppendMetadata(nil, "trace", "abc")})
	r.send(second, "tasks")
	r.hear("results, which the client does not get")
	r.send(third[:len(third)/2], "half of a frame of tasks")
	r.cut()

	r.note("The client comes back, with what it has got and the proof. The gateway has got everything but the half frame, and goes on behind what the client has.")
	again := hello
	again.Resume, again.Received, again.Clock = true, uint64(len(answer)+len(chunk)), 6000
	again.Prove(key, hello.Clock)
	r.connect()
	r.send(proto.AppendHello(nil, again), "hello")
	r.hear("welcome")
	r.hear("results, again")
	parts, _ := proto.AppendParts(nil, third, 20)
	r.send(parts, "the frame of tasks that was cut, from its start and in parts now")
	r.hear("results")

	r.note("The stream is still there. It ends, and the client leaves.")
	r.send(duplex(proto.KindEnd, proto.AppendEnd(nil, proto.End{Stream: 7})), "end")
	r.hear("end")
	r.send(proto.AppendGoodbye(nil, proto.Goodbye{Code: proto.GoodbyeDone}), "goodbye")
}

func startRecorded(t *testing.T) *Gateway {
	g := startGateway(t, GatewayConfig{})
	g.HandleDuplex("back", func(_ context.Context, _ []byte, s *Stream) error {
		for {
			ident, body, err := s.Recv()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
			if err := s.Send(ident, body); err != nil {
				return err
			}
		}
	})
	return g
}

// The session of testdata, with its cut, goes with the real gateway as it was recorded, but for what is random in it: the life
// of the gateway, the key of the lane and the proof that it makes.
func TestRecordedSession(t *testing.T) {
	if *update {
		r := &recorder{t: t, g: startRecorded(t)}
		r.text.WriteString("# A session between a client (>) and a gateway (<), in hex, with a cut. See README.md.\n")
		r.record()
		if err := os.WriteFile(recordedSession, []byte(r.text.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(recordedSession)
	if err != nil {
		t.Fatal(err)
	}
	g := startRecorded(t)
	var p *raw
	var recorded, real []byte // keys of the lane
	n := 0
	for line := range strings.Lines(string(text)) {
		n++
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
			continue
		case words[0] == "connect":
			p = connect(t, g)
			continue
		case words[0] == "cut":
			_ = p.conn.Close()
			continue
		}
		b, err := hex.DecodeString(words[1])
		if err != nil {
			t.Fatalf("line %d: %v", n, err)
		}
		if words[0] == ">" {
			p.write(provenWith(t, b, recorded, real))
			continue
		}
		want, _, _ := proto.ParseFrame(b, len(b))
		if want.Kind == proto.KindAck {
			continue // they come when they come
		}
		got := p.next()
		if got.Kind == proto.KindWelcome {
			theirs, err1 := proto.ParseWelcome(want.Payload)
			ours, err2 := proto.ParseWelcome(got.Payload)
			if err1 != nil || err2 != nil || (theirs.Key() == nil) != (ours.Key() == nil) {
				t.Fatalf("line %d: %v, %v, keys %x and %x", n, err1, err2, theirs.Key(), ours.Key())
			}
			if ours.Key() != nil {
				recorded, real = bytes.Clone(theirs.Key()), bytes.Clone(ours.Key())
				ours.Extensions = theirs.Extensions
			}
			ours.Life = theirs.Life
			got, _, _ = proto.ParseFrame(proto.AppendWelcome(nil, ours), proto.HandshakeLimit)
		}
		if frame := proto.AppendFrame(nil, got); !bytes.Equal(frame, b) {
			t.Fatalf("line %d: the gateway says\n%x, recorded is\n%x", n, frame, b)
		}
	}
}

// provenWith returns bytes of the client's, where they are a hello with a proof with that of another key. The recorded proof has
// to be right.
func provenWith(t *testing.T, b, recorded, real []byte) []byte {
	f, size, err := proto.ParseFrame(b, len(b))
	if err != nil || size == 0 || f.Kind != proto.KindHello {
		return b
	}
	h, err := proto.ParseHello(f.Payload)
	if err != nil {
		t.Fatal(err)
	}
	begun, ok := h.Begun()
	if !ok {
		return b
	}
	if !h.Proves(recorded) {
		t.Error("the recorded proof does not hold")
	}
	h.Prove(real, begun)
	return proto.AppendHello(nil, h)
}
