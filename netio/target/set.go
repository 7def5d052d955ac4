package target

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"net/netip"
	"slices"
	"sort"
	"strings"
)

// Set is a set of targets. Its zero value is empty. See the package documentation for its order and its cost.
type Set struct {
	parts []part   // in order
	ends  []uint64 // how many targets there are up to the end of each part
}

// part is the targets of one pattern; its node is never nil.
type part struct {
	pattern pattern
	node    *node
}

// pattern is what targets have in common but for their numbers.
type pattern struct {
	kind kind
	// text is a name with a mark in place of each number, or the zone of IPv6 addresses.
	text string
}

type kind uint8

const (
	kindName kind = iota
	kindIPv4
	kindIPv6
)

// mark stands for a number in a pattern. No name holds it.
const mark = '\x00'

func comparePatterns(a, b pattern) int {
	if a.kind != b.kind {
		return int(a.kind) - int(b.kind)
	}
	return strings.Compare(a.text, b.text)
}

func newSet(parts []part) Set {
	s := Set{parts: parts, ends: make([]uint64, len(parts))}
	total := uint64(0)
	for i, p := range parts {
		total = addCounts(total, p.node.size())
		s.ends[i] = total
	}
	return s
}

// Len returns how many targets the set has: math.MaxUint64 when they are that many or more, as an IPv6 prefix can have.
func (s Set) Len() uint64 {
	if len(s.ends) == 0 {
		return 0
	}
	return s.ends[len(s.ends)-1]
}

// At returns the i-th target in the set's order, from 0; i has to be below Len. An IPv6 address has no brackets.
func (s Set) At(i uint64) string {
	p, tuple := s.locate(i)
	return p.format(tuple)
}

// locate finds the part of the i-th target, and its numbers.
func (s Set) locate(i uint64) (pattern, []number) {
	if i >= s.Len() {
		panic(fmt.Sprintf("target: index %d of %d", i, s.Len()))
	}
	at := sort.Search(len(s.ends), func(k int) bool { return s.ends[k] > i })
	if at > 0 {
		i -= s.ends[at-1]
	}
	p := s.parts[at]
	var room [4]number
	return p.pattern, p.node.tuple(room[:0], i)
}

// All yields the targets in order.
func (s Set) All() iter.Seq[string] {
	return func(yield func(string) bool) {
		for i := range s.Len() {
			if !yield(s.At(i)) {
				return
			}
		}
	}
}

// Contains reports whether the set has this one target, in any spelling.
func (s Set) Contains(target string) bool {
	p, tuple, err := single(target)
	if err != nil {
		return false
	}
	at, found := slices.BinarySearchFunc(s.parts, p, func(q part, p pattern) int { return comparePatterns(q.pattern, p) })
	return found && s.parts[at].node.contains(tuple)
}

// Equal reports whether two sets have the same targets.
func (s Set) Equal(t Set) bool {
	return slices.EqualFunc(s.parts, t.parts, func(p, q part) bool { return p.pattern == q.pattern && p.node.equal(q.node) })
}

// Union returns the targets of s, of t, and of both.
func (s Set) Union(t Set) Set { return s.apply(opUnion, t) }

// Minus returns the targets of s that t has not.
func (s Set) Minus(t Set) Set { return s.apply(opMinus, t) }

// Intersect returns the targets that s and t both have.
func (s Set) Intersect(t Set) Set { return s.apply(opIntersect, t) }

// Xor returns the targets that either s or t has.
func (s Set) Xor(t Set) Set { return s.apply(opXor, t) }

func (s Set) apply(op operator, t Set) Set {
	made := make([]part, 0, len(s.parts)+len(t.parts))
	add := func(p pattern, a, b *node) {
		if n := combine(op, a, b); n != nil {
			made = append(made, part{p, n})
		}
	}
	i, j := 0, 0
	for i < len(s.parts) || j < len(t.parts) {
		order := 0
		switch {
		case i == len(s.parts):
			order = 1
		case j == len(t.parts):
			order = -1
		default:
			order = comparePatterns(s.parts[i].pattern, t.parts[j].pattern)
		}
		switch {
		case order < 0:
			add(s.parts[i].pattern, s.parts[i].node, nil)
			i++
		case order > 0:
			add(t.parts[j].pattern, nil, t.parts[j].node)
			j++
		default:
			add(s.parts[i].pattern, s.parts[i].node, t.parts[j].node)
			i, j = i+1, j+1
		}
	}
	return newSet(made)
}

