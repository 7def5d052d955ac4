package wildcard

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// TestMatch holds all short patterns and texts against regular expressions.
func TestMatch(t *testing.T) {
	for _, pattern := range words("ab*?", 4) {
		model := regexp.MustCompile("^" + strings.NewReplacer("*", ".*", "?", ".").Replace(pattern) + "$")
		for _, text := range words("ab*", 4) {
			if got, want := Match(pattern, text), model.MatchString(text); got != want {
				t.Errorf("%q matches %q: %v", pattern, text, got)
			}
		}
	}
	if Match(strings.Repeat("a*", 1000)+"b", strings.Repeat("a", 1000)) { // and does not take for ever
		t.Error("a pattern that ends in b matches a text without")
	}
}

// words returns all words of at most n of these letters.
func words(letters string, n int) []string {
	all := []string{""}
	for begin := 0; n > 0; n-- {
		end := len(all)
		for _, word := range all[begin:end] {
			for _, letter := range letters {
				all = append(all, fmt.Sprintf("%s%c", word, letter))
			}
		}
		begin = end
	}
	return all
}
