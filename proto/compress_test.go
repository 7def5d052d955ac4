package proto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
)

var compressions = []Compression{CompressS2, CompressZstd}

// compressed is a tasks frame that says it expands to size, and holds these compressed bytes.
func compressed(c Compression, size uint32, body []byte) Frame {
	payload := append(binary.LittleEndian.AppendUint32(nil, size), body...)
	return Frame{Kind: KindTasks, Flags: byte(c) << 1, Payload: payload}
}

// expand does what a receiver does with a frame, and checks that nothing behind the buffer is written.
func expand(t testing.TB, f Frame, limit int) ([]byte, error) {
	t.Helper()
	size, err := ExpandedSize(f, limit)
	if err != nil {
		return nil, err
	}
	if size > limit {
		t.Fatalf("ExpandedSize gave %d, limit %d", size, limit)
	}
	const guard = 64
	buf := bytes.Repeat([]byte{0xA5}, size+guard)
	err = Expand(buf[:size], f)
	if !bytes.Equal(buf[size:], bytes.Repeat([]byte{0xA5}, guard)) {
		t.Fatalf("Expand wrote behind a buffer of %d bytes", size)
	}
	return buf[:size], err
}

// zstdStream compresses as a stream does: with a window and without the size of the content.
func zstdStream(t testing.TB, data []byte, options ...zstd.EOption) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := zstd.NewWriter(&b, options...)
	if err != nil {
		t.Fatal(err)
	}
	// Written in two parts, so that the encoder does not know the size when it writes the header.
	for _, part := range [][]byte{data[:len(data)/2], data[len(data)/2:]} {
		if _, err := w.Write(part); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// zstdZeros is a zstd frame of so many zeros in run-length blocks of 128 KiB, without the size of the content. Its
// window is 1 KiB << exponent.
func zstdZeros(size int, exponent byte) []byte {
	const block = 128 << 10
	frame := []byte{0x28, 0xB5, 0x2F, 0xFD, 0, exponent << 3}
	for size > 0 {
		n, last := min(size, block), uint32(0)
		if size <= block {
			last = 1
		}
		header := uint32(n)<<3 | 1<<1 | last
		frame = append(frame, byte(header), byte(header>>8), byte(header>>16), 0)
		size -= n
	}
	return frame
}

// Windows of zstdZeros: the least that fits its blocks, the largest that the decoder takes, and one above.
const (
	window128K = 7
	window8M   = 13
)

// addresses is so many lines that shrink by much, and by less than the ratio that is taken.
func addresses(n int) (data []byte) {
	for i := range n {
		data = fmt.Appendf(data, "137.72.%d.%d:foo ", i>>8&255, i&255)
	}
	return data
}

func encodeZstd(data []byte) []byte { return zstdEncoder().EncodeAll(data, nil) }

func TestCompressRoundTrip(t *testing.T) {
	random := make([]byte, 3000)
	rng := rand.NewChaCha8([32]byte{1})
	rng.Read(random)
	for _, c := range compressions {
		for _, payload := range [][]byte{
			bytes.Repeat([]byte("137.72.95.0:foo "), 100), addresses(20000), bytes.Repeat(random, 3),
			testTasks().append(bytes.Repeat([]byte("task "), 50)),
		} {
			frame := AppendFrame(nil, Frame{Kind: KindResults, Flags: FlagSkippable, Payload: payload})
			wire := checkAppend(t, func(dst []byte) []byte {
				dst, ok := AppendCompressed(dst, frame, c)
				if !ok {
					t.Errorf("%v: %d bytes did not shrink", c, len(payload))
				}
				return dst
			})
			if len(wire) >= len(frame) {
				t.Errorf("%v: %d bytes from %d", c, len(wire), len(frame))
			}
			f, n, err := ParseFrame(wire, testLimit)
			if err != nil || n != len(wire) || f.Kind != KindResults || !f.Skippable() || f.Compression() != c {
				t.Fatalf("%v: kind %#02x, flags %#02x, size %d, error %v", c, f.Kind, f.Flags, n, err)
			}
			if got, err := expand(t, f, len(payload)); err != nil || !bytes.Equal(got, payload) {
				t.Errorf("%v: %d bytes came back as %d, error %v", c, len(payload), len(got), err)
			}
		}
	}
}

// What would not be smaller is left alone.
func TestCompressNotSmaller(t *testing.T) {
	random := make([]byte, 1000)
	rng := rand.NewChaCha8([32]byte{2})
	rng.Read(random)
	for _, c := range []Compression{CompressNone, CompressS2, CompressZstd, 3} {
		for _, payload := range [][]byte{nil, {1}, []byte("short"), random} {
			frame, prefix := asFrame(KindTasks, payload), []byte("before")
			for _, dst := range [][]byte{slices.Clip(own(prefix)), append(make([]byte, 0, 4096), prefix...)} {
				if got, ok := AppendCompressed(dst, frame, c); ok || !bytes.Equal(got, prefix) {
					t.Errorf("%v of %d bytes: %v, dst %q", c, len(payload), ok, got)
				}
			}
		}
	}
}

// A plain frame has the size of its payload, and is not for Expand.
func TestExpandPlain(t *testing.T) {
	f := Frame{Kind: KindTasks, Payload: []byte("plain payload")}
	if n, err := ExpandedSize(f, 5); n != 13 || err != nil {
		t.Errorf("size %d, error %v", n, err)
	}
	if err := Expand(make([]byte, 13), f); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v, want ErrMalformed", err)
	}
}

