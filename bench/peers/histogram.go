package main

import (
	"math/bits"
	"slices"
	"time"
)

const (
	subBits = 5 // 32 buckets for each doubling: 3 % of the value
	octaves = 38
)

// histogram counts latencies up to two minutes. It has one writer.
type histogram struct {
	counts [octaves << subBits]uint32
	n      int
}

func (h *histogram) add(d time.Duration) {
	v := uint64(max(d, 1<<subBits))
	shift := bits.Len64(v) - 1 - subBits
	i := shift<<subBits + int(v>>shift) - 1<<subBits
	h.counts[min(i, len(h.counts)-1)]++
	h.n++
}

func (h *histogram) merge(o *histogram) {
	for i, c := range o.counts {
		h.counts[i] += c
	}
	h.n += o.n
}

// quantile returns the middle of the bucket that q of the latencies do not exceed, in microseconds; 0 of none.
func (h *histogram) quantile(q float64) float64 {
	rank := int(q * float64(h.n))
	for i, c := range h.counts {
		if rank -= int(c); rank < 0 {
			shift := i >> subBits
			least := uint64(i&(1<<subBits-1)+1<<subBits) << shift
			return (float64(least) + float64(uint64(1)<<shift)/2) / 1e3
		}
	}
	return 0
}

// median returns the middle value; 0 of none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
