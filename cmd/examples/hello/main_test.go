package main

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"testing"
)

func TestHello(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), &out, "", 20); err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(fmt.Sprintf(`client \d+ said: Hi from %d; got: Hi (127\.0\.0\.1:\d+)\. This is server %[1]d\n`, os.Getpid()))
	seen := map[string]bool{}
	for _, match := range line.FindAllStringSubmatch(out.String(), -1) {
		seen[match[1]] = true
	}
	if len(seen) != 20 || len(line.ReplaceAllString(out.String(), "")) > 0 {
		t.Errorf("%d different clients:\n%s", len(seen), out.String())
	}
}
