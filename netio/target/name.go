package target

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxDigits  = 18 // so that a number and its power of ten fit 64 bits
	maxNumbers = 64
	maxName    = 320 // bytes of a name: a user of 64, an @, a host of 253, and some room
)

var powers = func() (p [maxDigits + 1]uint64) {
	p[0] = 1
	for i := range maxDigits {
		p[i+1] = p[i] * 10
	}
	return p
}()

// appendIndex writes an index with its zeros.
func appendIndex(dst []byte, n number) []byte {
	for length := n.hi; length > 1 && n.lo < powers[length-1]; length-- {
		dst = append(dst, '0')
	}
	return strconv.AppendUint(dst, n.lo, 10)
}

// index reads digits, at most maxDigits of them.
func index(digits string) number {
	value, _ := strconv.ParseUint(digits, 10, 64)
	return number{hi: uint64(len(digits)), lo: value}
}

// nameParser reads one element that is a name, with or without brackets.
type nameParser struct {
	text      string
	base      int // where text stands in the expression, for errors
	maxPieces int
	extra     string // characters beyond those of names: of wildcards
	keepCase  bool

	pattern []byte
	numbers [][]run // of the last level each: next is unit
	touches bool    // the last number goes on with what comes
}

// parse returns the text with marks for numbers, and the runs of each number.
func (n *nameParser) parse() (string, [][]run, *Error) {
	if len(n.text) > maxName && !strings.Contains(n.text, "[") {
		return "", nil, syntax(n.base, "a name of %d bytes: at most %d", len(n.text), maxName)
	}
	for i := 0; i < len(n.text); {
		var err *Error
		switch c := n.text[i]; {
		case c == '[':
			var end int
			if end, err = n.bracket(i); err == nil {
				i = end
			}
		case c >= '0' && c <= '9':
			end := i + 1
			for end < len(n.text) && n.text[end] >= '0' && n.text[end] <= '9' {
				end++
			}
			err = n.digits(i, end)
			i = end
		default:
			var size int
			size, err = n.literal(i)
			i += size
		}
		if err != nil {
			return "", nil, err
		}
		if len(n.numbers) > maxNumbers {
			return "", nil, syntax(n.base, "more than %d numbers in one name", maxNumbers)
		}
	}
	if !n.keepCase {
		lowerHost(n.pattern)
	}
	return string(n.pattern), n.numbers, nil
}

// lowerHost makes the letters after a user lower case.
func lowerHost(name []byte) {
	for i := len(name) - 1; i >= 0 && name[i] != '@'; i-- {
		if c := name[i]; c >= 'A' && c <= 'Z' {
			name[i] = c + 'a' - 'A'
		}
	}
}

func (n *nameParser) literal(i int) (size int, err *Error) {
	r, size := utf8.DecodeRuneInString(n.text[i:])
	switch {
	case r == utf8.RuneError && size == 1:
		return 0, syntax(n.base+i, "byte 0x%02x is no UTF-8", n.text[i])
	case r == ']':
		return 0, syntax(n.base+i, "a ] without a [ before it")
	case r == ':':
		return 0, syntax(n.base+i, "a colon stands only in IPv6 addresses: ports and commands are said elsewhere")
	case r == '/':
		return 0, syntax(n.base+i, "a / stands only after an address, as 10.0.0.0/24, and for steps, as [1-9/2]")
	case strings.ContainsRune("._-@+", r), strings.ContainsRune(n.extra, r), unicode.IsLetter(r), unicode.IsMark(r):
	default:
		return 0, syntax(n.base+i, "%q cannot stand in a name", r)
	}
	n.pattern = append(n.pattern, n.text[i:i+size]...)
	n.touches = false
	return size, nil
}

func (n *nameParser) digits(from, to int) *Error {
	digits := n.text[from:to]
	followed := to < len(n.text) && n.text[to] == '['
	if len(digits) > maxDigits {
		if n.touches || followed {
			return syntax(n.base+from, "a number of %d digits beside a bracket: at most %d", len(digits), maxDigits)
		}
		n.pattern = append(n.pattern, digits...) // text like any other
		return nil
	}
	at := index(digits)
	return n.add(from, []run{{at, at, unit}})
}

// add appends a number, or the digits by which the one before goes on.
func (n *nameParser) add(at int, runs []run) *Error {
	if !n.touches {
		n.pattern = append(n.pattern, mark)
		n.numbers = append(n.numbers, runs)
		n.touches = true
		return nil
	}
	last := &n.numbers[len(n.numbers)-1]
	joined, err := n.join(at, *last, runs)
	*last = joined
	return err
}

