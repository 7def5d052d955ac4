package main

import (
	"encoding/binary"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"shoal/bench/internal/latency"
)

// chunkSize is that of a stream's messages. The first eight bytes are a running number, the rest does not matter.
const chunkSize = 1 << 10

var errWrongChunk = errors.New("a chunk is not the next")

// putIdent makes a chunk the one with that number.
func putIdent(chunk []byte, ident uint64) { binary.LittleEndian.PutUint64(chunk, ident) }

// feeds drives a peer that sends streams: a goroutine reads each, as fast as it comes.
type feeds struct {
	streams int
	// read opens stream i, hands its chunks to take until that wants no more, and ends it.
	read func(i int, take func(chunk []byte) (more bool)) error
}

func (f *feeds) run(d time.Duration) (work, error) {
	var stop atomic.Bool
	late := time.AfterFunc(d, func() { stop.Store(true) })
	defer late.Stop()
	readers, errs := make([]chunkReader, f.streams), make([]error, f.streams)
	var running sync.WaitGroup
	for i := range readers {
		readers[i].stop = &stop
		running.Go(func() {
			errs[i] = f.read(i, readers[i].take)
			if errs[i] == nil && !stop.Load() {
				errs[i] = errWrongChunk
			}
		})
	}
	running.Wait()
	w := work{latencies: &latency.Histogram{}}
	for i := range readers {
		w.tasks += readers[i].n
	}
	return w, errors.Join(errs...)
}

// chunkReader counts the chunks of one stream and checks each one's size and number.
type chunkReader struct {
	stop *atomic.Bool
	n    int
	next uint64
}

func (r *chunkReader) take(chunk []byte) bool {
	if len(chunk) != chunkSize {
		return false
	}
	ident := binary.LittleEndian.Uint64(chunk)
	if r.n > 0 && ident != r.next {
		return false
	}
	r.next = ident + 1
	r.n++
	return !r.stop.Load()
}
