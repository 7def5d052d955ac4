package target

import (
	"math/bits"
	"net/netip"
	"strconv"
	"strings"
)

// dotted is the pattern of an IPv4 address that is written as a name, with brackets or without.
const dotted = "\x00.\x00.\x00.\x00"

// parseAddress reads one address, in brackets or not.
func parseAddress(text string) (netip.Addr, bool) {
	if inner, ok := strings.CutPrefix(text, "["); ok {
		if text, ok = strings.CutSuffix(inner, "]"); !ok || !strings.Contains(text, ":") {
			return netip.Addr{}, false
		}
	}
	a, err := netip.ParseAddr(text)
	for _, c := range []byte(a.Zone()) {
		if c != '.' && c != '-' && c != '_' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return netip.Addr{}, false
		}
	}
	return a.Unmap(), err == nil
}

// looksLikeAddress says that a text is to be read as an address, a prefix or a range of them, and as nothing else.
func looksLikeAddress(text string) bool {
	if strings.HasPrefix(text, "[") {
		inner, _, _ := strings.Cut(text, "]")
		return strings.Contains(inner, ":")
	}
	if strings.Count(text, ":") > 1 {
		return true
	}
	first, _, _ := strings.Cut(text, "/")
	first, _, _ = strings.Cut(first, "-")
	_, ok := parseAddress(first)
	return ok
}

// addresses reads an address, a prefix or a range. At is where it stands.
func addresses(text string, at int) (pattern, *node, *Error) {
	if address, length, ok := strings.Cut(text, "/"); ok {
		return prefix(text, address, length, at)
	}
	first, second, _ := strings.Cut(text, "-")
	a, okFirst := parseAddress(first)
	b, okSecond := parseAddress(second)
	if !okFirst || !okSecond { // a zone may hold a "-" too
		if a, ok := parseAddress(text); ok {
			p, n := numberOf(a)
			return p, singleton([]number{n}), nil
		}
	}
	switch {
	case !okFirst:
		return pattern{}, nil, syntax(at, "%q is no address", first)
	case !okSecond:
		return pattern{}, nil, syntax(at+len(first)+1, "%q is no address: write a range as %s-%s", second, a, lastOfRange(a, second))
	}
	p, low := numberOf(a)
	q, high := numberOf(b)
	switch {
	case p.kind != q.kind:
		return pattern{}, nil, syntax(at, "%q mixes IPv4 and IPv6", text)
	case p.text != q.text:
		return pattern{}, nil, syntax(at, "%q has two zones", text)
	case high.less(low):
		return pattern{}, nil, syntax(at, "%q runs backwards: write %s-%s", text, b, a)
	}
	return p, newNode([]run{{low, high, unit}}), nil
}

// lastOfRange guesses the end that is meant by 10.0.0.1-9, for an error.
func lastOfRange(a netip.Addr, end string) string {
	if _, err := strconv.ParseUint(end, 10, 8); err == nil && a.Is4() {
		text := a.String()
		return text[:strings.LastIndexByte(text, '.')+1] + end
	}
	return a.Next().String()
}

func prefix(text, address, length string, at int) (pattern, *node, *Error) {
	a, ok := parseAddress(address)
	if !ok {
		return pattern{}, nil, syntax(at, "%q is no address", address)
	}
	if a.Zone() != "" {
		return pattern{}, nil, syntax(at, "%q: a prefix has no zone", text)
	}
	ones, err := strconv.ParseUint(length, 10, 8)
	if err != nil || int(ones) > a.BitLen() || padded(length) {
		return pattern{}, nil, syntax(at+len(address)+1, "%q is no length of a prefix: write a number from 0 to %d", length, a.BitLen())
	}
	p, low := numberOf(a)
	mask := number{}.previous()               // all ones
	mask = mask.shift(a.BitLen() - int(ones)) // those of the prefix
	low = number{low.hi & mask.hi, low.lo & mask.lo}
	high := number{low.hi | ^mask.hi, low.lo | ^mask.lo}
	if p.kind == kindIPv4 {
		high = number{lo: high.lo & 0xffffffff}
	}
	return p, newNode([]run{{low, high, unit}}), nil
}

// shift moves n left by some bits.
func (n number) shift(by int) number {
	if by >= 64 {
		return number{hi: n.lo << (by - 64)}
	}
	return number{hi: n.hi<<by | n.lo>>(64-by), lo: n.lo << by}
}

// dottedNode makes addresses of the four numbers of a dotted name.
func dottedNode(numbers [][]run, maxPieces, at int) (*node, *Error) {
	octets := make([][]run, len(numbers))
	for i, indexes := range numbers {
		for _, r := range indexes {
			if r.lo.hi > 1 && r.lo.lo < powers[r.lo.hi-1] {
				return nil, syntax(at, "a number of an IPv4 address has no zeros before it")
			}
			if r.hi.lo > 255 {
				return nil, syntax(at, "%d cannot stand in an IPv4 address", r.hi.lo)
			}
			octets[i] = append(octets[i], run{number{lo: r.lo.lo}, number{lo: r.hi.lo}, unit})
		}
		octets[i] = mergeRuns(octets[i])
	}
	made := octets[3]
	for i := 2; i >= 0; i-- {
		var err *Error
		if made, err = addOctet(octets[i], made, 8*(3-i), maxPieces, at); err != nil {
			return nil, err
		}
	}
	return newNode(made), nil
}

// addOctet puts each value of an octet before each of the runs, which have some bits.
func addOctet(octet, runs []run, bits, maxPieces, at int) ([]run, *Error) {
	if len(runs) == 1 && runs[0].lo.lo == 0 && runs[0].hi.lo == 1<<bits-1 {
		for i, r := range octet {
			octet[i] = run{number{lo: r.lo.lo << bits}, number{lo: r.hi.lo<<bits | (1<<bits - 1)}, unit}
		}
		return octet, nil
	}
	values := 0
	for _, r := range octet {
		values += int(r.lo.to(r.hi))
	}
	if values*len(runs) > maxPieces {
		return nil, tooLarge(at, "%d ranges of addresses and more, at most %d: write prefixes, or ranges such as 10.0.0.1-10.0.3.254", values*len(runs), maxPieces)
	}
	made := make([]run, 0, values*len(runs))
	for _, r := range octet {
		for value := r.lo.lo; value <= r.hi.lo; value++ {
			for _, s := range runs {
				made = append(made, run{number{lo: value<<bits | s.lo.lo}, number{lo: value<<bits | s.hi.lo}, unit})
			}
		}
	}
	return made, nil
}

// prefixLength returns the length of the prefix that a run of addresses is, if it is one.
func (p pattern) prefixLength(r run) (int, bool) {
	size := 128
	if p.kind == kindIPv4 {
		size = 32
	}
	differ := number{r.lo.hi ^ r.hi.hi, r.lo.lo ^ r.hi.lo}
	free := bits.Len64(differ.lo)
	if differ.hi > 0 {
		free = 64 + bits.Len64(differ.hi)
	}
	ones := number{}.previous()
	low := ones.shift(free) // ones above the free bits
	low = number{^low.hi, ^low.lo}
	whole := differ == low && r.lo.hi&low.hi == 0 && r.lo.lo&low.lo == 0
	return size - free, whole
}
