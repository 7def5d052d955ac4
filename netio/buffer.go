package netio

import "sync"

// Buffers come in four sizes, so that an idle lane which keeps one small frame keeps no more than that, and a busy
// one writes 64 KiB at a time. Larger ones are made to measure and left to the garbage collector.
const (
	tinyBuffer   = 128
	smallBuffer  = 512
	mediumBuffer = 4 << 10
	largeBuffer  = 64 << 10
)

// buffer is a piece of memory with one owner at a time, who hands it on or frees it.
type buffer struct{ b []byte }

var bufferPools = [...]struct {
	size int
	pool sync.Pool
}{
	{tinyBuffer, sync.Pool{New: func() any { return &buffer{make([]byte, 0, tinyBuffer)} }}},
	{smallBuffer, sync.Pool{New: func() any { return &buffer{make([]byte, 0, smallBuffer)} }}},
	{mediumBuffer, sync.Pool{New: func() any { return &buffer{make([]byte, 0, mediumBuffer)} }}},
	{largeBuffer, sync.Pool{New: func() any { return &buffer{make([]byte, 0, largeBuffer)} }}},
}

// newBuffer returns an empty buffer with room for at least size bytes.
func newBuffer(size int) *buffer {
	for i := range bufferPools {
		if size <= bufferPools[i].size {
			return bufferPools[i].pool.Get().(*buffer)
		}
	}
	return &buffer{make([]byte, 0, size)}
}

// room returns how many bytes still fit.
func (b *buffer) room() int { return cap(b.b) - len(b.b) }

// free gives the buffer back; the caller no longer touches it.
func (b *buffer) free() {
	for i := range bufferPools {
		if cap(b.b) == bufferPools[i].size {
			b.b = b.b[:0]
			bufferPools[i].pool.Put(b)
			return
		}
	}
}
