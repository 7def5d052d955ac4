package target

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
)

// folds are expressions, what they fold to, and how many targets they have.
var folds = []struct {
	text, folded string
	count        uint64
}{
	{"", "", 0},
	{"  ", "", 0},
	{"localhost", "localhost", 1},
	{"web[01-40],db[1-3]!web07", "db[1-3],web[01-06,08-40]", 42},
	{"n[9-11],n[09-11]", "n[9,09-11]", 4},
	{"n[1-120]", "n[1-120]", 120},
	{"n[08-11],n100", "n[08-11,100]", 5},
	{"n[099-101]", "n[099-101]", 3},
	{"n1,n01,n001,n10,n010", "n[1,01,10,001,010]", 5},
	{"n[0-10]", "n[0-10]", 11},
	{"n[00-10]", "n[00-10]", 11},
	{"web[1-2][4-5]", "web[14-15,24-25]", 4},
	{"node1[8-11]", "node[18-19,110-111]", 4},
	{"node[1-2]0", "node[10,20]", 2},
	{"node[01-02]01", "node[0101,0201]", 2},
	{"a[1,11][1,11]", "a[11,111,1111]", 3},
	{"a b,c\t! b", "a,c", 2},
	{"a[ 1 - 3 , 5 ]", "a[1-3,5]", 4},
	{"a[1-10/3]", "a[1,4,7,10]", 4},
	{"a[08-12/2]", "a[08,10,12]", 3},
	{"a[8-12/2]", "a[8,10,12]", 3},
	{"a[1-3/1]", "a[1-3]", 3},
	{"[1-5]", "[1-5]", 5},
	{"a[1-3],b[2-4]&b[1-9]", "b[2-4]", 3},
	{"a[1-5]^a[3-7]", "a[1-2,6-7]", 4},
	{"a[1-5]!a[1-5]", "", 0},
	{"a[1-3]b[1-2]!a2b1", "a[1,3]b[1-2],a2b2", 5},
	{"r[1-4]n[01-32],r5n[01-16]", "r[1-4]n[01-32],r5n[01-16]", 144},
	{"a[1-3]b", "a[1-3]b", 3},
	{"WEB1.Example.COM", "web1.example.com", 1},
	{"Root@WEB[1-2]", "Root@web[1-2]", 2},
	{"host12345678901234567890", "host12345678901234567890", 1},
	{"büro[1-2]", "büro[1-2]", 2},

	{"10.0.0.7", "10.0.0.7", 1},
	{"127.0.0.0/20", "127.0.0.0/20", 4096},
	{"10.0.0.5/24", "10.0.0.0/24", 256},
	{"10.0.0.5/32", "10.0.0.5", 1},
	{"10.0.0.0/28", "10.0.0.[0-15]", 16},
	{"10.0.0.1-10.0.0.9", "10.0.0.[1-9]", 9},
	{"10.0.0.[1-9]", "10.0.0.[1-9]", 9},
	{"10.0.0.1[0-9]", "10.0.0.[10-19]", 10},
	{"10.[0-3].[0-255].[0-255]", "10.0.0.0/14", 1 << 18},
	{"10.[0-1].0.[1-254]", "10.0.0.[1-254],10.1.0.[1-254]", 508},
	{"10.0.0.0/8!10.0.0.0/28", "10.0.0.16-10.255.255.255", 1<<24 - 16},
	{"10.0.0.0/24,10.0.2.0/24,10.0.1.7,10.0.1.9", "10.0.0.0/24,10.0.1.[7,9],10.0.2.0/24", 514},
	{"0.0.0.0/0", "0.0.0.0/0", 1 << 32},
	{"255.255.255.255,0.0.0.0", "0.0.0.0,255.255.255.255", 2},
	{"::ffff:10.0.0.1", "10.0.0.1", 1},

	{"[2001:DB8::1],2001:db8:0:0::1", "2001:db8::1", 1},
	{"2001:db8::/120", "2001:db8::/120", 256},
	{"[2001:db8::]/120", "2001:db8::/120", 256},
	{"2001:db8::1-2001:db8::9", "2001:db8::1-2001:db8::9", 9},
	{"[2001:db8::1]-[2001:db8::9]", "2001:db8::1-2001:db8::9", 9},
	{"2001:db8::/64!2001:db8::5", "2001:db8::-2001:db8::4,2001:db8::6-2001:db8::ffff:ffff:ffff:ffff", math.MaxUint64},
	{"::/0", "::/0", math.MaxUint64},
	{"::/0!::/1", "8000::/1", math.MaxUint64},
	{"fe80::1%eth0", "fe80::1%eth0", 1},
	{"fe80::1%eth-0", "fe80::1%eth-0", 1},
	{"fe80::1%eth0-fe80::4%eth0", "fe80::1%eth0-fe80::4%eth0", 4},
	{"b,10.0.0.1,::1,a", "a,b,10.0.0.1,::1", 4},
}

