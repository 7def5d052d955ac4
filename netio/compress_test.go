package netio

import (
	"bytes"
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
				for r, err := range s.MapWith(testContext(t), "echo", func(yield func([]byte) bool) {
					for _, b := range mixed {
						if !yield(b) {
							return
						}
					}
				}, MapOptions{Batch: batch}) {
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
				p.tasks("echo", task{0, body})
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

func TestCompressedTasksTaken(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	for _, c := range []proto.Compression{proto.CompressS2, proto.CompressZstd} {
		p := connect(t, g).greet(helloFor())
		body := strings.Repeat("x", 5000)
		frame, ok := proto.AppendCompressed(nil, tasksFrame(0, "echo", task{0, body}), c)
		if !ok {
			t.Fatal("not compressed")
		}
		p.write(frame)
		if r := p.results(1)[0]; string(r.Body) != body {
			t.Errorf("compression %d: %d bytes", c, len(r.Body))
		}
	}
}
