package target

import (
	"errors"
	"strings"
	"testing"
)

// FuzzParseAndFold holds that what parses folds to what parses into the same, that every target is found again, and that
// errors point into the text and print as one line.
func FuzzParseAndFold(f *testing.F) {
	for _, test := range folds {
		f.Add(test.text)
	}
	f.Add("@rack[1-2]!web*")
	f.Add("a[1-9/2]^a[3-20],@*")
	groups, err := ParseGroups("groups", strings.NewReader(groupsText))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := (&Parser{Groups: groups, MaxPieces: 1 << 10}).Parse(text)
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Pos < 0 || e.Pos > len(e.Text) || strings.ContainsAny(err.Error(), "\n\r\x1b") {
				t.Fatalf("%q: error %q", text, err)
			}
			return
		}
		folded := s.String()
		again, err := Parse(folded)
		if err != nil || !again.Equal(s) || again.Len() != s.Len() || again.String() != folded {
			t.Fatalf("%q folds to %q, which parses into %q, %v", text, folded, again, err)
		}
		for k := range min(s.Len(), 50) {
			i := s.Len() - 1 - k
			host := s.At(i)
			if !s.Contains(host) {
				t.Fatalf("%q: %q at %d is not in it", text, host, i)
			}
			if one, err := Parse(host); err != nil || one.Len() != 1 || one.At(0) != host {
				t.Fatalf("%q: %q at %d parses into %q, %v", text, host, i, one, err)
			}
		}
	})
}
