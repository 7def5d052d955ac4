package files

import (
	"fmt"
	"path"
	"regexp"
	"strings"
)

// Syntax says how patterns are written.
type Syntax string

// The syntaxes.
const (
	// SyntaxAuto takes a pattern for a path where there is such a file or folder, and for a glob otherwise.
	SyntaxAuto Syntax = ""
	// SyntaxGlob is that of path.Match for each element; an element ** stands for any number of folders, also none.
	SyntaxGlob Syntax = "glob"
	// SyntaxRegex is a regular expression (package regexp) that matches somewhere in the path below the root; only
	// files and links are matched.
	SyntaxRegex Syntax = "regex"
)

// Selection says which files are meant.
type Selection struct {
	Patterns []string `json:"patterns"`
	Syntax   Syntax   `json:"syntax,omitempty"`
	// Exclude leaves out what matches, and all below it. A glob without a slash is compared with the last element of
	// a path, one with a slash with the whole path below the root.
	Exclude []string `json:"exclude,omitempty"`
}

const maxPatterns = 10_000

// matcher is a compiled pattern.
type matcher struct {
	glob  []string // elements; nil: regex
	regex *regexp.Regexp
	size  int // of regex
}

func compile(pattern string, syntax Syntax) (matcher, error) {
	if syntax == SyntaxRegex {
		re, size, err := compileRegex(pattern)
		return matcher{regex: re, size: size}, err
	}
	elements := strings.Split(strings.Trim(path.Clean("/"+pattern), "/"), "/")
	for _, element := range elements {
		if _, err := path.Match(element, ""); err != nil {
			return matcher{}, refuse(CodeName, pattern, fmt.Sprintf("%q is no glob: a [ or a \\ has no end", element))
		}
	}
	return matcher{glob: elements}, nil
}

// match reports whether p as a whole matches.
func (m matcher) match(p string) bool {
	if m.regex != nil {
		return m.regex.MatchString(p)
	}
	return matchElements(m.glob, strings.Split(p, "/"))
}

// matchElements compares the elements of a glob with those of a path. It goes back to the last ** only, so that its
// time is bounded by the product of both lengths whatever a client asks for.
func matchElements(glob, elements []string) bool {
	g, e := 0, 0
	wild, resume := -1, 0 // the last ** and the first element that it may yet swallow
	for e < len(elements) {
		if g < len(glob) && glob[g] == "**" {
			wild, resume = g, e
			if g++; g == len(glob) {
				return true
			}
			continue
		}
		if g < len(glob) {
			if ok, _ := path.Match(glob[g], elements[e]); ok {
				g, e = g+1, e+1
				continue
			}
		}
		if wild < 0 {
			return false
		}
		resume++
		g, e = wild+1, resume
	}
	return g == len(glob)
}

// leads reports whether something below folder p may match.
func (m matcher) leads(p string) bool {
	if m.regex != nil || p == "." {
		return true
	}
	for i, element := range strings.Split(p, "/") {
		if i >= len(m.glob) {
			return false
		}
		if m.glob[i] == "**" {
			return true
		}
		if ok, _ := path.Match(m.glob[i], element); !ok {
			return false
		}
	}
	return true
}

// fixed returns the folder up to the first wildcard of a glob.
func (m matcher) fixed() string {
	dir := "."
	for _, element := range m.glob[:len(m.glob)-1] {
		if hasMeta(element) {
			break
		}
		dir = join(dir, element)
	}
	return dir
}

func hasMeta(pattern string) bool { return strings.ContainsAny(pattern, `*?[\`) }

// excluder says what is left out.
type excluder []matcher

func compileExclude(s Selection) (excluder, error) {
	x := make(excluder, 0, len(s.Exclude))
	size := 0
	for _, pattern := range s.Exclude {
		m, err := compile(pattern, s.Syntax)
		if err != nil {
			return nil, err
		}
		if size += m.size; size > maxRegexBytes {
			return nil, refuse(CodeName, pattern, "too many regular expressions: they take too much memory")
		}
		if m.regex == nil && !strings.Contains(strings.Trim(pattern, "/"), "/") {
			m.glob = append([]string{"**"}, m.glob...)
		}
		x = append(x, m)
	}
	return x, nil
}

func (x excluder) match(p string) bool {
	for _, m := range x {
		if m.match(p) {
			return true
		}
	}
	return false
}

// above reports whether a folder that p is in matches.
func (x excluder) above(p string) bool {
	for i := range len(p) {
		if p[i] == '/' && x.match(p[:i]) {
			return true
		}
	}
	return false
}
