package netio

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"shoal/proto"
)

func TestCompression(t *testing.T) {
	for _, c := range []Compression{CompressS2, CompressZstd} {
		t.Run(string(c), func(t *testing.T) {
			g := startSends(t, GatewayConfig{Compress: c})
			p := startProxy(t, g.URLs()[0])
			s := dial(t, p.url(), &SwarmConfig{Compress: c})
			rng := rand.NewChaCha8([32]byte{1})
			noise := make([]byte, 100_000)
			_, _ = rng.Read(noise)
			var mixed [][]byte
			for i := range 300 {
				mixed = append(mixed, bytes.Repeat([]byte{byte(i)}, i*7), noise[:i*11])
			}
			for _, batch := range []int{1, 16} {
				n := 0
				for r, err := range s.Map(testContext(t), "echo", func(yield func([]byte) bool) {
					for _, b := range mixed {
						if !yield(b) {
							return
						}
					}
				}, &MapOptions{Batch: batch}) {
					if err != nil || !bytes.Equal(r.Body, mixed[r.Index]) {
						t.Fatalf("item %d: %d bytes, %v", r.Index, len(r.Body), err)
					}
					n++
				}
				if n != len(mixed) {
					t.Errorf("%d results", n)
				}
			}
			for _, body := range []io.Reader{&pattern{n: 3 << 20}, bytes.NewReader(bytes.Repeat(noise, 10)), strings.NewReader(strings.Repeat("a", 3<<20))} {
				st, err := s.Duplex(testContext(t), "echo stream", nil)
				if err != nil {
					t.Fatal(err)
				}
				var sent bytes.Buffer
				copied := make(chan error, 1)
				go func() {
					_, err := io.Copy(st.Writer(), io.TeeReader(body, &sent))
					st.CloseSend()
					copied <- err
				}()
				got, err := io.ReadAll(st.Reader())
				if err == nil {
					err = <-copied
				}
				if err != nil || !bytes.Equal(got, sent.Bytes()) {
					t.Errorf("%d bytes of %d, %v", len(got), sent.Len(), err)
				}
			}
			p.cut() // compressed frames are sent again as they were
			if out, err := s.Call(testContext(t), "echo", noise); err != nil || !bytes.Equal(out, noise) {
				t.Errorf("%d bytes, %v", len(out), err)
			}
		})
	}
}

func TestCompressionOnlyWhereItShrinks(t *testing.T) {
	for _, c := range []Compression{CompressNone, CompressS2, CompressZstd} {
		g := startGateway(t, GatewayConfig{Compress: c})
		noise := make([]byte, 10_000)
		_, _ = rand.NewChaCha8([32]byte{1}).Read(noise)
		for _, features := range []uint32{0, proto.FeatureS2 | proto.FeatureZstd} {
			for _, body := range []string{"short", string(noise), strings.Repeat("long ", 2000)} {
				hello := helloFor()
				hello.Features = features
				p := connect(t, g).greet(hello)
				p.tasks("echo", rawTask{0, body})
				f := p.next()
				compressed := f.Compression() != proto.CompressNone
				if want := c != CompressNone && features != 0 && strings.HasPrefix(body, "long"); compressed != want {
					t.Errorf("%q with features %d: %.10q compressed: %v", c, features, body, compressed)
				}
				if compressed && len(f.Payload) > 1000 {
					t.Errorf("%q: %d bytes of 10000", c, len(f.Payload))
				}
				_ = p.conn.Close()
			}
		}
	}
}

// compressingHello is a hello that wants both compressions.
func compressingHello() proto.Hello {
	h := helloFor()
	h.Features = proto.FeatureS2 | proto.FeatureZstd
	return h
}

