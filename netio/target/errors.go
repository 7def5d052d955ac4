package target

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// What errors.Is finds in an *Error.
var (
	ErrSyntax       = errors.New("malformed targets")
	ErrTooLarge     = errors.New("too many targets")
	ErrUnknownGroup = errors.New("unknown group")
)

// Error says what is wrong with an expression, and where.
type Error struct {
	Source string // the file; empty for an expression of the caller
	Line   int    // in Source, from 1
	Text   string // the expression, or the line
	Pos    int    // in Text, in bytes from 0
	Msg    string // what is wrong, and what to write
	Kind   error  // ErrSyntax, ErrTooLarge, ErrUnknownGroup, or the error of a reader
}

// shownText bounds how much of the text an error repeats around the position.
const shownText = 60

// Error is one printable line, whatever the text holds.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Source != "" {
		fmt.Fprintf(&b, "%s:%d: ", e.Source, e.Line)
	}
	if e.Text != "" {
		from, to := max(0, e.Pos-shownText/2), min(len(e.Text), e.Pos+shownText/2)
		text := e.Text[from:to]
		if from > 0 {
			text = "…" + text
		}
		if to < len(e.Text) {
			text += "…"
		}
		fmt.Fprintf(&b, "%q, character %d: ", text, 1+utf8.RuneCountInString(e.Text[:min(e.Pos, len(e.Text))]))
	}
	b.WriteString(e.Msg)
	return b.String()
}

// Unwrap returns Kind.
func (e *Error) Unwrap() error { return e.Kind }

func syntax(pos int, format string, args ...any) *Error {
	return &Error{Pos: pos, Msg: fmt.Sprintf(format, args...), Kind: ErrSyntax}
}

func tooLarge(pos int, format string, args ...any) *Error {
	return &Error{Pos: pos, Msg: fmt.Sprintf(format, args...), Kind: ErrTooLarge}
}
