package proto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"testing"
)

// testLimit is the frame limit of tests to which it does not matter.
const testLimit = 1 << 20

// received is what a receiver makes of a byte stream: its whole frames, and the error that ended it.
type received struct {
	frames [][]byte
	err    error
}

// feed takes more bytes, as a connection would: buf holds what is left of the earlier ones.
func (r *received) feed(buf, more []byte, limit int) []byte {
	buf = append(buf, more...)
	for r.err == nil {
		f, n, err := ParseFrame(buf, limit)
		if n == 0 {
			r.err = err
			break
		}
		r.frames = append(r.frames, AppendFrame(nil, f))
		buf = buf[n:]
	}
	return buf
}

// same reports whether two receivers saw the same.
func (r *received) same(o *received) bool {
	return slices.EqualFunc(r.frames, o.frames, bytes.Equal) &&
		errors.Is(r.err, ErrMalformed) == errors.Is(o.err, ErrMalformed) &&
		errors.Is(r.err, ErrTooLarge) == errors.Is(o.err, ErrTooLarge)
}

// everyKind is a frame of each kind, one after another.
func everyKind() (stream []byte, frames [][]byte) {
	for _, g := range goldens() {
		stream = append(stream, g.frame...)
		frames = append(frames, g.frame)
	}
	return stream, frames
}

func TestFrameRoundTrip(t *testing.T) {
	for _, f := range []Frame{
		{Kind: KindPing},
		{Kind: KindPong, Payload: []byte{0}},
		{Kind: KindTasks, Payload: bytes.Repeat([]byte{7}, 1000)},
		{Kind: KindResults, Flags: byte(CompressS2) << 1, Payload: []byte("block")},
		{Kind: KindChunks, Flags: byte(CompressZstd)<<1 | FlagSkippable, Payload: []byte("frame")},
		{Kind: 0x0F, Flags: FlagSkippable},
		{Kind: 0xFF, Flags: FlagSkippable, Payload: []byte("later")},
	} {
		wire := checkAppend(t, func(dst []byte) []byte { return AppendFrame(dst, f) })
		got, n, err := ParseFrame(append(wire, "next"...), testLimit)
		if err != nil || n != HeaderSize+len(f.Payload) {
			t.Fatalf("%+v: size %d, error %v", f, n, err)
		}
		if got.Kind != f.Kind || got.Flags != f.Flags || !bytes.Equal(got.Payload, f.Payload) {
			t.Errorf("got %+v, want %+v", got, f)
		}
		if cap(got.Payload) != len(got.Payload) {
			t.Errorf("%+v: the payload has room over the next frame", f)
		}
		if got.Skippable() != (f.Flags&1 == 1) || got.Compression() != Compression(f.Flags>>1) {
			t.Errorf("%+v: skippable %v, compression %v", f, got.Skippable(), got.Compression())
		}
	}
}

func TestBeginEndFrame(t *testing.T) {
	got := checkAppend(t, func(dst []byte) []byte {
		start := len(dst)
		dst = BeginFrame(dst, KindCancel)
		dst = append(dst, 1, 0, 0, 0)
		EndFrame(dst, start)
		return dst
	})
	if want := asFrame(KindCancel, []byte{1, 0, 0, 0}); !bytes.Equal(got, want) {
		t.Errorf("got %x, want %x", got, want)
	}
}

// A frame of which a part is there is short, not malformed, and FrameSize knows the whole from the header on.
func TestFrameTruncations(t *testing.T) {
	_, frames := everyKind()
	for _, wire := range frames {
		for n := range wire {
			part := slices.Clip(wire[:n])
			if f, size, err := ParseFrame(part, testLimit); size != 0 || err != nil || f.Payload != nil {
				t.Errorf("first %d of %x: %+v, size %d, error %v", n, wire, f, size, err)
			}
			want := len(wire)
			if n < HeaderSize {
				want = 0
			}
			if size, err := FrameSize(part, testLimit); size != want || err != nil {
				t.Errorf("first %d of %x: size %d, error %v, want %d", n, wire, size, err, want)
			}
		}
	}
}

func TestFrameSplits(t *testing.T) {
	stream, frames := everyKind()

	var bytewise received
	var buf []byte
	for _, b := range stream {
		buf = bytewise.feed(buf, []byte{b}, testLimit)
	}
	if bytewise.err != nil || len(buf) != 0 || !slices.EqualFunc(bytewise.frames, frames, bytes.Equal) {
		t.Errorf("byte by byte: %d frames of %d, %d bytes left, error %v", len(bytewise.frames), len(frames), len(buf), bytewise.err)
	}

	for at := range len(stream) + 1 {
		var r received
		buf := r.feed(nil, stream[:at], testLimit)
		buf = r.feed(buf, stream[at:], testLimit)
		if r.err != nil || len(buf) != 0 || !slices.EqualFunc(r.frames, frames, bytes.Equal) {
			t.Fatalf("split at %d: %d frames of %d, %d bytes left, error %v", at, len(r.frames), len(frames), len(buf), r.err)
		}
	}
}