func (s Set) pieces() int {
	n := 0
	for _, p := range s.parts {
		n += 1 + p.node.pieces
	}
	return n
}

// Of returns the set of these targets, each a single one in any spelling. A text that is none becomes a name as it is: it is
// for printing what others have written.
func Of(targets iter.Seq[string]) Set {
	var b builder
	for target := range targets {
		p, tuple, err := single(target)
		if err != nil {
			p, tuple = pattern{kind: kindName, text: strings.ReplaceAll(target, string(mark), `\0`)}, nil
		}
		b.add(p, singleton(tuple))
	}
	return b.set()
}

// Pick returns n targets of s at random, the same ones for the same s, n and seed; all of s where it has no more. They are
// kept in memory: above DefaultMaxPieces the error matches ErrTooLarge.
func (s Set) Pick(n, seed uint64) (Set, error) {
	total := s.Len()
	if n >= total {
		return s, nil
	}
	if n > DefaultMaxPieces {
		return Set{}, tooLarge(0, "%d targets picked of %d: at most %d can be picked", n, total, DefaultMaxPieces)
	}
	// Floyd's way: each index of the last n that is drawn makes room for one below it that was not.
	random := rand.New(rand.NewPCG(seed, 0x9e3779b97f4a7c15))
	picked := make(map[uint64]struct{}, n)
	var b builder
	for last := total - n; last < total; last++ {
		i := random.Uint64N(last + 1)
		if _, twice := picked[i]; twice {
			i = last
		}
		picked[i] = struct{}{}
		p, tuple := s.locate(i)
		b.add(p, singleton(tuple))
	}
	return b.set(), nil
}

// builder unites what is added to it. Useful at zero.
type builder struct {
	by     map[pattern]*accumulator
	pieces int
}

func (b *builder) add(p pattern, n *node) {
	if n == nil {
		return
	}
	a := b.by[p]
	if a == nil {
		if b.by == nil {
			b.by = make(map[pattern]*accumulator)
		}
		a = &accumulator{}
		b.by[p] = a
		b.pieces++
	}
	before := a.pieces
	a.add(n)
	b.pieces += a.pieces - before
}

func (b *builder) addSet(s Set) {
	for _, p := range s.parts {
		b.add(p.pattern, p.node)
	}
}

func (b *builder) set() Set {
	parts := make([]part, 0, len(b.by))
	for p, a := range b.by {
		parts = append(parts, part{p, a.union()})
	}
	slices.SortFunc(parts, func(p, q part) int { return comparePatterns(p.pattern, q.pattern) })
	return newSet(parts)
}

// format writes one target.
func (p pattern) format(tuple []number) string {
	switch p.kind {
	case kindIPv4, kindIPv6:
		return p.address(tuple[0]).String()
	}
	dst := make([]byte, 0, len(p.text)+8*len(tuple))
	for i := range len(p.text) {
		if p.text[i] != mark {
			dst = append(dst, p.text[i])
			continue
		}
		dst = appendIndex(dst, tuple[0])
		tuple = tuple[1:]
	}
	return string(dst)
}

// address makes an address of a number.
func (p pattern) address(n number) netip.Addr {
	var bytes [16]byte
	for i := range 8 {
		bytes[i], bytes[8+i] = byte(n.hi>>(56-8*i)), byte(n.lo>>(56-8*i))
	}
	if p.kind == kindIPv4 {
		return netip.AddrFrom4([4]byte(bytes[12:]))
	}
	return netip.AddrFrom16(bytes).WithZone(p.text)
}

// numberOf is the reverse of address.
func numberOf(a netip.Addr) (pattern, number) {
	a = a.Unmap()
	bytes := a.As16()
	var n number
	for i := range 8 {
		n.hi, n.lo = n.hi<<8|uint64(bytes[i]), n.lo<<8|uint64(bytes[8+i])
	}
	if a.Is4() {
		return pattern{kind: kindIPv4}, number{lo: n.lo & 0xffffffff}
	}
	return pattern{kind: kindIPv6, text: a.Zone()}, n
}