// join makes one number of two that stand side by side: each index of a followed by each of b.
func (n *nameParser) join(at int, a, b []run) ([]run, *Error) {
	values := uint64(0)
	for _, r := range a {
		values = addCounts(values, r.lo.to(r.hi))
	}
	var made []run
	for _, r := range a {
		for _, s := range b {
			digits := r.lo.hi + s.lo.hi
			if digits > maxDigits {
				return nil, syntax(n.base+at, "a number of %d digits: at most %d", digits, maxDigits)
			}
			power := powers[s.lo.hi]
			if s.lo.lo == 0 && s.hi.lo == power-1 {
				made = append(made, run{number{digits, r.lo.lo * power}, number{digits, r.hi.lo*power + s.hi.lo}, unit})
				continue
			}
			if multiplyCounts(values, uint64(len(b))) > uint64(n.maxPieces) {
				return nil, tooLarge(n.base+at, "brackets side by side make more than %d ranges", n.maxPieces)
			}
			for value := r.lo.lo; value <= r.hi.lo; value++ {
				made = append(made, run{number{digits, value*power + s.lo.lo}, number{digits, value*power + s.hi.lo}, unit})
			}
		}
	}
	return mergeRuns(made), nil
}

// bracket reads the ranges from the [ at i, and returns where the ] ends.
func (n *nameParser) bracket(i int) (end int, err *Error) {
	length := strings.IndexByte(n.text[i:], ']')
	if length < 0 {
		return 0, syntax(n.base+i, "this [ is not closed: write it as in web[1-9]")
	}
	if inner := strings.IndexByte(n.text[i+1:i+length], '['); inner >= 0 {
		return 0, syntax(n.base+i+1+inner, "a [ inside of brackets")
	}
	var runs []run
	at := i + 1
	for item := range strings.SplitSeq(n.text[at:i+length], ",") {
		if runs, err = n.item(runs, item, at); err != nil {
			return 0, err
		}
		at += len(item) + 1
	}
	return i + length + 1, n.add(i, mergeRuns(runs))
}

// item reads N, N-M or N-M/S. At is where it stands in the text.
func (n *nameParser) item(runs []run, item string, at int) ([]run, *Error) {
	trimmed := strings.TrimLeft(item, " \t")
	at += n.base + len(item) - len(trimmed)
	trimmed = strings.TrimRight(trimmed, " \t")
	if trimmed == "" {
		return nil, syntax(at, "a number is missing: write ranges as [1-9,12]")
	}
	span, step, stepped := strings.Cut(trimmed, "/")
	low, high, ranged := strings.Cut(span, "-")
	if !ranged {
		high = low
	}
	low, high, step = strings.TrimSpace(low), strings.TrimSpace(high), strings.TrimSpace(step)
	for _, digits := range []string{low, high} {
		if digits == "" || strings.Trim(digits, "0123456789") != "" {
			return nil, syntax(at, "%q is no range of numbers: write 7, 1-9 or 1-9/2", trimmed)
		}
		if len(digits) > maxDigits {
			return nil, syntax(at, "a number of %d digits: at most %d", len(digits), maxDigits)
		}
	}
	from, to := index(low), index(high)
	switch {
	case from.lo > to.lo:
		return nil, syntax(at, "%q runs backwards: write %s-%s", trimmed, high, low)
	case from.hi != to.hi && (padded(low) || padded(high)):
		return nil, syntax(at, "%q pads its ends to different lengths: write %s", trimmed, samePadding(low, high))
	case !stepped:
		return appendRange(runs, from, to), nil
	}
	each, parseErr := strconv.ParseUint(step, 10, 64)
	if parseErr != nil || each == 0 || !ranged {
		return nil, syntax(at, "%q: a step is a number from 1 on, after a range: write it as 1-9/2", trimmed)
	}
	if each == 1 {
		return appendRange(runs, from, to), nil
	}
	if count := (to.lo-from.lo)/each + 1; count > uint64(n.maxPieces-len(runs)) {
		return nil, tooLarge(at, "%q has %d numbers: with a step at most %d", trimmed, count, n.maxPieces)
	}
	for value := from.lo; ; value += each {
		v := number{from.hi, value}
		for v.hi < maxDigits && v.lo >= powers[v.hi] {
			v.hi++
		}
		runs = append(runs, run{v, v, unit})
		if to.lo-value < each {
			return runs, nil
		}
	}
}

func padded(digits string) bool { return len(digits) > 1 && digits[0] == '0' }

// samePadding is how a range with ends of different lengths can be written.
func samePadding(low, high string) string {
	if padded(low) && len(low) < len(high) {
		if first := strconv.FormatUint(powers[len(low)], 10); first == high {
			return fmt.Sprintf("%s-%d,%s", low, powers[len(low)]-1, high)
		}
		return fmt.Sprintf("%s-%d,%d-%s", low, powers[len(low)]-1, powers[len(low)], high)
	}
	length := max(len(low), len(high))
	return strings.Repeat("0", length-len(low)) + low + "-" + strings.Repeat("0", length-len(high)) + high
}

// appendRange appends the indexes from one to the other: a run for each number of digits.
func appendRange(runs []run, from, to number) []run {
	for from.hi < to.hi {
		runs = append(runs, run{from, number{from.hi, powers[from.hi] - 1}, unit})
		from = number{from.hi + 1, powers[from.hi]}
	}
	return append(runs, run{from, to, unit})
}

// tree makes the node of all combinations of numbers.
func tree(numbers [][]run) *node {
	n := unit
	for i := len(numbers) - 1; i >= 0; i-- {
		for k := range numbers[i] {
			numbers[i][k].next = n
		}
		n = newNode(numbers[i])
	}
	return n
}
