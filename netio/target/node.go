package target

import (
	"slices"
	"sort"
)

// node is a set of tuples of numbers, all of one length: a level of a pattern's tree. Immutable. nil is the empty set, unit
// that of the empty tuple.
type node struct {
	runs []run    // disjoint, in order; two that touch have different nodes
	ends []uint64 // how many tuples there are up to the end of each run
	hash uint64
	// pieces is how many runs the tree has, about: what two runs of one node share counts once.
	pieces int
}

// run is the numbers from lo to hi, each followed by the tuples of next. Within one node, equal nexts are one pointer.
type run struct {
	lo, hi number
	next   *node
}

var unit = &node{hash: 1}

// newNode takes runs that are disjoint and in order, and owns the slice.
func newNode(runs []run) *node {
	if len(runs) == 0 {
		return nil
	}
	n := &node{hash: 14695981039346656037}
	if runs[0].next != unit {
		shareNodes(runs, n)
	}
	kept := runs[:1]
	for _, r := range runs[1:] {
		if last := &kept[len(kept)-1]; last.next == r.next && last.hi.next() == r.lo {
			last.hi = r.hi
		} else {
			kept = append(kept, r)
		}
	}
	n.runs, n.ends = kept, make([]uint64, len(kept))
	n.pieces += len(kept)
	total := uint64(0)
	for i, r := range kept {
		total = addCounts(total, multiplyCounts(r.lo.to(r.hi), r.next.size()))
		n.ends[i] = total
		for _, word := range [...]uint64{r.lo.hi, r.lo.lo, r.hi.hi, r.hi.lo, r.next.hash} {
			n.hash = (n.hash ^ word) * 1099511628211
			n.hash ^= n.hash >> 29
		}
	}
	return n
}

// shareNodes makes equal nexts of runs one pointer, and counts the pieces of each once into n.
func shareNodes(runs []run, n *node) {
	if len(runs) == 1 {
		n.pieces += runs[0].next.pieces
		return
	}
	known := make(map[uint64][]*node)
	for i := range runs {
		r := &runs[i]
		if i > 0 && r.next == runs[i-1].next {
			continue
		}
		if same := slices.IndexFunc(known[r.next.hash], r.next.equal); same >= 0 {
			r.next = known[r.next.hash][same]
			continue
		}
		known[r.next.hash] = append(known[r.next.hash], r.next)
		n.pieces += r.next.pieces
	}
}

func (n *node) size() uint64 {
	switch n {
	case nil:
		return 0
	case unit:
		return 1
	}
	return n.ends[len(n.ends)-1]
}

func (n *node) equal(m *node) bool {
	if n == m {
		return true
	}
	if n == nil || m == nil || n.hash != m.hash || len(n.runs) != len(m.runs) {
		return false
	}
	for i, r := range n.runs {
		if s := m.runs[i]; r.lo != s.lo || r.hi != s.hi || !r.next.equal(s.next) {
			return false
		}
	}
	return true
}

// tuple appends the i-th tuple to dst; i is below size.
func (n *node) tuple(dst []number, i uint64) []number {
	for n != unit {
		at := sort.Search(len(n.ends), func(k int) bool { return n.ends[k] > i })
		if at > 0 {
			i -= n.ends[at-1]
		}
		r := n.runs[at]
		each := r.next.size()
		dst = append(dst, r.lo.add(i/each))
		n, i = r.next, i%each
	}
	return dst
}

func (n *node) contains(tuple []number) bool {
	for _, number := range tuple {
		if n == nil {
			return false
		}
		at := sort.Search(len(n.runs), func(k int) bool { return !n.runs[k].hi.less(number) })
		if at == len(n.runs) || number.less(n.runs[at].lo) {
			return false
		}
		n = n.runs[at].next
	}
	return n != nil
}

// operator is a set operation, as expressions write it.
type operator byte

const (
	opUnion     operator = ','
	opMinus     operator = '!'
	opIntersect operator = '&'
	opXor       operator = '^'
)