func TestExpandedSizeLimit(t *testing.T) {
	for _, c := range compressions {
		for _, size := range []uint32{4097, 1 << 31, 1<<32 - 1} {
			var err error
			n := allocated(func() { _, err = ExpandedSize(compressed(c, size, []byte("body")), 4096) })
			if !errors.Is(err, ErrTooLarge) || errors.Is(err, ErrMalformed) || n > 1<<16 {
				t.Errorf("%v, %d bytes said: error %v, %d bytes allocated", c, size, err, n)
			}
		}
		if n, err := ExpandedSize(compressed(c, 4096, nil), 4096); n != 4096 || err != nil {
			t.Errorf("%v at the limit: %d, %v", c, n, err)
		}
	}
}

// What would expand to more than 1,024 times its size is not sent, and not taken.
func TestCompressRatio(t *testing.T) {
	const most = 1 << 20
	for _, c := range compressions {
		frame := asFrame(KindTasks, make([]byte, most))
		if got, ok := AppendCompressed(nil, frame, c); ok || len(got) != 0 {
			t.Errorf("%v: %d zeros are sent as %d bytes", c, most, len(got))
		}
		for _, beside := range []int{0, 1} { // at the ratio, and one byte above
			f := compressed(c, maxRatio*100+uint32(beside), make([]byte, 96))
			if _, err := ExpandedSize(f, most); (beside == 0) != (err == nil) || err != nil && !errors.Is(err, ErrMalformed) {
				t.Errorf("%v, %d bytes too many: %v", c, beside, err)
			}
		}
	}
}

func TestExpandTruncations(t *testing.T) {
	payload := bytes.Repeat([]byte("137.72.95.0:foo "), 20)
	for _, c := range compressions {
		wire, _ := AppendCompressed(nil, asFrame(KindTasks, payload), c)
		parse := func(src []byte) error {
			_, err := expand(t, Frame{Kind: KindTasks, Flags: byte(c) << 1, Payload: src}, testLimit)
			return err
		}
		checkTruncations(t, wire[HeaderSize:], never, parse)
		checkMalformed(t, parse, map[string][]byte{c.String() + " with a byte more": append(own(wire[HeaderSize:]), 0)})
		for n := range 4 {
			if err := Expand(nil, Frame{Flags: byte(c) << 1, Payload: make([]byte, n)}); !errors.Is(err, ErrMalformed) {
				t.Errorf("%v: Expand of %d bytes: %v", c, n, err)
			}
		}
	}
}

