package proto

import (
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
)

// Compression is how a payload is compressed.
type Compression uint8

// The compressions, by their number in a frame's flags.
const (
	CompressNone Compression = 0
	CompressS2   Compression = 1
	CompressZstd Compression = 2
)

// Feature returns the bit that a side sets in its handshake when it can expand this compression.
func (c Compression) Feature() uint32 {
	switch c {
	case CompressS2:
		return FeatureS2
	case CompressZstd:
		return FeatureZstd
	}
	return 0
}

func (c Compression) String() string {
	switch c {
	case CompressNone:
		return "none"
	case CompressS2:
		return "s2"
	case CompressZstd:
		return "zstd"
	}
	return fmt.Sprintf("compression %d", uint8(c))
}

// maxRatio is how many bytes a frame may expand to for each byte of its compressed payload.
const maxRatio = 1024

// zstdWindow is the largest window of a zstd frame that is taken.
const zstdWindow = 8 << 20

// Both are safe for concurrent use in their EncodeAll and DecodeAll forms, and made when first needed.
var (
	zstdEncoder = sync.OnceValue(func() *zstd.Encoder {
		e, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderCRC(false))
		if err != nil {
			panic(err) // the options are constants
		}
		return e
	})
	zstdDecoder = sync.OnceValue(func() *zstd.Decoder {
		// The cap limit makes the caller's buffer the bound of what a frame can expand to.
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecodeAllCapLimit(true),
			zstd.WithDecoderMaxWindow(zstdWindow))
		if err != nil {
			panic(err)
		}
		return d
	})
)

// AppendCompressed appends the whole frame (header and payload, not compressed) in compressed form, and reports true;
// or, when that would not be smaller or the receiver would refuse the ratio, appends nothing and reports false.
func AppendCompressed(dst, frame []byte, c Compression) ([]byte, bool) {
	start, payload := len(dst), frame[HeaderSize:]
	dst = append(dst, frame[:HeaderSize]...)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	body := len(dst)
	switch c {
	case CompressS2:
		dst = slices.Grow(dst, s2.MaxEncodedLen(len(payload)))
		dst = dst[:body+len(s2.Encode(dst[body:cap(dst)], payload))]
	case CompressZstd:
		dst = zstdEncoder().EncodeAll(payload, dst)
	default:
		return dst[:start], false
	}
	if size := len(dst) - start - HeaderSize; size >= len(payload) || len(payload) > maxRatio*size {
		return dst[:start], false
	}
	dst[start+5] |= byte(c) << 1
	EndFrame(dst, start)
	return dst, true
}

// ExpandedSize returns the size of the payload once expanded; it is at most limit. A payload that says more than the ratio
// allows is malformed.
func ExpandedSize(f Frame, limit int) (int, error) {
	if f.Compression() == CompressNone {
		return len(f.Payload), nil
	}
	if len(f.Payload) < 4 {
		return 0, malformed("compressed payload of %d bytes", len(f.Payload))
	}
	size := binary.LittleEndian.Uint32(f.Payload)
	if uint64(size) > uint64(limit) {
		return 0, fmt.Errorf("%w: would expand to %d bytes, limit %d", ErrTooLarge, size, limit)
	}
	if uint64(size) > maxRatio*uint64(len(f.Payload)) {
		return 0, malformed("%d bytes would expand to %d, more than %d times as many", len(f.Payload), size, maxRatio)
	}
	return int(size), nil
}

// Expand writes the expanded payload of a compressed frame to dst, whose length is what ExpandedSize returned; on an
// error what dst holds is undefined. A zstd frame that holds more than it said may cost, until it is refused, one
// buffer of about the size of dst.
func Expand(dst []byte, f Frame) error {
	if len(f.Payload) < 4 {
		return malformed("compressed payload of %d bytes", len(f.Payload))
	}
	src := f.Payload[4:]
	switch f.Compression() {
	case CompressS2:
		if n, err := s2.DecodedLen(src); err != nil || n != len(dst) {
			return malformed("s2 block of another size than said")
		}
		if _, err := s2.Decode(dst, src); err != nil {
			return malformed("s2: %v", err)
		}
	case CompressZstd:
		if err := checkOneZstdFrame(src); err != nil {
			return err
		}
		out, err := zstdDecoder().DecodeAll(src, dst[:0:len(dst)])
		if err != nil {
			return malformed("zstd: %v", err)
		}
		if len(out) != len(dst) {
			return malformed("zstd frame of another size than said")
		}
	default:
		return malformed("expand of a frame that is not compressed")
	}
	return nil
}

// checkOneZstdFrame walks the blocks of a zstd frame, and refuses what is not exactly one: the decoder would also take
// none, several, or skippable ones, which decoders elsewhere do not.
func checkOneZstdFrame(src []byte) error {
	var h zstd.Header
	if err := h.Decode(src); err != nil || h.Skippable {
		return malformed("not a zstd frame")
	}
	const rle = 1
	rest := src[h.HeaderSize:]
	for last := false; !last; {
		if len(rest) < 3 {
			return malformed("zstd block header of %d bytes", len(rest))
		}
		header := uint32(rest[0]) | uint32(rest[1])<<8 | uint32(rest[2])<<16
		size := int(header >> 3)
		if header>>1&3 == rle {
			size = 1
		}
		if len(rest)-3 < size {
			return malformed("zstd block of %d bytes, %d left", size, len(rest)-3)
		}
		last, rest = header&1 != 0, rest[3+size:]
	}
	checksum := 0
	if h.HasCheckSum {
		checksum = 4
	}
	if len(rest) != checksum {
		return malformed("%d bytes after the last zstd block", len(rest))
	}
	return nil
}
