package target

import (
	"io"
	"maps"
	"slices"
	"strings"
)

// Groups is a groups file: names, and the nodes of each. Immutable.
type Groups struct {
	name string
	sets map[string]Set
	all  Set
}

// ParseGroups reads a groups file: `name: expression` a line, as ClusterShell's local.cfg has it. An expression may name
// groups that stand before it or after it, but no wildcards and not @*. Lines of one group add up. Empty lines, and what
// follows a #, are skipped. The name stands for the file in errors, which are *Error.
func ParseGroups(name string, r io.Reader) (*Groups, error) {
	f := groupsFile{groups: &Groups{name: name, sets: map[string]Set{}}, lines: map[string][]groupLine{}}
	if err := eachLine(name, r, f.line); err != nil {
		return nil, err
	}
	var b builder
	for _, group := range slices.Sorted(maps.Keys(f.lines)) {
		s, err := f.resolve(group)
		if err != nil {
			return nil, err
		}
		b.addSet(s)
	}
	f.groups.all = b.set()
	return f.groups, nil
}

// Lookup returns the nodes of a group.
func (g *Groups) Lookup(name string) (Set, bool) {
	s, ok := g.sets[name]
	return s, ok
}

// Names returns the names of the groups, sorted. The slice is the caller's.
func (g *Groups) Names() []string { return slices.Sorted(maps.Keys(g.sets)) }

// All returns the nodes of all groups.
func (g *Groups) All() Set { return g.all }

// groupsFile is a groups file that is being read.
type groupsFile struct {
	groups *Groups
	lines  map[string][]groupLine
	path   []string // the groups that are being resolved, each named by the one before
}

// groupLine is one line of a group.
type groupLine struct {
	n          int
	line       string
	expression string // the end of line
}

func (f *groupsFile) line(n int, line string) *Error {
	group, expression, ok := strings.Cut(line, ":")
	if group = strings.TrimSpace(group); !ok || group == "" {
		return syntax(0, "write a group as name: nodes")
	}
	if names, err := groupNames(group, 0); err != nil || names.Len() != 1 {
		return syntax(0, "%q is no name of a group", group)
	}
	f.lines[group] = append(f.lines[group], groupLine{n, line, expression})
	return nil
}

// resolve returns the nodes of a group that the file has.
func (f *groupsFile) resolve(group string) (Set, *Error) {
	if s, ok := f.groups.sets[group]; ok {
		return s, nil
	}
	if slices.Contains(f.path, group) {
		return Set{}, syntax(0, "group @%s is part of itself", group)
	}
	f.path = append(f.path, group)
	defer func() { f.path = f.path[:len(f.path)-1] }()
	var b builder
	for _, l := range f.lines[group] {
		s, err := f.evaluate(l.expression)
		if err != nil {
			if err.Source == "" {
				err.Pos += len(l.line) - len(l.expression)
			}
			return Set{}, err.in(f.groups.name, l.n, l.line)
		}
		b.addSet(s)
	}
	s := b.set()
	f.groups.sets[group] = s
	return s, nil
}

// evaluate resolves the groups that an expression names, and then the expression.
func (f *groupsFile) evaluate(expression string) (Set, *Error) {
	err := elements(expression, func(e element) *Error {
		if e.text == "@*" || strings.ContainsAny(e.text, "*?") {
			return syntax(e.pos, "%s stands for all groups, so it cannot be part of one", e.text)
		}
		if e.text[0] != '@' {
			return nil
		}
		names, err := groupNames(e.text[1:], e.pos+1)
		if err != nil {
			return err
		}
		for name := range names.All() {
			if f.lines[name] == nil {
				continue // evaluating the expression will say so
			}
			if _, err := f.resolve(name); err != nil {
				if err.Source == "" {
					err.Pos = e.pos
				}
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Set{}, err
	}
	return (&Parser{Groups: f.groups}).evaluate(expression)
}
