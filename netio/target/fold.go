package target

import (
	"strconv"
	"strings"
)

// String returns the set as a short expression; it parses into the same set, unless Of made names of what are none.
func (s Set) String() string { return string(s.Append(nil)) }

// Append appends what String returns.
func (s Set) Append(dst []byte) []byte {
	for i, p := range s.parts {
		if i > 0 {
			dst = append(dst, ',')
		}
		switch p.pattern.kind {
		case kindIPv4:
			dst = p.pattern.appendIPv4(dst, p.node.runs)
		case kindIPv6:
			for k, r := range p.node.runs {
				if k > 0 {
					dst = append(dst, ',')
				}
				dst = p.pattern.appendRun(dst, r)
			}
		default:
			f := nameFold{dst: dst, texts: strings.Split(p.pattern.text, string(mark))}
			f.fold(p.node, nil)
			dst = f.dst
		}
	}
	return dst
}

// nameFold writes the names of a pattern.
type nameFold struct {
	dst   []byte
	texts []string // what stands before, between and after the numbers
	wrote bool
}

// fold writes the names whose first numbers are before, each a number or a bracket. Numbers with equal nodes below them
// share a bracket.
func (f *nameFold) fold(n *node, before [][]byte) {
	if n == unit {
		if f.wrote {
			f.dst = append(f.dst, ',')
		}
		f.wrote = true
		for i, text := range f.texts {
			f.dst = append(f.dst, text...)
			if i < len(before) {
				f.dst = append(f.dst, before[i]...)
			}
		}
		return
	}
	before = before[:len(before):len(before)]
	if n.runs[0].next == unit {
		f.fold(unit, append(before, appendIndexes(nil, n.runs)))
		return
	}
	var order []*node
	byNext := make(map[*node][]run)
	for _, r := range n.runs {
		if byNext[r.next] == nil {
			order = append(order, r.next)
		}
		byNext[r.next] = append(byNext[r.next], r)
	}
	for _, next := range order {
		f.fold(next, append(before, appendIndexes(nil, byNext[next])))
	}
}

// appendIndexes writes runs of indexes: in brackets, unless they are one number.
func appendIndexes(dst []byte, runs []run) []byte {
	if len(runs) == 1 && runs[0].lo == runs[0].hi {
		return appendIndex(dst, runs[0].lo)
	}
	dst = append(dst, '[')
	for i := 0; i < len(runs); i++ {
		r := runs[i]
		for unpadded(r.lo) && i+1 < len(runs) && followsLonger(r.hi, runs[i+1].lo) {
			i++
			r.hi = runs[i].hi
		}
		if dst[len(dst)-1] != '[' {
			dst = append(dst, ',')
		}
		dst = appendIndex(dst, r.lo)
		if r.lo != r.hi {
			dst = appendIndex(append(dst, '-'), r.hi)
		}
	}
	return append(dst, ']')
}

func unpadded(n number) bool { return n.hi == 1 || n.lo >= powers[n.hi-1] }

// followsLonger reports whether b comes after a when both are written without zeros: 9 and 10.
func followsLonger(a, b number) bool {
	return b.hi == a.hi+1 && a.lo == powers[a.hi]-1 && b.lo == powers[a.hi]
}

// appendIPv4 writes addresses: those of one /24 share a bracket, unless they are all of it.
func (p pattern) appendIPv4(dst []byte, runs []run) []byte {
	for i := 0; i < len(runs); {
		if i > 0 {
			dst = append(dst, ',')
		}
		net := runs[i].lo.lo >> 8
		end := i
		for end < len(runs) && within(runs[end], net) {
			end++
		}
		if end == i {
			dst = p.appendRun(dst, runs[i])
			i++
			continue
		}
		text := p.address(runs[i].lo).String()
		dst = append(dst, text[:strings.LastIndexByte(text, '.')+1]...)
		dst = appendOctets(dst, runs[i:end])
		i = end
	}
	return dst
}

// within reports whether a run is a part of a /24, and not all of it.
func within(r run, net uint64) bool {
	return r.lo.lo>>8 == net && r.hi.lo>>8 == net && r.lo.to(r.hi) < 256
}

func appendOctets(dst []byte, runs []run) []byte {
	if len(runs) == 1 && runs[0].lo == runs[0].hi {
		return strconv.AppendUint(dst, runs[0].lo.lo&0xff, 10)
	}
	for i, r := range runs {
		dst = append(dst, "[,"[min(i, 1)])
		dst = strconv.AppendUint(dst, r.lo.lo&0xff, 10)
		if r.lo != r.hi {
			dst = strconv.AppendUint(append(dst, '-'), r.hi.lo&0xff, 10)
		}
	}
	return append(dst, ']')
}

// appendRun writes a run of addresses as one address, a prefix, or a range.
func (p pattern) appendRun(dst []byte, r run) []byte {
	dst = append(dst, p.address(r.lo).String()...)
	if r.lo == r.hi {
		return dst
	}
	// A prefix cannot carry a zone.
	if length, ok := p.prefixLength(r); ok && p.text == "" {
		return strconv.AppendInt(append(dst, '/'), int64(length), 10)
	}
	return append(append(dst, '-'), p.address(r.hi).String()...)
}
