// Package latency counts latencies, for all benchmarks.
package latency

import (
	"math/bits"
	"slices"
	"time"
)

const (
	subBits = 5 // 32 buckets for each doubling: 3 % of the value
	octaves = 38
)

// Histogram counts latencies up to two minutes. It has one writer.
type Histogram struct {
	counts [octaves << subBits]uint32
	N      int // how many there are
}

// Add counts one.
func (h *Histogram) Add(d time.Duration) {
	v := uint64(max(d, 1<<subBits))
	shift := bits.Len64(v) - 1 - subBits
	i := shift<<subBits + int(v>>shift) - 1<<subBits
	h.counts[min(i, len(h.counts)-1)]++
	h.N++
}

// Merge counts what another has counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, c := range o.counts {
		h.counts[i] += c
	}
	h.N += o.N
}

// Quantile returns the middle of the bucket that q of the latencies do not exceed, in microseconds; 0 of none.
func (h *Histogram) Quantile(q float64) float64 {
	rank := int(q * float64(h.N))
	for i, c := range h.counts {
		if rank -= int(c); rank < 0 {
			shift := i >> subBits
			least := uint64(i&(1<<subBits-1)+1<<subBits) << shift
			return (float64(least) + float64(uint64(1)<<shift)/2) / 1e3
		}
	}
	return 0
}

// Median returns the middle value; 0 of none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	v := slices.Sorted(slices.Values(values))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}
