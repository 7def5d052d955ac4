package proto

import (
	"bytes"
	"fmt"
	"testing"
)

// A burst of the benchmarks: so many entries to a frame, each with a body of a few dozen bytes.
const benchEntries = 128

var benchBody = []byte("137.72.95.0:show interfaces brief")

func benchTasks() []byte {
	dst := AppendTasksHeader(BeginFrame(nil, KindTasks), 60000, "table")
	for id := range uint32(benchEntries) {
		dst = AppendTask(dst, id, benchBody)
	}
	EndFrame(dst, 0)
	return dst
}

// run measures f, which handles a whole frame.
func run(b *testing.B, frame []byte, f func()) {
	b.Helper()
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		f()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/benchEntries, "ns/entry")
}

func BenchmarkTasks(b *testing.B) {
	frame := benchTasks()
	b.Run("append", func(b *testing.B) {
		dst := make([]byte, 0, len(frame))
		run(b, frame, func() {
			dst = AppendTasksHeader(BeginFrame(dst[:0], KindTasks), 60000, "table")
			for id := range uint32(benchEntries) {
				dst = AppendTask(dst, id, benchBody)
			}
			EndFrame(dst, 0)
		})
	})
	b.Run("parse", func(b *testing.B) {
		run(b, frame, func() {
			f, _, err := ParseFrame(frame, testLimit)
			_, _, rest, headerErr := ParseTasksHeader(f.Payload)
			if err != nil || headerErr != nil {
				b.Fatal(err, headerErr)
			}
			for len(rest) > 0 {
				if _, _, rest, err = NextTask(rest); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

func BenchmarkResults(b *testing.B) {
	var frame []byte
	appendAll := func() {
		frame = BeginFrame(frame[:0], KindResults)
		for id := range uint32(benchEntries) {
			frame = AppendResult(frame, id, StatusOK, benchBody)
		}
		EndFrame(frame, 0)
	}
	appendAll()
	b.Run("append", func(b *testing.B) { run(b, frame, appendAll) })
	b.Run("parse", func(b *testing.B) {
		run(b, frame, func() {
			f, _, err := ParseFrame(frame, testLimit)
			for rest := f.Payload; len(rest) > 0 && err == nil; {
				_, rest, err = NextResult(rest)
			}
			if err != nil {
				b.Fatal(err)
			}
		})
	})
}

func BenchmarkChunks(b *testing.B) {
	var frame []byte
	appendAll := func() {
		frame = BeginFrame(frame[:0], KindChunks)
		for ident := range int64(benchEntries) {
			frame = AppendChunk(frame, Chunk{Stream: 1, Ident: ident, Body: benchBody})
		}
		EndFrame(frame, 0)
	}
	appendAll()
	b.Run("append", func(b *testing.B) { run(b, frame, appendAll) })
	b.Run("parse", func(b *testing.B) {
		run(b, frame, func() {
			f, _, err := ParseFrame(frame, testLimit)
			for rest := f.Payload; len(rest) > 0 && err == nil; {
				_, rest, err = NextChunk(rest)
			}
			if err != nil {
				b.Fatal(err)
			}
		})
	})
}

func BenchmarkCompress(b *testing.B) {
	var text bytes.Buffer
	for i := range 2000 {
		fmt.Fprintf(&text, "%d 137.72.%d.%d:foo level=info took=%dms\n", i, i/250, i%250, i*7%1000)
	}
	for _, c := range compressions {
		for _, payload := range [][]byte{benchTasks()[HeaderSize:], text.Bytes()} {
			frame := asFrame(KindTasks, payload)
			wire, ok := AppendCompressed(nil, frame, c)
			if !ok {
				b.Fatalf("%v: %d bytes do not shrink", c, len(payload))
			}
			b.Run(fmt.Sprintf("append/%v/%d", c, len(payload)), func(b *testing.B) {
				dst := make([]byte, 0, 2*len(frame))
				b.ReportAllocs()
				b.SetBytes(int64(len(payload)))
				for b.Loop() {
					AppendCompressed(dst, frame, c)
				}
				b.ReportMetric(float64(len(wire))/float64(len(frame)), "ratio")
			})
			b.Run(fmt.Sprintf("expand/%v/%d", c, len(payload)), func(b *testing.B) {
				f, _, err := ParseFrame(wire, testLimit)
				dst := make([]byte, len(payload))
				b.ReportAllocs()
				b.SetBytes(int64(len(payload)))
				for b.Loop() {
					if err == nil {
						err = Expand(dst, f)
					}
				}
				if err != nil {
					b.Fatal(err)
				}
			})
		}
	}
}