func TestFold(t *testing.T) {
	for _, test := range folds {
		s, err := Parse(test.text)
		if err != nil {
			t.Errorf("%q: %v", test.text, err)
			continue
		}
		if s.String() != test.folded || s.Len() != test.count {
			t.Errorf("%q: %d targets %q, want %d %q", test.text, s.Len(), s, test.count, test.folded)
		}
		if again, err := Parse(test.folded); err != nil || !again.Equal(s) {
			t.Errorf("%q parses into %q, %v", test.folded, again, err)
		}
	}
}

func TestErrorsSayWhere(t *testing.T) {
	for _, test := range []struct {
		text string
		pos  int
		part string // of the message
		kind error
	}{
		{"a,,b", 2, "missing before the ','", ErrSyntax},
		{",a", 0, "missing before", ErrSyntax},
		{"a!", 1, "nothing follows the '!'", ErrSyntax},
		{"a & ^b", 4, "missing before the '^'", ErrSyntax},
		{"web[1", 3, "not closed", ErrSyntax},
		{"ab,web]", 6, "without a [", ErrSyntax},
		{"web[1[2]", 5, "inside of brackets", ErrSyntax},
		{"web[]", 4, "a number is missing", ErrSyntax},
		{"web[1,]", 6, "a number is missing", ErrSyntax},
		{"web[5-1]", 4, "write 1-5", ErrSyntax},
		{"web[1-3,x]", 8, "no range of numbers", ErrSyntax},
		{"web[1-2-3]", 4, "no range of numbers", ErrSyntax},
		{"web[-5]", 4, "no range of numbers", ErrSyntax},
		{"web[01-100]", 4, "write 01-99,100", ErrSyntax},
		{"web[01-200]", 4, "write 01-99,100-200", ErrSyntax},
		{"web[1-010]", 4, "write 001-010", ErrSyntax},
		{"web[001-5]", 4, "write 001-005", ErrSyntax},
		{"web[1-9/0]", 4, "from 1 on", ErrSyntax},
		{"web[1/2]", 4, "after a range", ErrSyntax},
		{"web[1234567890123456789]", 4, "at most 18", ErrSyntax},
		{"web1234567890[123456789]", 13, "at most 18", ErrSyntax},
		{"web1:22", 4, "colon", ErrSyntax},
		{"web[1-3]/24", 8, "after an address", ErrSyntax},
		{"web#1", 3, "'#' cannot stand", ErrSyntax},
		{"web\x1b", 3, `'\x1b'`, ErrSyntax},
		{"web\xff", 3, "UTF-8", ErrSyntax},
		{"-rf", 0, "begin with", ErrSyntax},
		{strings.Repeat("x", 400), 0, "400 bytes", ErrSyntax},
		{strings.Repeat("1x", 65), 0, "64 numbers", ErrSyntax},
		{"10.0.0.300", 0, "300 cannot stand", ErrSyntax},
		{"10.0.0.[1-300]", 0, "300 cannot stand", ErrSyntax},
		{"10.0.0.007", 0, "no zeros", ErrSyntax},
		{"10.0.0.0/33", 9, "from 0 to 32", ErrSyntax},
		{"2001:db8::/129", 11, "from 0 to 128", ErrSyntax},
		{"10.0.0.1-9", 9, "10.0.0.1-10.0.0.9", ErrSyntax},
		{"10.0.0.9-10.0.0.1", 0, "write 10.0.0.1-10.0.0.9", ErrSyntax},
		{"10.0.0.1-::1", 0, "mixes", ErrSyntax},
		{"fe80::1%a-fe80::2%b", 0, "two zones", ErrSyntax},
		{"fe80::%eth0/64", 0, "no zone", ErrSyntax},
		{"[::1", 0, "not closed", ErrSyntax},
		{"1:2:3", 0, "no address", ErrSyntax},
		{"fe80::1%\x1b[31m", 8, "", ErrSyntax},
		{"-", 0, "standard input", ErrSyntax},
		{"a,@rack1", 2, "no groups file", ErrUnknownGroup},
		{"a,web*", 2, "none is given", ErrUnknownGroup},
		{"a[0-4000000/2]", 2, "2000001 numbers", ErrTooLarge},
		{"10.[0-255].[0-255].[0-254/2]", 0, "ranges of addresses", ErrTooLarge},
		{"a[0-2000000][1-2]", 12, "side by side", ErrTooLarge},
	} {
		_, err := Parse(test.text)
		var e *Error
		if !errors.As(err, &e) || !errors.Is(err, test.kind) {
			t.Errorf("%q: %v, want %v", test.text, err, test.kind)
			continue
		}
		if !strings.Contains(e.Msg, test.part) || (e.Pos != test.pos && test.part != "") {
			t.Errorf("%q: %d %q, want %d %q", test.text, e.Pos, e.Msg, test.pos, test.part)
		}
		if text := err.Error(); strings.ContainsAny(text, "\x1b\n") || len(text) > 700 {
			t.Errorf("%q: the error is %q", test.text, text)
		}
	}
}

