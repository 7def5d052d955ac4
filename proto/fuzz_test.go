package proto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// fuzzLimit is the frame limit of the fuzz targets, small enough to be met.
const fuzzLimit = 1 << 16

// addPayloads seeds a target with the golden payloads of a kind, whole and damaged.
func addPayloads(f *testing.F, kind Kind, add func(payload []byte)) {
	add(nil)
	for _, g := range append(goldens(), fieldGoldens()...) {
		if payload := g.frame[HeaderSize:]; g.kind == kind {
			add(payload)
			add(payload[:len(payload)-1])
			add(append(own(payload), 0))
			add(bytes.Repeat([]byte{0xFF}, len(payload)))
		}
	}
}

// checkInverse parses a payload. One that is accepted must give the same bytes when it is appended again; all others
// must be malformed.
func checkInverse[V any](t *testing.T, payload []byte, parse func([]byte) (V, error), appendTo func([]byte, V) []byte) {
	t.Helper()
	v, err := parse(payload)
	if err != nil {
		if !errors.Is(err, ErrMalformed) {
			t.Fatalf("error %v is not ErrMalformed", err)
		}
		return
	}
	if got := appendTo(nil, v); !bytes.Equal(got, payload) {
		t.Fatalf("parsed %+v from\n%x, appended\n%x", v, payload, got)
	}
}

// checkBack appends a value, and must parse it again.
func checkBack[V any](t *testing.T, v V, parse func([]byte) (V, error), appendTo func([]byte, V) []byte) {
	t.Helper()
	if got, err := parse(appendTo(nil, v)); err != nil || !reflect.DeepEqual(got, v) {
		t.Fatalf("appended %+v, parsed %+v, error %v", v, got, err)
	}
}

func FuzzFrame(f *testing.F) {
	stream, frames := everyKind()
	for _, frame := range append(frames, stream, nil, []byte("GET / HTTP/1.1\r\n\r\n")) {
		f.Add(frame, uint32(4096))
	}
	f.Add([]byte{0xFF, 0xFF, 0xFF, 0xFF, 0x10, 0, 0, 0}, uint32(1<<32-1))
	f.Fuzz(func(t *testing.T, src []byte, limit uint32) {
		limit &= 1<<30 - 1
		size, sizeErr := FrameSize(src, int(limit))
		frame, n, err := ParseFrame(src, int(limit))
		if (err == nil) != (sizeErr == nil) {
			t.Fatalf("ParseFrame: %v, FrameSize: %v", err, sizeErr)
		}
		switch {
		case err != nil:
			if errors.Is(err, ErrMalformed) == errors.Is(err, ErrTooLarge) || n != 0 || len(src) < HeaderSize {
				t.Fatalf("size %d, error %v of %d bytes", n, err, len(src))
			}
		case n == 0:
			if len(src) >= HeaderSize && len(src) >= size || frame.Payload != nil {
				t.Fatalf("%d bytes are short, though %d are enough", len(src), size)
			}
		default:
			if n != size || n > len(src) || len(frame.Payload) > int(limit) || cap(frame.Payload) != len(frame.Payload) {
				t.Fatalf("frame of %d bytes, FrameSize %d, payload %d, limit %d", n, size, len(frame.Payload), limit)
			}
			if got := AppendFrame(nil, frame); !bytes.Equal(got, src[:n]) {
				t.Fatalf("parsed\n%x, appended\n%x", src[:n], got)
			}
		}
		if len(src) < 2 {
			return
		}
		made := Frame{Kind: Kind(src[0]), Flags: src[1], Payload: src[2:]}
		back, n, err := ParseFrame(AppendFrame(nil, made), len(made.Payload))
		if errors.Is(err, ErrTooLarge) || err == nil && (n != HeaderSize+len(made.Payload) || !reflect.DeepEqual(back, made)) {
			t.Fatalf("made %+v, parsed %+v, size %d, error %v", made, back, n, err)
		}
	})
}

func FuzzSplit(f *testing.F) {
	stream, frames := everyKind()
	f.Add(stream, []byte{1})
	f.Add(stream, []byte{8, 1, 255})
	f.Add(append(own(frames[0]), 0, 0, 0, 0, 0, 0, 0, 0, 1), []byte{0, 7})
	f.Add(append(own(frames[3]), 0xFF, 0xFF, 0xFF, 0xFF, 0x10, 0, 0, 0), []byte{3})
	f.Fuzz(func(t *testing.T, stream, cuts []byte) {
		var whole, pieces received
		rest := whole.feed(nil, stream, fuzzLimit)
		var buf []byte
		for left := stream; len(left) > 0; {
			n := 1
			if len(cuts) > 0 {
				n, cuts = int(cuts[0])+1, cuts[1:]
			}
			n = min(n, len(left))
			buf = pieces.feed(buf, left[:n], fuzzLimit)
			left = left[n:]
		}
		if !whole.same(&pieces) || !bytes.Equal(buf, rest) {
			t.Fatalf("at once %d frames, %d bytes left, error %v; in pieces %d frames, %d bytes left, error %v",
				len(whole.frames), len(rest), whole.err, len(pieces.frames), len(buf), pieces.err)
		}
		again := bytes.Join(append(whole.frames, rest), nil)
		if !bytes.Equal(again, stream) {
			t.Fatalf("the frames and the rest are\n%x, the stream\n%x", again, stream)
		}
	})
}

