package proto

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func testOpen() Open {
	return Open{Stream: 5, Deadline: 60000, Shape: ShapeStream, Name: []byte("sensor"), Argument: []byte("10")}
}

func testChunks() []Chunk {
	return []Chunk{
		{Stream: 5, Ident: 1, Body: []byte("21.5")}, {Stream: 5, Ident: -2}, {Stream: 1<<32 - 1, Ident: -1 << 63, Body: []byte("last")},
	}
}

func TestOpenRoundTrip(t *testing.T) {
	for _, want := range []Open{
		testOpen(),
		{Shape: ShapeSend, Name: []byte("x")},
		{Stream: 1<<32 - 1, Deadline: MaxClock, Shape: ShapeDuplex, Name: []byte(strings.Repeat("n", 255)), Argument: bytes.Repeat([]byte{1}, 5000)},
	} {
		payload := checkAppend(t, func(dst []byte) []byte { return AppendOpen(dst, want) })
		if size := OpenSize(string(want.Name), want.Argument); len(payload) != size {
			t.Errorf("payload of %d bytes, OpenSize says %d", len(payload), size)
		}
		if got, err := parseOpen(payload); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, error %v, want %+v", got, err, want)
		}
	}
}

func TestOpenMalformed(t *testing.T) {
	o := testOpen()
	payload := AppendOpen(nil, o)
	checkTruncations(t, payload, func(n int) bool { return n >= OpenSize(string(o.Name), nil) }, errOf(parseOpen))
	checkMalformed(t, errOf(parseOpen), map[string][]byte{
		"shape 0":     edited(payload, 12, 0),
		"shape 4":     edited(payload, 12, 4),
		"shape 255":   edited(payload, 12, 255),
		"empty name":  edited(payload, 13, 0),
		"name beyond": edited(payload, 13, 9),
	})
}

func TestChunksRoundTrip(t *testing.T) {
	want := testChunks()
	payload := checkAppend(t, func(dst []byte) []byte { return appendChunks(dst, want) })
	if got, err := parseChunks(payload); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, error %v, want %+v", got, err, want)
	}
	checkTruncations(t, payload, boundaries(0, ChunkHeaderSize+4, ChunkHeaderSize), errOf(parseChunks))
	checkMalformed(t, errOf(parseChunks), map[string][]byte{"nothing": nil, "a byte more": append(payload, 0)})
}

func TestCreditRoundTrip(t *testing.T) {
	want := []credit{{0, 0}, {5, 65536}, {1<<32 - 1, 1<<32 - 1}}
	payload := checkAppend(t, func(dst []byte) []byte { return appendCredits(dst, want) })
	if got, err := parseCredit(payload); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, error %v, want %v", got, err, want)
	}
	checkTruncations(t, payload, boundaries(0, 8, 8), errOf(parseCredit))
}

func TestEndRoundTrip(t *testing.T) {
	for s := range Status(len(statusNames)) {
		if s == StatusLost {
			continue
		}
		for _, want := range []End{{Stream: 5, Status: s}, {Stream: 1<<32 - 1, Status: s, Body: []byte("body")}} {
			payload := checkAppend(t, func(dst []byte) []byte { return AppendEnd(dst, want) })
			if got, err := parseEnd(payload); err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, error %v, want %+v", got, err, want)
			}
			checkTruncations(t, payload, func(n int) bool { return n >= endHeaderSize }, errOf(parseEnd))
		}
	}
	checkMalformed(t, errOf(parseEnd), map[string][]byte{
		"lost": AppendEnd(nil, End{Status: StatusLost}), "unknown status": AppendEnd(nil, End{Status: 11}),
	})
}

func TestAbortRoundTrip(t *testing.T) {
	for _, want := range []abort{{5, StatusTimeout}, {1<<32 - 1, StatusCanceled}} {
		payload := checkAppend(t, func(dst []byte) []byte { return AppendAbort(dst, want.Stream, want.Status) })
		if got, err := parseAbort(payload); err != nil || got != want {
			t.Errorf("got %+v, error %v, want %+v", got, err, want)
		}
		checkTruncations(t, payload, never, errOf(parseAbort))
		checkMalformed(t, errOf(parseAbort), map[string][]byte{"too long": append(payload, 0)})
	}
	for s := range 256 {
		if s := Status(s); s != StatusTimeout && s != StatusCanceled {
			checkMalformed(t, errOf(parseAbort), map[string][]byte{s.String(): AppendAbort(nil, 1, s)})
		}
	}
}

func TestStreamAllocs(t *testing.T) {
	dst, o, all := make([]byte, 0, 256), testOpen(), testChunks()
	open, chunk, end := AppendOpen(nil, o), AppendChunk(nil, all[0]), AppendEnd(nil, End{Body: []byte("x")})
	checkAllocs(t, "AppendOpen", func() { AppendOpen(dst, o) })
	checkAllocs(t, "ParseOpen", func() { ParseOpen(open) })
	checkAllocs(t, "AppendChunk", func() { AppendChunk(dst, all[0]) })
	checkAllocs(t, "NextChunk", func() { NextChunk(chunk) })
	checkAllocs(t, "AppendCredit", func() { AppendCredit(dst, 1, 2) })
	checkAllocs(t, "NextCredit", func() { NextCredit(chunk) })
	checkAllocs(t, "AppendEnd", func() { AppendEnd(dst, End{Status: StatusOK}) })
	checkAllocs(t, "ParseEnd", func() { ParseEnd(end) })
}
