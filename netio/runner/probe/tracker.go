package probe

import (
	"errors"
	"fmt"
	"math/bits"
)

// spread is how far apart the lowest position without an answer and the highest with one may be. It bounds what a scan
// that goes on elsewhere has to be told: 8 KiB of bits.
const spread = 1 << 16

// tracker knows which positions of a scan have their answer: all below low, and of the spread positions from there on
// those with a bit set. Gateway and client each have one; the client's alone decides what is probed again.
type tracker struct {
	total uint64
	low   uint64
	ring  []uint64 // bit p%spread belongs to position p of [low, low+spread)
	count uint64   // positions with an answer
}

func newTracker(total, low uint64) *tracker {
	return &tracker{total: total, low: low, count: low, ring: make([]uint64, spread/64)}
}

// Errors of check; both say that the peer sent what it may not.
var (
	errTwice  = errors.New("position has its answer already")
	errBeyond = errors.New("position out of range")
)

// check says why a position cannot be marked.
func (t *tracker) check(position uint64) error {
	switch {
	case position >= t.total || position >= t.low && position-t.low >= spread:
		return fmt.Errorf("%w: %d of %d, %d is without an answer", errBeyond, position, t.total, t.low)
	case t.has(position):
		return fmt.Errorf("%w: %d", errTwice, position)
	}
	return nil
}

// mark notes that a position has its answer, which check permits.
func (t *tracker) mark(position uint64) {
	t.count++
	t.ring[position%spread/64] |= 1 << (position % 64)
	for t.ring[t.low%spread/64]&(1<<(t.low%64)) != 0 {
		t.ring[t.low%spread/64] &^= 1 << (t.low % 64)
		t.low++
	}
}

// has reports whether a position below low+spread has its answer.
func (t *tracker) has(position uint64) bool {
	return position < t.low || t.ring[position%spread/64]&(1<<(position%64)) != 0
}

func (t *tracker) complete() bool { return t.low == t.total }

// beyond returns the answered positions above low as bits, the lowest bit of the first byte for low itself, without zero
// bytes at the end. restore is the inverse.
func (t *tracker) beyond() []byte {
	var b []byte
	for i := uint64(0); i < spread && t.low+i < t.total; {
		position := t.low + i
		word := t.ring[position%spread/64] >> (position % 64)
		for word != 0 {
			at := i + uint64(bits.TrailingZeros64(word))
			if at >= spread {
				return b // the word is the first one again
			}
			for uint64(len(b)) <= at/8 {
				b = append(b, 0)
			}
			b[at/8] |= 1 << (at % 8)
			word &= word - 1
		}
		i += 64 - position%64
	}
	return b
}

// restore marks what beyond returned.
func (t *tracker) restore(b []byte) error {
	if len(b) > spread/8 {
		return fmt.Errorf("%w: %d bytes of answered positions", errBeyond, len(b))
	}
	low := t.low
	for i, v := range b {
		for ; v != 0; v &= v - 1 {
			position := low + uint64(i)*8 + uint64(bits.TrailingZeros8(v))
			if err := t.check(position); err != nil {
				return err
			}
			t.mark(position)
		}
	}
	return nil
}