func TestFrameMalformed(t *testing.T) {
	parse := func(src []byte) error {
		_, _, err := ParseFrame(src, testLimit)
		return err
	}
	bad := map[string][]byte{
		"kind 0":                         {0, 0, 0, 0, 0, 0, 0, 0},
		"kind 0, skippable":              {0, 0, 0, 0, 0, 1, 0, 0},
		"first reserved byte":            {0, 0, 0, 0, 5, 0, 1, 0},
		"second reserved byte":           {0, 0, 0, 0, 5, 0, 0, 0x80},
		"reserved compression":           {0, 0, 0, 0, 0x10, 3 << 1, 0, 0},
		"compressed hello":               {0, 0, 0, 0, 1, 1 << 1, 0, 0},
		"compressed drain":               {0, 0, 0, 0, 7, 2 << 1, 0, 0},
		"compressed unknown control":     {0, 0, 0, 0, 0x0F, 1<<1 | 1, 0, 0},
		"malformed before it is whole":   {9, 0, 0, 0, 0, 0, 0, 0},
		"reserved flags, of any payload": {4, 0, 0, 0, 5, 0x80, 0, 0, 1, 2, 3, 4},
	}
	checkMalformed(t, parse, bad)
	checkMalformed(t, parse, map[string][]byte{
		"fields in a ping":            {1, 0, 0, 0, 5, FlagFields, 0, 0},
		"fields in a cancel":          {1, 0, 0, 0, 0x12, FlagFields, 0, 0},
		"fields in chunks":            {1, 0, 0, 0, 0x14, FlagFields, 0, 0},
		"more of a pong":              {1, 0, 0, 0, 6, FlagMore, 0, 0},
		"part without a byte":         {0, 0, 0, 0, 0x10, FlagMore, 0, 0},
		"fields, unknown control":     {1, 0, 0, 0, 0x0F, FlagFields | FlagSkippable, 0, 0},
		"part of an unknown, without": {0, 0, 0, 0, 0x40, FlagMore | FlagSkippable, 0, 0},
	})
	for flag := byte(1 << 5); flag != 0; flag <<= 1 {
		checkMalformed(t, parse, map[string][]byte{"reserved flag": {0, 0, 0, 0, 0x10, flag, 0, 0}})
	}
}

// The limit is checked from the header alone, before the payload is awaited.
func TestFrameLimit(t *testing.T) {
	for _, test := range []struct {
		length uint32
		limit  int
		large  bool
	}{
		{0, 0, false}, {1, 0, true},
		{4096, 4096, false}, {4097, 4096, true},
		{1 << 31, 1 << 20, true}, {1<<32 - 1, 1 << 20, true},
	} {
		header := binary.LittleEndian.AppendUint32(nil, test.length)
		header = append(header, byte(KindTasks), 0, 0, 0)
		for _, parse := range []func([]byte, int) (int, error){
			FrameSize,
			func(src []byte, limit int) (int, error) { _, n, err := ParseFrame(src, limit); return n, err },
		} {
			n, err := parse(header, test.limit)
			if errors.Is(err, ErrTooLarge) != test.large || !test.large && err != nil || test.large && n != 0 {
				t.Errorf("length %d, limit %d: size %d, error %v", test.length, test.limit, n, err)
			}
			if errors.Is(err, ErrMalformed) {
				t.Errorf("%v is also ErrMalformed", err)
			}
			if _, err := parse(header[:HeaderSize-1], test.limit); err != nil {
				t.Errorf("length %d, limit %d: error %v before the header is whole", test.length, test.limit, err)
			}
		}
	}
}

func TestFrameHostileLength(t *testing.T) {
	wire := []byte{0xFF, 0xFF, 0xFF, 0x3F, byte(KindTasks), 0, 0, 0, 1, 2, 3}
	if n := allocated(func() { ParseFrame(wire, 1<<30) }); n > 1<<16 {
		t.Errorf("%d bytes allocated for a frame that has not come", n)
	}
	if n := allocated(func() { ParseFrame(wire, testLimit) }); n > 1<<16 {
		t.Errorf("%d bytes allocated for a frame above the limit", n)
	}
}

func TestFrameAllocs(t *testing.T) {
	wire := asFrame(KindTasks, make([]byte, 100))
	dst := make([]byte, 0, 200)
	var f Frame
	checkAllocs(t, "ParseFrame", func() { f, _, _ = ParseFrame(wire, testLimit) })
	checkAllocs(t, "AppendFrame", func() { AppendFrame(dst, f) })
	checkAllocs(t, "BeginFrame", func() { EndFrame(BeginFrame(dst, KindTasks), 0) })
}

func TestErrorsApart(t *testing.T) {
	if !errors.Is(ErrNotShoal, ErrMalformed) {
		t.Error("ErrNotShoal is not ErrMalformed")
	}
	if errors.Is(ErrTooLarge, ErrMalformed) || errors.Is(ErrMalformed, ErrTooLarge) || errors.Is(ErrMalformed, ErrNotShoal) {
		t.Error("the errors are not apart")
	}
}