// checkHandshake is checkInverse for a handshake, of whose flags (the two bytes at an offset) unknown ones are dropped.
func checkHandshake[V any](t *testing.T, payload []byte, flags int, known byte, parse func([]byte) (V, error), appendTo func([]byte, V) []byte) {
	t.Helper()
	if len(payload) >= flags+2 {
		payload = edited(payload, flags, payload[flags]&known, 0)
	}
	if len(payload) > HandshakeLimit {
		if _, err := parse(payload); err == nil {
			t.Fatalf("handshake of %d bytes accepted", len(payload))
		}
	}
	checkInverse(t, payload, parse, func(dst []byte, v V) []byte { return appendTo(dst, v)[HeaderSize:] })
}

func FuzzHello(f *testing.F) {
	addPayloads(f, KindHello, func(payload []byte) { f.Add(payload) })
	f.Fuzz(func(t *testing.T, payload []byte) {
		h, err := ParseHello(payload)
		if err == nil && (h.MinVersion > Version || h.MaxVersion < Version) {
			return // of another version only the versions are read
		}
		if err == nil && (h.FrameLimit < MinFrameLimit || h.MinVersion > h.MaxVersion) {
			t.Fatalf("accepted %+v", h)
		}
		checkHandshake(t, payload, 38, helloResume, ParseHello, AppendHello)
	})
}

func FuzzWelcome(f *testing.F) {
	addPayloads(f, KindWelcome, func(payload []byte) { f.Add(payload) })
	f.Fuzz(func(t *testing.T, payload []byte) {
		switch w, err := ParseWelcome(payload); {
		case err == nil && w.Version != Version:
			return // of another version only the version is read
		case err == nil && (w.FrameLimit < MinFrameLimit || w.IdleTimeout == 0 || w.Received != 0 && !w.Resumed):
			t.Fatalf("accepted %+v", w)
		}
		checkHandshake(t, payload, 6, welcomeResumed|welcomeDraining, ParseWelcome, AppendWelcome)
	})
}

// FuzzFields holds fields against frames of all kinds, with and without a frame of parts around them.
func FuzzFields(f *testing.F) {
	for _, g := range fieldGoldens() {
		f.Add(g.frame[HeaderSize:], uint8(g.kind), uint8(7), "key", "value", uint32(250))
	}
	f.Fuzz(func(t *testing.T, payload []byte, kind, size uint8, key, value string, ms uint32) {
		k := Kind(kind)
		fields, rest, unknown, err := CutFields(Frame{Kind: k, Flags: FlagFields, Payload: payload})
		if err != nil {
			if !errors.Is(err, ErrMalformed) {
				t.Fatalf("error %v is not ErrMalformed", err)
			}
		} else {
			var all []Extension
			for x, last := fields, -1; len(x) > 0; {
				e, after, err := nextExtension(x, &last)
				if err != nil {
					t.Fatalf("fields %x were accepted: %v", fields, err)
				}
				if got := fields.Get(e.Type); !bytes.Equal(got, e.Value) {
					t.Fatalf("field %d is %x, want %x", e.Type, got, e.Value)
				}
				if unknown != 0 && unknown == e.Type && (!e.Critical() || k.knowsField(e.Type)) {
					t.Fatalf("field %#x counts as unknown", e.Type)
				}
				all, x = append(all, e), after
			}
			if got := append(AppendFields(nil, all...), rest...); !bytes.Equal(got, payload) {
				t.Fatalf("cut %x, put together %x", payload, got)
			}
		}
		if key = key[:min(len(key), 255)]; key != "" && len(value) <= 1000 {
			meta := AppendMetadata(AppendMetadata(nil, key, value), key+"\x00", "")
			if len(key) == 255 {
				meta = AppendMetadata(nil, key, value)
			}
			made := AppendFields(nil, RetryAfterField(time.Duration(ms)*time.Millisecond), Extension{FieldMetadata, meta})
			fields, rest, _, err := CutFields(Frame{Kind: KindEnd, Flags: FlagFields, Payload: append(made, payload...)})
			if err != nil || !bytes.Equal(rest, payload) || fields.RetryAfter() != time.Duration(ms)*time.Millisecond {
				t.Fatalf("retry after %v, want %d ms, error %v", fields.RetryAfter(), ms, err)
			}
			var again []byte
			if err := EachMetadata(fields.Get(FieldMetadata), func(k, v []byte) { again = AppendMetadata(again, string(k), string(v)) }); err != nil || !bytes.Equal(again, meta) {
				t.Fatalf("metadata %x came back as %x, error %v", meta, again, err)
			}
		}
		checkParts(t, AppendFrame(nil, Frame{Kind: KindTasks, Payload: payload}), int(size)+1)
	})
}

