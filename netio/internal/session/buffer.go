package session

import "sync"

// Buffers come in some sizes, so that an idle lane which keeps one small frame keeps no more than that, and a busy one
// writes 64 KiB at a time. Above that there is one for each doubling, with room for a frame's header beside a body of a
// round size, up to the default frame limit; larger ones are made to measure and left to the garbage collector.
const (
	tinyBuffer   = 128
	smallBuffer  = 512
	mediumBuffer = 4 << 10
	LargeBuffer  = 64 << 10
	beside       = 1 << 10
)

var bufferSizes = [...]int{tinyBuffer, smallBuffer, mediumBuffer, LargeBuffer, 64<<10 + beside, 128<<10 + beside, 256<<10 + beside,
	512<<10 + beside, 1<<20 + beside, 2<<20 + beside, 4<<20 + beside}

// Buffer is a piece of memory with one owner at a time, who hands it on or frees it.
type Buffer struct{ B []byte }

var bufferPools [len(bufferSizes)]sync.Pool

// NewBuffer returns an empty Buffer with room for at least size bytes.
func NewBuffer(size int) *Buffer {
	for i, most := range bufferSizes {
		if size <= most {
			if b, ok := bufferPools[i].Get().(*Buffer); ok {
				return b
			}
			return &Buffer{make([]byte, 0, most)}
		}
	}
	return &Buffer{make([]byte, 0, size)}
}

// Room returns how many bytes still fit.
func (b *Buffer) Room() int { return cap(b.B) - len(b.B) }

// Free gives the buffer back; the caller no longer touches it.
func (b *Buffer) Free() {
	for i, size := range bufferSizes {
		if cap(b.B) == size {
			b.B = b.B[:0]
			bufferPools[i].Put(b)
			return
		}
	}
}