func TestErrorShowsAPartOfALongExpression(t *testing.T) {
	_, err := Parse(strings.Repeat("aaaaaaaa,", 1000) + "b]" + strings.Repeat(",cccccccc", 1000))
	if err == nil || !strings.Contains(err.Error(), "character 9002") || !strings.Contains(err.Error(), "b]") || len(err.Error()) > 200 {
		t.Errorf("got %v", err)
	}
}

func TestLimits(t *testing.T) {
	p := Parser{MaxPieces: 100}
	if _, err := p.Parse("a[1-1000000]"); err != nil {
		t.Errorf("one range is one piece: %v", err)
	}
	if _, err := p.Parse("a[1-300/2]"); !errors.Is(err, ErrTooLarge) {
		t.Errorf("150 pieces: %v", err)
	}
	names := make([]string, 200)
	for i := range names {
		names[i] = fmt.Sprintf("n%dx", 2*i)
	}
	if _, err := p.Parse(strings.Join(names, ",")); !errors.Is(err, ErrTooLarge) {
		t.Errorf("200 names that do not fold: %v", err)
	}
	if _, err := p.ReadHosts("hosts", strings.NewReader(strings.Join(names, "\n"))); !errors.Is(err, ErrTooLarge) {
		t.Errorf("200 lines that do not fold: %v", err)
	}
}

// TestLargeSetsCostNoMemory permutes the whole of a /8 and of a set with three numbers by index.
func TestLargeSetsCostNoMemory(t *testing.T) {
	for _, test := range []struct {
		text        string
		index       uint64
		host, after string
	}{
		{"10.0.0.0/8!10.0.0.0/28", 1<<24 - 17, "10.255.255.255", "10.0.0.16"},
		{"r[1-9999]n[0001-9999]-[0-99]", 9999*9999*100 - 1, "r9999n9999-99", "r1n0001-0"},
	} {
		s, err := Parse(test.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.At(test.index); got != test.host || s.At(0) != test.after || s.Len() != test.index+1 {
			t.Errorf("%s: %s of %d at the end, %s at the start", test.text, got, s.Len(), s.At(0))
		}
		if allocated := testing.AllocsPerRun(100, func() { s.At(s.Len() / 3) }); allocated > 4 {
			t.Errorf("%s: At allocates %v times", test.text, allocated)
		}
	}
}

func TestAllStopsWhenTold(t *testing.T) {
	s, err := Parse("10.0.0.0/8")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for host := range s.All() {
		if got = append(got, host); len(got) == 3 {
			break
		}
	}
	if want := []string{"10.0.0.0", "10.0.0.1", "10.0.0.2"}; !slices.Equal(got, want) {
		t.Errorf("got %v", got)
	}
}

func TestContainsAnySpelling(t *testing.T) {
	s, err := Parse("Web[01-40],2001:db8::/32,10.0.0.0/8,me@x")
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{
		"web07": true, "WEB07": true, "web7": false, "web41": false, "web[01-02]": false, "": false, "-": false, "@x": false,
		"[2001:DB8::7]": true, "2001:0db8::7": true, "2001:db9::": false, "10.1.2.3": true, "11.0.0.0": false,
		"::ffff:10.1.2.3": true, "me@X": true, "ME@x": false, "web01,web02": false,
	} {
		if s.Contains(host) != want {
			t.Errorf("Contains(%q) is %v", host, !want)
		}
	}
}

func TestOfFoldsWhatOthersWrote(t *testing.T) {
	got := Of(slices.Values([]string{"web2", "web1", "WEB3", "10.0.0.2", "10.0.0.1", "what is this?", "x\x00y", "web1"}))
	if want := `web[1-3],what is this?,x\0y,10.0.0.[1-2]`; got.String() != want || got.Len() != 7 {
		t.Errorf("%d %q, want %q", got.Len(), got, want)
	}
}
