package probe

import (
	"math/rand/v2"
	"testing"
)

// Every number below n has exactly one place, whatever n and the seed are.
func TestPermutationIsBijective(t *testing.T) {
	sizes := []uint64{1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 100, 255, 256, 257, 1000, 4095, 4097, 65_536, 100_003}
	for range 20 {
		sizes = append(sizes, 1+rand.Uint64N(3000))
	}
	for _, n := range sizes {
		seed := rand.Uint64()
		p := newPermutation(n, seed)
		seen := make([]bool, n)
		for i := range n {
			v := p.at(i)
			if v >= n || seen[v] {
				t.Fatalf("n %d, seed %d: place %d has %d, which is out of range or there twice", n, seed, i, v)
			}
			seen[v] = true
		}
	}
}

// The largest scans have their order too.
func TestPermutationOfLargeRanges(t *testing.T) {
	for _, n := range []uint64{1<<24*3 - 1, 1<<48 + 1, maxPositions} {
		p := newPermutation(n, 1)
		seen := map[uint64]bool{}
		for i := range uint64(20_000) {
			v := p.at(n - 1 - i*(n/20_000))
			if v >= n || seen[v] {
				t.Fatalf("n %d: %d is out of range or there twice", n, v)
			}
			seen[v] = true
		}
	}
}

// The order is part of the wire format: these values are frozen.
func TestPermutationIsFrozen(t *testing.T) {
	for _, c := range []struct {
		n, seed uint64
		want    [4]uint64
	}{
		{10, 1, [4]uint64{3, 8, 5, 0}},
		{50_331_648, 7, [4]uint64{48_915_612, 25_908_396, 7_546_573, 16_321_962}},
	} {
		p := newPermutation(c.n, c.seed)
		if got := [4]uint64{p.at(0), p.at(1), p.at(2), p.at(3)}; got != c.want {
			t.Errorf("n %d, seed %d: %v, want %v", c.n, c.seed, got, c.want)
		}
	}
}

// Neighbours in the order are no neighbours in the range, and another seed is another order.
func TestPermutationScatters(t *testing.T) {
	const n = 1 << 16
	p, q := newPermutation(n, 1), newPermutation(n, 2)
	near, same := 0, 0
	for i := range uint64(n - 1) {
		if d := int64(p.at(i)) - int64(p.at(i+1)); d > -256 && d < 256 {
			near++
		}
		if p.at(i) == q.at(i) {
			same++
		}
	}
	// A random order has 512 near neighbours and one equal place on average.
	if near < 300 || near > 800 || same > 30 {
		t.Errorf("%d of %d neighbours are near, %d places are the same under another seed", near, n, same)
	}
}
