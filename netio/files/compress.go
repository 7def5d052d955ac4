package files

import (
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Compression says how content is compressed.
type Compression string

// The compressions. Whatever is chosen, content that does not shrink travels as it is.
const (
	CompressAuto Compression = "auto" // S2, but nothing between processes of one machine
	CompressS2   Compression = "s2"
	CompressZstd Compression = "zstd"
	CompressNone Compression = "none"
)

const (
	worthwhile = 8  // a chunk is sent compressed where it loses an eighth
	restAfter  = 15 // chunks that go as they are after one that did not shrink
)

// packer compresses chunks, and tries again only now and then where that did not help: the first chunk of a range
// decides for most of it.
type packer struct {
	mode Compression
	rest int // chunks that are not tried
	buf  []byte
}

func (p *packer) pack(chunk []byte) (ident int64, body []byte) {
	if p.mode != CompressS2 && p.mode != CompressZstd {
		return plainChunk, chunk
	}
	if p.rest > 0 {
		p.rest--
		return plainChunk, chunk
	}
	if p.buf == nil {
		p.buf = make([]byte, s2.MaxEncodedLen(chunkSize))
	}
	ident = s2Chunk
	if p.mode == CompressZstd {
		ident, body = zstdChunk, zstdEncoder().EncodeAll(chunk, p.buf[:0])
	} else {
		body = s2.Encode(p.buf, chunk)
	}
	if len(body) > len(chunk)-len(chunk)/worthwhile {
		p.rest = restAfter
		return plainChunk, chunk
	}
	return ident, body
}

// unpack returns the records of a chunk; they are valid until the next call, or as long as the chunk.
func (p *packer) unpack(ident int64, chunk []byte) ([]byte, error) {
	var err error
	switch ident {
	case plainChunk:
		return chunk, nil
	case s2Chunk:
		size, err := s2.DecodedLen(chunk)
		if err != nil || size > chunkSize {
			return nil, wireError("chunk that expands to %d bytes: %v", size, err)
		}
		p.grow()
		out, err := s2.Decode(p.buf[:chunkSize], chunk)
		if err != nil {
			return nil, wireError("chunk: %v", err)
		}
		return out, nil
	case zstdChunk:
		p.grow()
		out, err := zstdDecoder().DecodeAll(chunk, p.buf[:0])
		if err != nil || len(out) > chunkSize {
			return nil, wireError("chunk that expands to %d bytes: %v", len(out), err)
		}
		return out, nil
	}
	return nil, wireError("chunk with ident %d: %v", ident, err)
}

func (p *packer) grow() {
	if p.buf == nil {
		p.buf = make([]byte, chunkSize)
	}
}

var zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(2), zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithWindowSize(64<<10))
	if err != nil {
		panic(err) // the options are constants
	}
	return e
})

var zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(2), zstd.WithDecoderMaxMemory(chunkSize), zstd.WithDecoderMaxWindow(1<<20))
	if err != nil {
		panic(err) // the options are constants
	}
	return d
})
