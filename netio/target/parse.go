package target

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
)

// DefaultMaxPieces is how many runs an expression may take in memory: each costs some fifty bytes.
const DefaultMaxPieces = 1 << 20

const (
	maxGroupNames = 1 << 12 // that one element may name
	maxMasks      = 1 << 10 // that one element may have, as web[1-9]* has nine
)

// Parser reads expressions and host files. Its zero value knows no groups and no standard input.
type Parser struct {
	Groups    *Groups   // what @ and wildcards look in
	Stdin     io.Reader // what "-" reads, once
	MaxPieces int       // runs in memory of one expression; default DefaultMaxPieces

	stdinRead bool
}

// Parse reads an expression without groups. An empty one is the empty set.
func Parse(text string) (Set, error) { return new(Parser).Parse(text) }

// Parse reads an expression. An empty one is the empty set; an error is an *Error.
func (p *Parser) Parse(text string) (Set, error) {
	s, err := p.evaluate(text)
	if err != nil {
		return Set{}, err.of(text)
	}
	return s, nil
}

// ReadHosts reads a host file: an expression a line, all of them together. Empty lines, and what follows a #, are skipped.
// The name stands for the file in errors. A line may have maxLine bytes.
func (p *Parser) ReadHosts(name string, r io.Reader) (Set, error) {
	var b builder
	err := eachLine(name, r, func(_ int, line string) *Error {
		if strings.ContainsAny(line, "!&^") {
			s, err := p.evaluate(line)
			if err == nil {
				b.addSet(s)
			}
			return err
		}
		return p.unite(&b, line)
	})
	if err != nil {
		return Set{}, err
	}
	return b.set(), nil
}

// of says which text an error is about, if it does not say so itself.
func (e *Error) of(text string) *Error {
	if e.Text == "" && e.Source == "" {
		e.Text = text
	}
	return e
}

// maxLine bounds a line of a file of targets, in bytes.
const maxLine = 1 << 20

// eachLine calls each with the lines of a file that hold something.
func eachLine(name string, r io.Reader, each func(n int, line string) *Error) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	n := 1
	for ; lines.Scan(); n++ {
		line, _, _ := strings.Cut(lines.Text(), "#")
		if strings.TrimSpace(line) == "" {
			continue
		}
		if err := each(n, line); err != nil {
			return err.in(name, n, line)
		}
	}
	switch err := lines.Err(); {
	case errors.Is(err, bufio.ErrTooLong):
		return &Error{Source: name, Line: n, Msg: fmt.Sprintf("a line of more than %d bytes", maxLine), Kind: ErrTooLarge}
	case err != nil:
		return &Error{Source: name, Line: n, Msg: err.Error(), Kind: err}
	}
	return nil
}

// in says which line of a file an error is about, if it does not say so itself.
func (e *Error) in(name string, n int, line string) *Error {
	if e.Text == "" && e.Source == "" {
		e.Source, e.Line, e.Text = name, n, line
	}
	return e
}

// element is a part of an expression between operators, and the operator before it.
type element struct {
	op   operator
	text string
	pos  int
}

// elements splits an expression.
func elements(text string, yield func(element) *Error) *Error {
	op, operatorAt := opUnion, -1
	for i := 0; ; {
		for i < len(text) && isSpace(text[i]) {
			i++
		}
		if i == len(text) {
			if operatorAt >= 0 {
				return syntax(operatorAt, "nothing follows the %q", rune(op))
			}
			return nil
		}
		if isOperator(text[i]) {
			if operatorAt >= 0 || i == 0 || strings.TrimSpace(text[:i]) == "" {
				return syntax(i, "a target is missing before the %q", rune(text[i]))
			}
			op, operatorAt = operator(text[i]), i
			i++
			continue
		}
		end, err := elementEnd(text, i)
		if err == nil {
			err = yield(element{op, text[i:end], i})
		}
		if err != nil {
			return err
		}
		i, op, operatorAt = end, opUnion, -1
	}
}

// elementEnd finds the first operator or space that is not in brackets.
func elementEnd(text string, from int) (int, *Error) {
	for i := from; i < len(text); i++ {
		switch c := text[i]; {
		case c == '[':
			length := strings.IndexByte(text[i:], ']')
			if length < 0 {
				return 0, syntax(i, "this [ is not closed: write it as in web[1-9]")
			}
			i += length
		case isOperator(c) || isSpace(c):
			return i, nil
		}
	}
	return len(text), nil
}

func isOperator(c byte) bool { return c == ',' || c == '!' || c == '&' || c == '^' }

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// evaluate reads an expression with any operators.
func (p *Parser) evaluate(text string) (Set, *Error) {
	var before Set
	var b builder // what is united with before
	err := elements(text, func(e element) *Error {
		if e.op == opUnion {
			return p.element(&b, e)
		}
		var right builder
		if err := p.element(&right, e); err != nil {
			return err
		}
		b.addSet(before)
		before = b.set().apply(e.op, right.set())
		b = builder{}
		return p.bounded(before.pieces(), e.pos)
	})
	if err != nil {
		return Set{}, err
	}
	if len(b.by) > 0 {
		b.addSet(before)
		before = b.set()
	}
	return before, nil
}

// unite adds an expression that has no operator but unions.
func (p *Parser) unite(b *builder, text string) *Error {
	return elements(text, func(e element) *Error { return p.element(b, e) })
}

func (p *Parser) maxPieces() int {
	if p.MaxPieces > 0 {
		return p.MaxPieces
	}
	return DefaultMaxPieces
}