func FuzzTasks(f *testing.F) {
	addPayloads(f, KindTasks, func(payload []byte) { f.Add(payload, uint64(1), "table", uint32(1), []byte("x")) })
	f.Fuzz(func(t *testing.T, payload []byte, deadline uint64, name string, id uint32, body []byte) {
		checkInverse(t, payload, parseTasks, func(dst []byte, x tasks) []byte { return x.append(dst) })
		checkInverse(t, payload, parseCancel, appendCancel)
		if len(name) == 0 || len(name) > 255 {
			return
		}
		made := tasks{deadline % (MaxClock + 1), name, []task{{id, own(body)}, {id + 1, nil}, {id + 2, own(payload)}}}
		checkBack(t, made, parseTasks, func(dst []byte, x tasks) []byte { return x.append(dst) })
	})
}

func FuzzResults(f *testing.F) {
	addPayloads(f, KindResults, func(payload []byte) { f.Add(payload, uint32(1), uint8(0), []byte("x")) })
	f.Fuzz(func(t *testing.T, payload []byte, id uint32, status uint8, body []byte) {
		checkInverse(t, payload, parseResults, appendResults)
		made := []Result{{id, Status(status), own(body)}, {id + 1, StatusOK, own(payload)}}
		if !Status(status).onWire() {
			if _, err := parseResults(appendResults(nil, made)); !errors.Is(err, ErrMalformed) {
				t.Fatalf("status %d: %v", status, err)
			}
			return
		}
		checkBack(t, made, parseResults, appendResults)
	})
}

func FuzzChunks(f *testing.F) {
	addPayloads(f, KindChunks, func(payload []byte) { f.Add(payload, uint32(1), int64(-1), []byte("x")) })
	addPayloads(f, KindCredit, func(payload []byte) { f.Add(payload, uint32(0), int64(0), []byte(nil)) })
	f.Fuzz(func(t *testing.T, payload []byte, stream uint32, ident int64, body []byte) {
		checkInverse(t, payload, parseChunks, appendChunks)
		checkInverse(t, payload, parseCredit, appendCredits)
		checkBack(t, []Chunk{{stream, ident, own(body)}, {stream + 1, ^ident, own(payload)}}, parseChunks, appendChunks)
		checkBack(t, []credit{{stream, uint32(ident)}, {uint32(ident), stream}}, parseCredit, appendCredits)
	})
}

func FuzzOpenEndAbort(f *testing.F) {
	for _, kind := range []Kind{KindOpen, KindEnd, KindAbort} {
		addPayloads(f, kind, func(payload []byte) { f.Add(payload, uint32(1), uint8(1), []byte("name")) })
	}
	appendAbort := func(dst []byte, a abort) []byte { return AppendAbort(dst, a.Stream, a.Status) }
	f.Fuzz(func(t *testing.T, payload []byte, stream uint32, small uint8, name []byte) {
		checkInverse(t, payload, parseOpen, AppendOpen)
		checkInverse(t, payload, parseEnd, AppendEnd)
		checkInverse(t, payload, parseAbort, appendAbort)
		if shape := Shape(small%3 + 1); len(name) >= 1 && len(name) <= 255 {
			checkBack(t, Open{stream, uint64(stream) << 7, shape, own(name), own(payload)}, parseOpen, AppendOpen)
		}
		if status := Status(small); status.onWire() {
			checkBack(t, End{stream, status, own(payload)}, parseEnd, AppendEnd)
		}
		checkBack(t, abort{stream, StatusTimeout + Status(small&1)}, parseAbort, appendAbort)
	})
}