// A Snappy block is an S2 block, and a zstd frame may come from any encoder.
func TestExpandOtherEncoders(t *testing.T) {
	data := addresses(5000)
	for name, f := range map[string]Frame{
		"snappy":              compressed(CompressS2, uint32(len(data)), snappy.Encode(nil, data)),
		"s2 best":             compressed(CompressS2, uint32(len(data)), s2.EncodeBest(nil, data)),
		"zstd stream":         compressed(CompressZstd, uint32(len(data)), zstdStream(t, data)),
		"zstd, large window":  compressed(CompressZstd, uint32(len(data)), zstdStream(t, data, zstd.WithWindowSize(zstdWindow))),
		"zstd, no checksum":   compressed(CompressZstd, uint32(len(data)), zstdStream(t, data, zstd.WithEncoderCRC(false))),
		"zstd best":           compressed(CompressZstd, uint32(len(data)), zstdStream(t, data, zstd.WithEncoderLevel(zstd.SpeedBestCompression))),
		"zstd single segment": compressed(CompressZstd, uint32(len(data)), zstdStream(t, data, zstd.WithSingleSegment(true))),
	} {
		if got, err := expand(t, f, testLimit); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %d bytes of %d, error %v", name, len(got), len(data), err)
		}
	}
}

// What expands to another size than said is malformed, whichever of the two is larger.
func TestExpandWrongSize(t *testing.T) {
	data := addresses(20000)
	size := uint32(len(data))
	bodies := map[string][]byte{
		"s2": s2.Encode(nil, data), "zstd": encodeZstd(data), "zstd stream": zstdStream(t, data),
		"zstd single segment": zstdStream(t, data, zstd.WithSingleSegment(true)),
	}
	for name, body := range bodies {
		c := CompressZstd
		if name == "s2" {
			c = CompressS2
		}
		if _, err := expand(t, compressed(c, size, body), testLimit); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, said := range []uint32{0, 1, size / 2, size - 1, size + 1, 2 * size} {
			if _, err := expand(t, compressed(c, said, body), testLimit); !errors.Is(err, ErrMalformed) {
				t.Errorf("%s, %d bytes, said %d: got %v, want ErrMalformed", name, size, said, err)
			}
		}
	}
}

// Bombs: a few kilobytes that would be hundreds of megabytes cost no more than the size they say, and what the decoder
// may grow by before it notices.
func TestExpandBombs(t *testing.T) {
	const said, real = 1 << 20, 256 << 20
	expand(t, compressed(CompressZstd, 0, encodeZstd([]byte("warm"))), testLimit)
	hugeBlock := binary.AppendUvarint(nil, 1<<32-1)
	for name, f := range map[string]Frame{
		"zstd runs":           compressed(CompressZstd, said, zstdZeros(real, window128K)),
		"zstd runs, 1 GiB":    compressed(CompressZstd, said, zstdZeros(1<<30, window8M)),
		"zstd blocks":         compressed(CompressZstd, said, zstdStream(t, make([]byte, 32<<20))),
		"zstd content size":   compressed(CompressZstd, said, encodeZstd(make([]byte, 32<<20))),
		"zstd one byte above": compressed(CompressZstd, said, zstdZeros(said+1, window128K)),
		"s2":                  compressed(CompressS2, said, s2.Encode(nil, make([]byte, 32<<20))),
		"s2 block size":       compressed(CompressS2, said, append(hugeBlock, 0, 1, 2)),
		"s2 longest varint":   compressed(CompressS2, said, bytes.Repeat([]byte{0xFF}, 20)),
	} {
		dst := make([]byte, said)
		var err error
		n := allocated(func() { err = Expand(dst, f) })
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", name, err)
		}
		if n > said+said/2+512<<10 {
			t.Errorf("%s: %d bytes allocated beside a buffer of %d", name, n, said)
		}
		if _, err := expand(t, f, said-1); !errors.Is(err, ErrTooLarge) {
			t.Errorf("%s, limit below: got %v, want ErrTooLarge", name, err)
		}
	}
}

