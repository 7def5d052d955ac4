package lines

import (
	"errors"
	"fmt"
	"strings"
)

// ErrBadFile is what errors.Is finds in the error of an input file that cannot be used as it is.
var ErrBadFile = errors.New("bad input file")

// shownProblems is how many lines an error names: enough to see a pattern, few enough to leave the terminal readable.
const shownProblems = 20

// Problem says what is wrong with one line of an input file. Line counts from 1; 0 is the file as a whole.
type Problem struct {
	Line   int
	Reason string
}

// FileError names everything that is wrong with an input file. It is an ErrBadFile.
type FileError struct {
	Name     string
	Problems []Problem // in the order of the lines, never empty
}

// Error prints a line `file:line: reason` for each of the first 20 problems, then how many more there are.
func (e *FileError) Error() string {
	var b strings.Builder
	for i, p := range e.Problems {
		if i == shownProblems {
			fmt.Fprintf(&b, "\n… and %d more", len(e.Problems)-shownProblems)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		if p.Line == 0 {
			fmt.Fprintf(&b, "%s: %s", e.Name, p.Reason)
		} else {
			fmt.Fprintf(&b, "%s:%d: %s", e.Name, p.Line, p.Reason)
		}
	}
	return b.String()
}

// Is makes every FileError an ErrBadFile.
func (e *FileError) Is(target error) bool { return target == ErrBadFile }
