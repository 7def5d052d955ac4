package lines

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// MaxLine bounds a line of an input file, in bytes without its line end.
const MaxLine = 1 << 20

// Reasons why a line, or a whole input, is refused.
var (
	errLongLine   = errors.New("the line is longer than 1 MiB")
	errLongRecord = errors.New("it is longer than a task may be")
	errUTF16      = errors.New("UTF-16, not UTF-8: convert it, as iconv -f utf-16 -t utf-8 does")
	errCompressed = errors.New("compressed, not text: expand it first, as gunzip or unzstd do")
)

// Options say how a Scanner takes an input apart. The zero value is that of commands and table files.
type Options struct {
	// Null says that each line ends in a NUL byte and is taken as it is: nothing is trimmed, and nothing but an empty line is
	// skipped.
	Null bool
	// Longest is the longest line in bytes, MaxLine if zero.
	Longest int
}

// Scanner reads the lines of an input, however long that is, in memory for one line. Lines end in LF or CRLF; blanks
// around a line are trimmed; blank lines, and those that begin with #, are skipped; a leading byte order mark is no text. An
// input in UTF-16, or one that is compressed, is refused as a whole. One goroutine may use it.
type Scanner struct {
	in      *bufio.Reader
	options Options
	number  int
	text    []byte
	joined  []byte // memory for lines longer than the reader's buffer
	refused error
	err     error
}

// NewScanner returns a scanner of r, of which it reads ahead.
func NewScanner(r io.Reader, o Options) *Scanner {
	if o.Longest == 0 {
		o.Longest = MaxLine
	}
	return &Scanner{in: bufio.NewReaderSize(r, 64<<10), options: o}
}

// Scan goes to the next line that says something, or is refused. False means that there is none, or Err.
func (s *Scanner) Scan() bool {
	for s.err == nil {
		whole := s.read()
		if s.number == 0 {
			if wrong := looksWrong(s.text, s.options.Null); wrong != nil {
				s.err = wrong
				return false
			}
		}
		if s.err != nil && s.err != io.EOF {
			return false
		}
		if s.err == io.EOF && whole && len(s.text) == 0 {
			return false
		}
		s.number++
		s.refused = nil
		if whole {
			s.trim()
			whole = len(s.text) <= s.options.Longest
		}
		if !whole {
			s.text, s.refused = nil, s.tooLong()
			return true
		}
		if len(s.text) > 0 && (s.options.Null || s.text[0] != '#') {
			return true
		}
	}
	return false
}

// Line is the number of the line, from 1.
func (s *Scanner) Line() int { return s.number }

// Bytes is the line; valid until the next Scan.
func (s *Scanner) Bytes() []byte { return s.text }

// Refused is why the line cannot be used, such as its length; nil if it can.
func (s *Scanner) Refused() error { return s.refused }

// Err is why there are no more lines; nil at the end of the input. One that matches ErrBadFile is about what the input is, any
// other is the reader's.
func (s *Scanner) Err() error {
	if s.err == io.EOF {
		return nil
	}
	return s.err
}

func (s *Scanner) tooLong() error {
	if s.options.Longest == MaxLine {
		return errLongLine
	}
	return errLongRecord
}

// read takes a line in, with its end; false means that it is too long, and was not kept.
func (s *Scanner) read() (whole bool) {
	end := byte('\n')
	if s.options.Null {
		end = 0
	}
	s.text, s.err = s.in.ReadSlice(end)
	if !errors.Is(s.err, bufio.ErrBufferFull) {
		return true
	}
	longest := s.options.Longest + len(bom) + len("\r\n")
	s.joined = s.joined[:0]
	whole = true
	for more := true; more; {
		if whole = whole && len(s.joined)+len(s.text) <= longest; whole {
			s.joined = append(s.joined, s.text...)
		}
		if more = errors.Is(s.err, bufio.ErrBufferFull); more {
			s.text, s.err = s.in.ReadSlice(end)
		}
	}
	s.text = s.joined
	return whole
}

const bom = "\ufeff"

const blanks = " \t\v\f"

// trim takes off what does not belong to the line.
func (s *Scanner) trim() {
	if s.options.Null {
		s.text = bytes.TrimSuffix(s.text, []byte{0})
		return
	}
	s.text = bytes.TrimSuffix(s.text, []byte{'\n'})
	s.text = bytes.TrimSuffix(s.text, []byte{'\r'})
	if s.number == 1 {
		s.text = bytes.TrimPrefix(s.text, []byte(bom))
	}
	if n := len(s.text); n > 0 && (s.text[0] <= ' ' || s.text[n-1] <= ' ') {
		s.text = bytes.Trim(s.text, blanks)
	}
}

// looksWrong reports whether an input that begins like this is no text that a scanner could read. UTF-16 is known by its byte
// order mark or, of text in a Latin script, by every other byte being zero.
func looksWrong(first []byte, null bool) error {
	var wrong error
	switch {
	case bytes.HasPrefix(first, []byte{0xff, 0xfe}), bytes.HasPrefix(first, []byte{0xfe, 0xff}):
		wrong = errUTF16
	case bytes.HasPrefix(first, []byte{0x1f, 0x8b}), bytes.HasPrefix(first, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		wrong = errCompressed
	case len(first) >= 4 && !null && (first[0] == 0) != (first[1] == 0) &&
		(first[0] == 0) == (first[2] == 0) && (first[1] == 0) == (first[3] == 0):
		wrong = errUTF16
	}
	if wrong == nil {
		return nil
	}
	return &FileError{Name: "input", Problems: []Problem{{Reason: wrong.Error()}}}
}

// Scan calls each for every line of r that a Scanner gives; text is valid until each returns. The lines that each
// refuses, and those longer than MaxLine, come back as problems, the text of the error being the reason; an input that is no
// text at all is a problem of line 0. The error of Scan itself is one of r.
func Scan(r io.Reader, each func(line int, text []byte) error) ([]Problem, error) {
	var problems []Problem
	s := NewScanner(r, Options{})
	for s.Scan() {
		err := s.Refused()
		if err == nil {
			err = each(s.Line(), s.Bytes())
		}
		if err != nil {
			problems = append(problems, Problem{Line: s.Line(), Reason: err.Error()})
		}
	}
	var file *FileError
	if errors.As(s.Err(), &file) {
		return append(problems, file.Problems...), nil
	}
	return problems, s.Err()
}