// The window that a zstd frame names costs nothing: the buffer is the window. One that the decoder would not take is
// malformed.
func TestExpandZstdWindow(t *testing.T) {
	const size = 1000
	expand(t, compressed(CompressZstd, 0, encodeZstd([]byte("warm"))), testLimit)
	for _, exponent := range []byte{0, window128K, window8M, window8M + 1, 31} {
		f := compressed(CompressZstd, size, zstdZeros(size, exponent))
		dst := bytes.Repeat([]byte{1}, size)
		var err error
		n := allocated(func() { err = Expand(dst, f) })
		if n > 1<<20 {
			t.Errorf("window of 1 KiB << %d: %d bytes allocated", exponent, n)
		}
		if exponent > window8M {
			if !errors.Is(err, ErrMalformed) {
				t.Errorf("window of 1 KiB << %d: got %v, want ErrMalformed", exponent, err)
			}
		} else if err != nil || !bytes.Equal(dst, make([]byte, size)) {
			t.Errorf("window of 1 KiB << %d: %v", exponent, err)
		}
	}
}

// Exactly one zstd frame, although the decoder would take more or none.
func TestExpandOneZstdFrame(t *testing.T) {
	one, two := encodeZstd(bytes.Repeat([]byte("one"), 50)), zstdStream(t, bytes.Repeat([]byte("two"), 50))
	skippable := []byte{0x50, 0x2A, 0x4D, 0x18, 3, 0, 0, 0, 'a', 'b', 'c'}
	for _, whole := range [][]byte{one, two} {
		if _, err := expand(t, compressed(CompressZstd, 150, whole), testLimit); err != nil {
			t.Errorf("one frame: %v", err)
		}
	}
	for name, f := range map[string]Frame{
		"two frames":             compressed(CompressZstd, 300, slices.Concat(one, two)),
		"the other way":          compressed(CompressZstd, 300, slices.Concat(two, one)),
		"second beyond the size": compressed(CompressZstd, 150, slices.Concat(one, two)),
		"many empty ones":        compressed(CompressZstd, 150, append(own(one), bytes.Repeat(zstdStream(t, nil), 50)...)),
		"none":                   compressed(CompressZstd, 0, nil),
		"skippable alone":        compressed(CompressZstd, 0, skippable),
		"skippable before":       compressed(CompressZstd, 150, slices.Concat(skippable, one)),
		"skippable behind":       compressed(CompressZstd, 150, slices.Concat(one, skippable)),
		"start of a second":      compressed(CompressZstd, 150, append(own(one), 0x28)),
		"no block":               compressed(CompressZstd, 0, []byte{0x28, 0xB5, 0x2F, 0xFD, 0, 0}),
		"reserved block":         compressed(CompressZstd, 0, []byte{0x28, 0xB5, 0x2F, 0xFD, 0, 0, 7, 0, 0}),
		"dictionary":             compressed(CompressZstd, 1, []byte{0x28, 0xB5, 0x2F, 0xFD, 1, 0, 7, 9, 0, 0, 'x'}),
		"checksum wrong":         compressed(CompressZstd, 150, append(own(two[:len(two)-1]), two[len(two)-1]^1)),
	} {
		if _, err := expand(t, f, testLimit); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", name, err)
		}
	}
}

// Compression is safe for concurrent use.
func TestCompressConcurrent(t *testing.T) {
	done := make(chan error)
	for i := range 4 {
		go func() {
			payload := bytes.Repeat(fmt.Appendf(nil, "worker %d ", i), 500)
			for _, c := range compressions {
				wire, ok := AppendCompressed(nil, asFrame(KindChunks, payload), c)
				f, _, err := ParseFrame(wire, testLimit)
				dst := make([]byte, len(payload))
				if err == nil {
					err = Expand(dst, f)
				}
				if !ok || err == nil && !bytes.Equal(dst, payload) {
					err = fmt.Errorf("%v: worker %d got other bytes back", c, i)
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
