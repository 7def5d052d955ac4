package lines

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf16"
)

// inUTF16 encodes text, which is small, with a byte order mark or without.
func inUTF16(text string, bigEndian, mark bool) string {
	units := utf16.Encode([]rune(text))
	if mark {
		units = append([]uint16{0xfeff}, units...)
	}
	var b strings.Builder
	for _, u := range units {
		low, high := byte(u), byte(u>>8)
		if bigEndian {
			low, high = high, low
		}
		b.Write([]byte{low, high})
	}
	return b.String()
}

func TestLineScanner(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	for _, c := range []struct {
		name, in string
		options  Options
		want     []string // number, then the line, or ! where it is refused
		bad      bool     // the whole input
	}{
		{"plain", "a\nb", Options{}, []string{"1 a", "2 b"}, false},
		{"line ends and blanks", "\ufeffa\r\n b \r\n\tc\t\n \n\r\n# d\n  # e\nf # g", Options{}, []string{"1 a", "2 b", "3 c", "8 f # g"}, false},
		{"nothing", "", Options{}, nil, false},
		{"NUL", " a\x00b\nc\x00\x00# d\x00\ufeffe", Options{Null: true}, []string{"1  a", "2 b\nc", "4 # d", "5 \ufeffe"}, false},
		{"too long", "a\n" + long + "y\n" + long + "\nb", Options{Longest: 200_000}, []string{"1 a", "2 !", "3 " + long, "4 b"}, false},
		{"too long without an end", "a\n" + long + long, Options{Longest: 200_000}, []string{"1 a", "2 !"}, false},
		{"UTF-16, little endian", inUTF16("a:b\nc:d\n", false, true), Options{}, nil, true},
		{"UTF-16, big endian", inUTF16("a:b\nc:d\n", true, true), Options{}, nil, true},
		{"UTF-16 without a mark", inUTF16("a:b\nc:d", false, false), Options{}, nil, true},
		{"UTF-16, big endian, without a mark", inUTF16("a:b", true, false), Options{}, nil, true},
		{"gzip", "\x1f\x8b\x08\x00", Options{}, nil, true},
		{"zero bytes in text", "a\x00bc\n", Options{}, []string{"1 a\x00bc"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, r := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
				s := NewScanner(r, c.options)
				var got []string
				for s.Scan() {
					line := string(s.Bytes())
					if s.Refused() != nil {
						line = "!"
					}
					got = append(got, fmt.Sprint(s.Line(), " ", line))
				}
				if !slices.Equal(got, c.want) || errors.Is(s.Err(), ErrBadFile) != c.bad {
					t.Errorf("got %.200q, %v, want %.200q", got, s.Err(), c.want)
				}
			}
		})
	}
}

func TestLineScannerReadError(t *testing.T) {
	broken := errors.New("broken")
	s := NewScanner(io.MultiReader(strings.NewReader("a\nb"), iotest.ErrReader(broken)), Options{})
	if !s.Scan() || string(s.Bytes()) != "a" || s.Scan() || !errors.Is(s.Err(), broken) {
		t.Errorf("%q, %v", s.Bytes(), s.Err())
	}
}