func FuzzError(f *testing.F) {
	f.Add([]byte(nil), uint16(0), "")
	f.Add(AppendError(nil, Error{Code: 1, Text: "text", Details: []byte("details")}), uint16(1024), "text")
	f.Add([]byte{0, 0, 0xFF, 0xFF, 1}, uint16(65535), "später")
	f.Fuzz(func(t *testing.T, body []byte, code uint16, text string) {
		if len(body) > 0 { // no bytes are an error too, that is appended in its long form
			checkInverse(t, body, ParseError, AppendError)
		}
		long := text + text
		for len(long) > 0 && len(long) <= maxErrorText {
			long += long
		}
		for _, made := range []Error{{code, text, own(body)}, {code, long, own(body)}} {
			got, err := ParseError(AppendError(nil, made))
			cut := len(made.Text) > maxErrorText
			if err != nil || got.Code != code || !bytes.Equal(got.Details, body) || !cut && got.Text != made.Text ||
				cut && (made.Text[:len(got.Text)] != got.Text || utf8.ValidString(made.Text) && !utf8.ValidString(got.Text)) {
				t.Fatalf("appended %+v, parsed %+v, error %v", made, got, err)
			}
		}
	})
}

// looseZstd bounds nothing.
var looseZstd = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil)
	if err != nil {
		panic(err)
	}
	return d
})

// reference expands as the libraries do by themselves.
func reference(c Compression, body []byte) ([]byte, error) {
	if c == CompressS2 {
		return s2.Decode(nil, body)
	}
	return looseZstd().DecodeAll(body, nil)
}

func FuzzExpand(f *testing.F) {
	data := bytes.Repeat([]byte("137.72.95.0:foo "), 40)
	size := uint32(len(data))
	for _, seed := range []struct {
		c    Compression
		size uint32
		body []byte
	}{
		{CompressS2, size, s2.Encode(nil, data)}, {CompressS2, size - 1, s2.Encode(nil, data)},
		{CompressZstd, size, encodeZstd(data)}, {CompressZstd, size + 1, encodeZstd(data)},
		{CompressZstd, size, zstdStream(f, data)}, {CompressZstd, 2 * size, append(encodeZstd(data), encodeZstd(data)...)},
		{CompressZstd, 500, zstdZeros(500, window128K)}, {CompressZstd, 500, zstdZeros(1<<20, window8M)},
		{CompressS2, 1<<32 - 1, bytes.Repeat([]byte{0xFF}, 10)},
	} {
		f.Add(compressed(seed.c, seed.size, seed.body).Payload, uint8(seed.c-CompressS2), uint32(fuzzLimit))
	}
	f.Fuzz(func(t *testing.T, payload []byte, compression uint8, limit uint32) {
		c := compressions[compression%2]
		frame := Frame{Kind: KindTasks, Flags: byte(c) << 1, Payload: payload}
		limit %= fuzzLimit + 1
		var out []byte
		var err error
		used := allocated(func() { out, err = expand(t, frame, int(limit)) })
		// Beside the limit: the guard of expand, what the decoder grows by, and the tables it makes once.
		if used > 4*uint64(limit)+4<<20 {
			t.Fatalf("%d bytes allocated, limit %d", used, limit)
		}
		if err != nil {
			above := len(payload) >= 4 && binary.LittleEndian.Uint32(payload) > limit
			if errors.Is(err, ErrTooLarge) != above || errors.Is(err, ErrMalformed) == above {
				t.Fatalf("limit %d: %v", limit, err)
			}
			return
		}
		if len(out) != int(binary.LittleEndian.Uint32(payload)) {
			t.Fatalf("%d bytes of %x", len(out), payload)
		}
		if want, err := reference(c, payload[4:]); err != nil || !bytes.Equal(out, want) {
			t.Fatalf("expanded to %x, want %x, error %v", out, want, err)
		}
	})
}

func FuzzCompress(f *testing.F) {
	f.Add([]byte("137.72.95.0:foo "), uint8(40), []byte("before"))
	f.Add([]byte{0}, uint8(255), []byte(nil))
	f.Add([]byte("not repeated"), uint8(0), []byte{1})
	f.Fuzz(func(t *testing.T, unit []byte, times uint8, prefix []byte) {
		if len(unit) > 1<<10 {
			return // time goes into many inputs, not into long ones
		}
		payload := bytes.Repeat(unit, int(times)+1)
		frame := asFrame(KindChunks, payload)
		for _, c := range compressions {
			got, ok := AppendCompressed(own(prefix), frame, c)
			if !bytes.HasPrefix(got, prefix) {
				t.Fatalf("%v: the prefix is lost", c)
			}
			got = got[len(prefix):]
			if !ok {
				if len(got) != 0 {
					t.Fatalf("%v: %d bytes of a frame that was not compressed", c, len(got))
				}
				continue
			}
			back, n, err := ParseFrame(got, len(payload))
			if err != nil || n != len(got) || n >= len(frame) || back.Kind != KindChunks || back.Compression() != c {
				t.Fatalf("%v: frame %+v, size %d of %d, error %v", c, back, n, len(got), err)
			}
			if out, err := expand(t, back, len(payload)); err != nil || !bytes.Equal(out, payload) {
				t.Fatalf("%v: %d bytes came back as %d, error %v", c, len(payload), len(out), err)
			}
		}
	})
}
