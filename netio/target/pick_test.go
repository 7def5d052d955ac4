package target

import (
	"errors"
	"math"
	"testing"
)

func TestPick(t *testing.T) {
	for _, text := range []string{"web[1-100],db[1-7]x[1-3]", "10.0.0.0/8", "::/0"} {
		s := parsed(t, text)
		for _, n := range []uint64{0, 1, 10, 100, 120} {
			a, err := s.Pick(n, 1)
			if err != nil || a.Len() != n {
				t.Errorf("%s: %d picked, %v", text, a.Len(), err)
				continue
			}
			if !a.Minus(s).Equal(Set{}) {
				t.Errorf("%s: picked %s, which are not in it", text, a.Minus(s))
			}
			if same, _ := s.Pick(n, 1); !same.Equal(a) {
				t.Errorf("%s: the same seed picks others", text)
			}
			if other, _ := s.Pick(n, 2); n == 10 && other.Equal(a) {
				t.Errorf("%s: another seed picks the same", text)
			}
		}
	}
	s := parsed(t, "10.0.0.0/8")
	if _, err := s.Pick(1<<21, 1); !errors.Is(err, ErrTooLarge) {
		t.Errorf("two millions: %v", err)
	}
	if all, err := s.Pick(1<<24, 1); err != nil || !all.Equal(s) {
		t.Errorf("all: %v, %v", all, err)
	}
}

// TestPickIsFair picks two of ten often, and looks how often each comes.
func TestPickIsFair(t *testing.T) {
	s := parsed(t, "n[0-9]")
	counts := map[string]int{}
	for seed := range uint64(5000) {
		picked, err := s.Pick(2, seed)
		if err != nil {
			t.Fatal(err)
		}
		for name := range picked.All() {
			counts[name]++
		}
	}
	for name := range s.All() {
		if counts[name] < 800 || counts[name] > 1200 {
			t.Errorf("%s was picked %d times of 5000, 1000 expected", name, counts[name])
		}
	}
}

func TestShare(t *testing.T) {
	for _, test := range []struct {
		text      string
		total, of uint64
	}{
		{"25", 100, 25}, {"25", 7, 7}, {"0", 7, 0}, {"10%", 100, 10}, {"10%", 101, 11}, {"0.1%", 7, 1}, {"100%", 7, 7},
		{"5%", 0, 0}, {"100%", math.MaxUint64, math.MaxUint64}, {"33%", 3, 1}, {"1%", 100, 1}, {"7%", 100, 7}, {"50%", 14, 7},
		{"0.1%", 1000, 1}, {"0.7%", 1000, 7},
	} {
		s, err := ParseShare(test.text)
		if err != nil || s.Of(test.total) != test.of || s.String() != test.text {
			t.Errorf("%s of %d: %d, %v, %s", test.text, test.total, s.Of(test.total), err, s)
		}
	}
	for _, text := range []string{"", "%", "0%", "101%", "-1", "-1%", "x", "NaN%", "1e9%"} {
		if s, err := ParseShare(text); err == nil {
			t.Errorf("%q: %v", text, s)
		}
	}
}