// What only one side wants is not agreed on, and a frame compressed all the same is malformed.
func TestCompressionNotAgreed(t *testing.T) {
	frame, ok := proto.AppendCompressed(nil, tasksFrame(0, "echo", rawTask{0, strings.Repeat("x", 5000)}), proto.CompressS2)
	if !ok {
		t.Fatal("not compressed")
	}
	for _, c := range []struct {
		gateway Compression
		hello   proto.Hello
	}{{CompressNone, compressingHello()}, {CompressZstd, helloFor()}} {
		p := connect(t, startGateway(t, GatewayConfig{Compress: c.gateway})).greet(c.hello)
		if p.welcome.Features != 0 {
			t.Errorf("gateway %q: features %b", c.gateway, p.welcome.Features)
		}
		p.write(frame)
		if text := p.goodbye(proto.GoodbyeMalformed); !strings.Contains(text, "not agreed") {
			t.Errorf("goodbye says %q", text)
		}
	}
	said := make(chan proto.Goodbye, 1)
	url := fakeGateway(t, func(p *raw) {
		_, _ = p.conn.Write(frame)
		said <- goodbyeFrom(p)
	})
	s := dial(t, url, &SwarmConfig{Connections: 1, Compress: CompressS2})
	if bye := within(t, "goodbye", said); bye.Code != proto.GoodbyeMalformed {
		t.Errorf("goodbye %v: %s", bye.Code, bye.Text)
	}
	_ = s.Close()
}

// An event loop expands no more of one connection in a turn than its share; what is left gets turns of its own.
func TestExpansionInTurns(t *testing.T) {
	body := make([]byte, 200<<10) // shrinks by a little less than is taken
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(body[:1000])
	frame, ok := proto.AppendCompressed(nil, tasksFrame(0, "echo", rawTask{0, string(body)}), proto.CompressZstd)
	if !ok || len(frame) > 2000 {
		t.Fatalf("%d bytes, compressed: %v", len(frame), ok)
	}
	const frames = 20 // too few for an ack of their own
	handled := 0
	l := newBareLane(4<<20, func(*proto.Frame) error { handled++; return nil })
	l.in.Agree(proto.FeatureZstd)
	k := &link{turns: true}
	l.link = k
	src, turns := bytes.Repeat(frame, frames), 0
	if err := k.arrived(src, l); err != nil {
		t.Fatal(err)
	}
	for turns = 1; handled < frames && turns < frames; turns++ {
		if most := turns * (mostExpanded/len(body) + 1); handled > most {
			t.Fatalf("%d frames in %d turns", handled, turns)
		}
		if err := k.arrived(nil, l); err != nil {
			t.Fatal(err)
		}
	}
	if handled != frames || k.in != nil {
		t.Errorf("%d frames in %d turns", handled, turns)
	}

	g := startGateway(t, GatewayConfig{Compress: CompressS2}) // whose loops take the turns
	hello := helloFor()
	hello.Features = proto.FeatureZstd // and whose answers are not compressed
	p := connect(t, g).greet(hello)
	var all []byte
	for id := range uint32(frames) {
		frame, _ := proto.AppendCompressed(nil, tasksFrame(0, "no such", rawTask{id, string(body)}), proto.CompressZstd)
		all = append(all, frame...)
	}
	p.write(all)
	p.results(frames)
	p.echo()
}

func TestCompressedTasksTaken(t *testing.T) {
	g := startGateway(t, GatewayConfig{Compress: CompressS2})
	g.HandleCall("same", func(_ context.Context, in []byte) ([]byte, error) {
		return fmt.Append(nil, string(in) == strings.Repeat("x", 5000)), nil
	})
	for _, c := range []proto.Compression{proto.CompressS2, proto.CompressZstd} {
		p := connect(t, g).greet(compressingHello())
		body := strings.Repeat("x", 5000)
		frame, ok := proto.AppendCompressed(nil, tasksFrame(0, "same", rawTask{0, body}), c)
		if !ok {
			t.Fatal("not compressed")
		}
		p.write(frame)
		if r := p.results(1)[0]; string(r.Body) != "true" {
			t.Errorf("compression %d: %v", c, r)
		}
	}
}
