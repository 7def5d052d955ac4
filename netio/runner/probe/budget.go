package probe

import "sync/atomic"

// budget bounds the sockets of all scans of a gateway together. A nil budget has no bound.
type budget struct {
	limit int64
	used  atomic.Int64
}

// acquire takes a unit, if there is one.
func (b *budget) acquire() bool {
	if b == nil || b.used.Add(1) <= b.limit {
		return true
	}
	b.used.Add(-1)
	return false
}

func (b *budget) release(n int) {
	if b != nil {
		b.used.Add(int64(-n))
	}
}
