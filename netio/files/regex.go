package files

import (
	"fmt"
	"regexp"
	"regexp/syntax"
)

// Limits of regular expressions, which others write: a few bytes can stand for a great deal of memory.
const (
	maxRegex      = 1 << 10 // bytes of one as it is written
	maxRegexBytes = 4 << 20 // of memory, about, for one pattern or for all that is excluded
)

// compileRegex compiles a regular expression whose size is within the limits, and returns that size.
func compileRegex(pattern string) (*regexp.Regexp, int, error) {
	if len(pattern) > maxRegex {
		text := fmt.Sprintf("regular expression of %d bytes, the limit is %d", len(pattern), maxRegex)
		return nil, 0, refuse(CodeName, pattern[:64]+"…", text)
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, 0, refuse(CodeName, pattern, err.Error())
	}
	size := 1<<10 + regexSize(parsed)
	if size > maxRegexBytes {
		return nil, 0, refuse(CodeName, pattern, "regular expression that takes too much memory")
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil, 0, refuse(CodeName, pattern, err.Error())
	}
	return re, size, nil
}

// regexSize estimates the memory of a regular expression once its repetitions are written out.
func regexSize(re *syntax.Regexp) int {
	const instruction = 100
	size := instruction
	for _, sub := range re.Sub {
		size += regexSize(sub)
	}
	switch re.Op {
	case syntax.OpLiteral:
		size += instruction * len(re.Rune)
	case syntax.OpCharClass:
		size += 4 * len(re.Rune)
	case syntax.OpRepeat:
		size *= max(re.Min, re.Max, 1)
	}
	return size
}
