package netio

import "shoal/proto"

// Compression is how frames are compressed.
type Compression = proto.Compression

// The compressions. S2 costs little, zstd shrinks more.
const (
	CompressNone = proto.CompressNone
	CompressS2   = proto.CompressS2
	CompressZstd = proto.CompressZstd
)

// expandable returns the features of a handshake for a side that is configured to compress with c: a side that compresses
// nothing does not expand either.
func expandable(c Compression) uint32 {
	if c == CompressNone {
		return 0
	}
	return proto.FeatureS2 | proto.FeatureZstd
}

// agreed returns c if it is among the features that both sides have, else none.
func agreed(c Compression, features uint32) Compression {
	if c.Feature()&features == 0 {
		return CompressNone
	}
	return c
}
