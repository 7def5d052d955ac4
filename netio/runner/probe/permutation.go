package probe

import "math/bits"

// permutation is a bijection of the numbers below n, chosen by a seed. It holds no table: any range costs the same few
// words, and any place of the order is found without the ones before it.
//
// It is an unbalanced Feistel network of feistelRounds rounds over the fewest bits that n-1 fits into, but 2 at least.
// The low half has bits/2 bits, the high half the rest. Even rounds change the low half by the high one, odd rounds the
// reverse, each by exclusive or with the low bits of mix(half ^ key). A result that is not below n is put in again until
// it is (cycle walking); as the network covers less than 2n numbers, or 4, that takes two turns on average at most. The
// order is part of the wire format: client and gateway compute it independently.
type permutation struct {
	n       uint64
	lowBits uint
	low     uint64 // mask of the low half
	high    uint64 // mask of the high half, shifted down
	keys    [feistelRounds]uint64
}

const feistelRounds = 6

// newPermutation returns the order of the numbers below n that belongs to seed.
func newPermutation(n, seed uint64) permutation {
	width := uint(2)
	if n > 1 {
		width = max(2, uint(bits.Len64(n-1)))
	}
	p := permutation{n: n, lowBits: width / 2}
	p.low = 1<<p.lowBits - 1
	p.high = 1<<(width-p.lowBits) - 1
	for i := range p.keys {
		seed += 0x9e3779b97f4a7c15
		p.keys[i] = mix(seed)
	}
	return p
}

// at returns the number at place i of the order; i is below n.
func (p *permutation) at(i uint64) uint64 {
	for {
		low, high := i&p.low, i>>p.lowBits
		for round := 0; round < feistelRounds; round += 2 {
			low ^= mix(high^p.keys[round]) & p.low
			high ^= mix(low^p.keys[round+1]) & p.high
		}
		if i = high<<p.lowBits | low; i < p.n {
			return i
		}
	}
}

// mix is the finalizer of splitmix64.
func mix(x uint64) uint64 {
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
