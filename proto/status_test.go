package proto

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestErrorRoundTrip(t *testing.T) {
	for _, want := range []Error{
		{},
		{Code: CodeTooLarge, Text: "answer of 2 MiB"},
		{Code: CodeOwn, Details: []byte{0, 1, 2}},
		{Code: 0xFFFF, Text: strings.Repeat("x", maxErrorText), Details: []byte("details")},
	} {
		body := checkAppend(t, func(dst []byte) []byte { return AppendError(dst, want) })
		if got, err := ParseError(body); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %.100v, error %v, want %.100v", got, err, want)
		}
	}
	if got, err := ParseError(nil); err != nil || !reflect.DeepEqual(got, Error{}) {
		t.Errorf("no bytes: %+v, %v", got, err)
	}
}

func TestErrorTruncations(t *testing.T) {
	body := AppendError(nil, Error{Code: 1, Text: "text", Details: []byte("details")})
	checkTruncations(t, body, func(n int) bool { return n == 0 || n >= 8 }, errOf(ParseError))
	checkMalformed(t, errOf(ParseError), map[string][]byte{"text beyond": {0, 0, 0xFF, 0xFF, 'x'}})
}

func TestErrorCut(t *testing.T) {
	for _, text := range []string{
		strings.Repeat("x", 70000), strings.Repeat("ä", 40000), "x" + strings.Repeat("鯡", 30000), strings.Repeat("\xBF", 70000),
	} {
		details := []byte("details")
		got, err := ParseError(AppendError(nil, Error{Text: text, Details: details}))
		if err != nil || !strings.HasPrefix(text, got.Text) || len(got.Text) <= maxErrorText-utf8.UTFMax || !bytes.Equal(got.Details, details) {
			t.Errorf("text of %d bytes: %d left, details %q, error %v", len(text), len(got.Text), got.Details, err)
		}
		if utf8.ValidString(text) && !utf8.ValidString(got.Text) {
			t.Errorf("text cut within a character: it ends in %q", got.Text[len(got.Text)-4:])
		}
	}
}

func TestUnknownNames(t *testing.T) {
	for got, want := range map[string]string{
		Status(11).String():      "status_11",
		Status(255).String():     "status_255",
		GoodbyeCode(10).String(): "goodbye code 10",
		Shape(4).String():        "shape 4",
		Compression(3).String():  "compression 3",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