func (p *Parser) bounded(pieces, pos int) *Error {
	if pieces > p.maxPieces() {
		return tooLarge(pos, "up to here %d names and ranges that do not fold: at most %d", pieces, p.maxPieces())
	}
	return nil
}

// element adds what one element stands for.
func (p *Parser) element(b *builder, e element) *Error {
	var err *Error
	switch {
	case e.text == "-":
		err = p.standardInput(b, e.pos)
	case e.text[0] == '@':
		err = p.group(b, e)
	case e.text[0] == '-':
		err = syntax(e.pos, "a name does not begin with a -")
	case strings.ContainsAny(e.text, "*?"):
		err = p.wildcard(b, e)
	default:
		var pat pattern
		var n *node
		if pat, n, err = p.plain(e); err == nil {
			b.add(pat, n)
		}
	}
	if err != nil {
		return err
	}
	return p.bounded(b.pieces, e.pos)
}

// plain reads an element that needs nothing but itself.
func (p *Parser) plain(e element) (pattern, *node, *Error) {
	if looksLikeAddress(e.text) {
		return addresses(e.text, e.pos)
	}
	text, numbers, err := (&nameParser{text: e.text, base: e.pos, maxPieces: p.maxPieces()}).parse()
	if err != nil {
		return pattern{}, nil, err
	}
	if text == dotted {
		n, err := dottedNode(numbers, p.maxPieces(), e.pos)
		return pattern{kind: kindIPv4}, n, err
	}
	return pattern{kind: kindName, text: text}, tree(numbers), nil
}

// single reads exactly one target.
func single(target string) (pattern, []number, error) {
	end, err := elementEnd(target, 0)
	if err != nil {
		return pattern{}, nil, err
	}
	if target == "" || end < len(target) || target[0] == '@' || target[0] == '-' {
		return pattern{}, nil, syntax(0, "%q is no target", target)
	}
	pat, n, err := (&Parser{}).plain(element{text: target})
	if err != nil {
		return pattern{}, nil, err
	}
	if n.size() != 1 {
		return pattern{}, nil, syntax(0, "%q is more than one target", target)
	}
	return pat, n.tuple(nil, 0), nil
}

func (p *Parser) standardInput(b *builder, pos int) *Error {
	if p.Stdin == nil {
		return syntax(pos, "standard input cannot be read for targets here")
	}
	if p.stdinRead {
		return syntax(pos, "standard input can be read but once")
	}
	p.stdinRead = true
	s, err := p.ReadHosts("standard input", p.Stdin)
	if err != nil {
		return asError(err)
	}
	b.addSet(s)
	return nil
}

// asError returns the *Error that every error of this package is.
func asError(err error) *Error {
	var e *Error
	if !errors.As(err, &e) {
		e = &Error{Msg: err.Error(), Kind: err}
	}
	return e
}

// group adds the nodes of the groups that an element names.
func (p *Parser) group(b *builder, e element) *Error {
	if p.Groups == nil {
		return &Error{Pos: e.pos, Msg: fmt.Sprintf("%s: no groups file is given", e.text), Kind: ErrUnknownGroup}
	}
	if e.text == "@*" {
		b.addSet(p.Groups.all)
		return nil
	}
	names, err := groupNames(e.text[1:], e.pos+1)
	if err != nil {
		return err
	}
	for name := range names.All() {
		s, ok := p.Groups.Lookup(name)
		if !ok {
			return &Error{Pos: e.pos, Msg: fmt.Sprintf("there is no group @%s in %s", name, p.Groups.name), Kind: ErrUnknownGroup}
		}
		b.addSet(s)
	}
	return nil
}

// groupNames reads the name of a group, or of several, as in @rack[1-3].
func groupNames(text string, pos int) (Set, *Error) {
	if text == "" {
		return Set{}, syntax(pos, "the name of a group is missing")
	}
	return names(&nameParser{text: text, base: pos, maxPieces: maxGroupNames, keepCase: true}, maxGroupNames)
}

// names reads names of any kind, at most limit of them.
func names(n *nameParser, limit uint64) (Set, *Error) {
	text, numbers, err := n.parse()
	if err != nil {
		return Set{}, err
	}
	s := newSet([]part{{pattern{kind: kindName, text: text}, tree(numbers)}})
	if s.Len() > limit {
		return Set{}, tooLarge(n.base, "%d names of this kind: at most %d", s.Len(), limit)
	}
	return s, nil
}

// wildcard adds the nodes of all groups that match.
func (p *Parser) wildcard(b *builder, e element) *Error {
	if p.Groups == nil {
		return &Error{Pos: e.pos, Msg: fmt.Sprintf("%s: a wildcard looks in the groups file, and none is given", e.text), Kind: ErrUnknownGroup}
	}
	masks, err := names(&nameParser{text: e.text, base: e.pos, maxPieces: maxMasks, extra: "*?"}, maxMasks)
	if err != nil {
		return err
	}
	all := p.Groups.all
	if all.Len() > uint64(p.maxPieces()) {
		return tooLarge(e.pos, "%s would look through the %d nodes of all groups: at most %d", e.text, all.Len(), p.maxPieces())
	}
	for i := range all.Len() {
		pat, tuple := all.locate(i)
		host := pat.format(tuple)
		for mask := range masks.All() {
			if matched, _ := path.Match(mask, host); matched {
				b.add(pat, singleton(tuple))
				break
			}
		}
	}
	return nil
}
