package target

import (
	"math"
	"math/bits"
)

// number is what runs count in: an address, or an index of a name. An index has its number of digits in hi and its value in
// lo, so that 7 and 07 differ, shorter ones come first, and no run crosses from one length to the next.
type number struct{ hi, lo uint64 }

func (a number) compare(b number) int {
	switch {
	case a.hi != b.hi && a.hi < b.hi, a.hi == b.hi && a.lo < b.lo:
		return -1
	case a == b:
		return 0
	}
	return 1
}

func (a number) less(b number) bool { return a.compare(b) < 0 }

// next is a+1, and 0 after the largest.
func (a number) next() number { return a.add(1) }

// previous is a-1; a is not 0.
func (a number) previous() number {
	lo, borrow := bits.Sub64(a.lo, 1, 0)
	return number{a.hi - borrow, lo}
}

func (a number) add(n uint64) number {
	lo, carry := bits.Add64(a.lo, n, 0)
	return number{a.hi + carry, lo}
}

// to is how many numbers there are from a to b, b included and not below a; math.MaxUint64 when they are more.
func (a number) to(b number) uint64 {
	lo, borrow := bits.Sub64(b.lo, a.lo, 0)
	if hi, _ := bits.Sub64(b.hi, a.hi, borrow); hi > 0 || lo == math.MaxUint64 {
		return math.MaxUint64
	}
	return lo + 1
}

// addCounts and multiplyCounts stop at math.MaxUint64.
func addCounts(a, b uint64) uint64 {
	sum, carry := bits.Add64(a, b, 0)
	if carry > 0 {
		return math.MaxUint64
	}
	return sum
}

func multiplyCounts(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	if hi > 0 {
		return math.MaxUint64
	}
	return lo
}