// combine applies an operator to two sets of tuples of the same length.
func combine(op operator, a, b *node) *node {
	switch {
	case a == nil && (op == opUnion || op == opXor):
		return b
	case b == nil && op != opIntersect:
		return a
	case a == nil || b == nil:
		return nil
	case a == unit || a.equal(b):
		if op == opUnion || op == opIntersect {
			return a
		}
		return nil
	}
	s := sweep{op: op, a: a.runs, b: b.runs}
	return newNode(s.run())
}

// sweep goes through the runs of two nodes at once, in pieces that both have whole or not at all.
type sweep struct {
	op     operator
	a, b   []run // what is still to come; the first of each is cut off as it is used up
	made   []run
	memory map[[2]*node]*node
}

func (s *sweep) run() []run {
	s.a, s.b = slices.Clone(s.a), slices.Clone(s.b)
	s.made = make([]run, 0, len(s.a)+len(s.b))
	for len(s.a) > 0 || len(s.b) > 0 {
		piece, inA, inB := s.piece()
		var a, b *node
		if inA {
			a = s.a[0].next
			s.a = cut(s.a, piece.hi)
		}
		if inB {
			b = s.b[0].next
			s.b = cut(s.b, piece.hi)
		}
		if piece.next = s.combine(a, b); piece.next != nil {
			s.made = append(s.made, piece)
		}
	}
	return s.made
}

// piece is the first of what is to come, and which of the two sides have it.
func (s *sweep) piece() (piece run, inA, inB bool) {
	switch {
	case len(s.b) == 0:
		return s.a[0], true, false
	case len(s.a) == 0:
		return s.b[0], false, true
	}
	a, b := s.a[0], s.b[0]
	switch a.lo.compare(b.lo) {
	case -1:
		piece, inA = a, true
		if !a.hi.less(b.lo) {
			piece.hi = b.lo.previous()
		}
	case 1:
		piece, inB = b, true
		if !b.hi.less(a.lo) {
			piece.hi = a.lo.previous()
		}
	default:
		piece, inA, inB = a, true, true
		if b.hi.less(a.hi) {
			piece.hi = b.hi
		}
	}
	return piece, inA, inB
}

// cut takes what is up to hi off the first run, which reaches hi at least.
func cut(runs []run, hi number) []run {
	if runs[0].hi == hi {
		return runs[1:]
	}
	runs[0].lo = hi.next()
	return runs
}

// combine remembers what it has combined before: runs share their nodes.
func (s *sweep) combine(a, b *node) *node {
	if a == nil || b == nil || a == unit {
		return combine(s.op, a, b)
	}
	pair := [2]*node{a, b}
	if made, ok := s.memory[pair]; ok {
		return made
	}
	made := combine(s.op, a, b)
	if s.memory == nil {
		s.memory = make(map[[2]*node]*node)
	}
	s.memory[pair] = made
	return made
}

// mergeRuns sorts runs of a last level, and merges those that overlap or touch. It changes the slice.
func mergeRuns(runs []run) []run {
	slices.SortFunc(runs, func(a, b run) int { return a.lo.compare(b.lo) })
	kept := runs[:0]
	for _, r := range runs {
		if len(kept) > 0 {
			last := &kept[len(kept)-1]
			if !last.hi.less(r.lo) || last.hi.next() == r.lo {
				if last.hi.less(r.hi) {
					last.hi = r.hi
				}
				continue
			}
		}
		kept = append(kept, r)
	}
	return kept
}

// singleton is the node of one tuple.
func singleton(tuple []number) *node {
	n := unit
	for _, number := range slices.Backward(tuple) {
		n = newNode([]run{{number, number, n}})
	}
	return n
}

// accumulator unites many nodes with each level of it holding the union of twice as many as the one before.
type accumulator struct {
	levels []*node
	pieces int // of all levels, about
}

func (a *accumulator) add(n *node) {
	a.pieces += n.pieces
	for i, held := range a.levels {
		if held == nil {
			a.levels[i] = n
			return
		}
		before := held.pieces + n.pieces
		n = combine(opUnion, held, n)
		a.pieces -= before - n.pieces
		a.levels[i] = nil
	}
	a.levels = append(a.levels, n)
}

func (a *accumulator) union() *node {
	var all *node
	for _, held := range a.levels {
		all = combine(opUnion, all, held)
	}
	return all
}
