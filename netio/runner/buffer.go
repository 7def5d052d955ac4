package runner

import (
	"sync/atomic"
	"unicode/utf8"
)

// Limits of what is kept of one output.
const (
	DefaultOutput = 256 << 10 // bytes, where a request says nothing
	MaxOutput     = 1 << 20   // bytes: two such outputs in base64 are below the default frame limit
)

// Budget bounds the bytes that the Buffers of many tasks hold together. A nil Budget has no bound. Safe for concurrent use.
type Budget struct {
	max  int64
	used atomic.Int64
}

// NewBudget returns a budget of max bytes.
func NewBudget(max int64) *Budget { return &Budget{max: max} }

// Used returns how many bytes are taken.
func (b *Budget) Used() int64 { return b.used.Load() }

// take takes n bytes, or reports that there are not so many left.
func (b *Budget) take(n int) bool {
	if b == nil {
		return true
	}
	if b.used.Add(int64(n)) > b.max {
		b.used.Add(-int64(n))
		return false
	}
	return true
}

func (b *Budget) give(n int) {
	if b != nil {
		b.used.Add(-int64(n))
	}
}

// Buffer keeps the first and the last bytes of an output, half of its limit each, and counts those between that it drops.
// It holds no more memory than about twice what it keeps. Not safe for concurrent use.
type Buffer struct {
	limit   int
	budget  *Budget
	taken   int    // of the budget
	head    []byte // the first bytes
	tail    []byte // the last bytes: a ring once it has tailMax of them
	oldest  int    // in tail, where the ring begins
	tailMax int    // 0: not known yet
	dropped int64
}

// NewBuffer returns a buffer that keeps limit bytes at most (DefaultOutput where limit is 0, never more than MaxOutput), as
// far as the budget has room.
func NewBuffer(limit int, budget *Budget) *Buffer {
	if limit <= 0 {
		limit = DefaultOutput
	}
	return &Buffer{limit: min(limit, MaxOutput), budget: budget}
}

// budgetStep is how many bytes are taken from the budget at a time.
const budgetStep = 4 << 10

// reserve makes room for n more bytes, as far as the budget has it, and returns for how many.
func (b *Buffer) reserve(n int) int {
	kept := len(b.head) + len(b.tail)
	for b.taken < kept+n && b.budget.take(budgetStep) {
		b.taken += budgetStep
	}
	return max(0, min(n, b.taken-kept))
}

// Write takes all of p, and keeps what it has room for. It never fails.
func (b *Buffer) Write(p []byte) (int, error) {
	n := len(p)
	headMax := b.limit - b.limit/2
	if b.tailMax == 0 && len(b.head) < headMax {
		part := p[:min(len(p), headMax-len(b.head))]
		part = part[:b.reserve(len(part))]
		b.head = append(b.head, part...)
		p = p[len(part):]
	}
	if len(p) == 0 {
		return n, nil
	}
	if b.tailMax == 0 {
		b.tailMax = b.limit - len(b.head)
		if len(b.head) < headMax { // the budget is at its end: what there is of it is the head
			b.tailMax = -1
		}
	}
	b.writeTail(p)
	return n, nil
}

// writeTail puts p into the ring, over its oldest bytes where it is full.
func (b *Buffer) writeTail(p []byte) {
	if len(b.tail) < b.tailMax && b.oldest == 0 {
		part := p[:min(len(p), b.tailMax-len(b.tail))]
		got := b.reserve(len(part))
		b.tail = append(b.tail, part[:got]...)
		if p = p[got:]; got < len(part) {
			b.tailMax = len(b.tail)
		}
	}
	size := len(b.tail)
	if over := len(p) - size; over > 0 { // more than the whole ring
		b.dropped += int64(over)
		p = p[over:]
	}
	b.dropped += int64(len(p))
	for len(p) > 0 {
		c := copy(b.tail[b.oldest:], p)
		p = p[c:]
		b.oldest = (b.oldest + c) % size
	}
}

// Take returns what is kept, where in it bytes are missing, and how many; gap is -1 where none are. It gives the room back
// to the budget, and leaves the buffer empty. A character that the gap has cut in two is dropped whole. The caller owns out.
func (b *Buffer) Take() (out []byte, gap int, dropped int64) {
	head, tail := b.head, append(b.tail[b.oldest:len(b.tail):len(b.tail)], b.tail[:b.oldest]...)
	gap, dropped = -1, b.dropped
	if dropped > 0 {
		h, t := cutHead(head), cutTail(tail)
		dropped += int64(len(head) - len(h) + len(tail) - len(t))
		head, tail, gap = h, t, len(h)
	}
	out = append(head, tail...)
	b.budget.give(b.taken)
	*b = Buffer{limit: b.limit, budget: b.budget}
	return out, gap, dropped
}

// cutHead takes the beginning of a character from the end of b.
func cutHead(b []byte) []byte {
	for i := 1; i <= min(len(b), utf8.UTFMax-1); i++ {
		c := b[len(b)-i]
		if !utf8.RuneStart(c) {
			continue
		}
		if c >= utf8.RuneSelf && !utf8.FullRune(b[len(b)-i:]) {
			return b[:len(b)-i]
		}
		break
	}
	return b
}

// cutTail takes the end of a character from the beginning of b.
func cutTail(b []byte) []byte {
	for i := 0; i < min(len(b), utf8.UTFMax); i++ {
		if utf8.RuneStart(b[i]) {
			return b[i:]
		}
	}
	return b
}
