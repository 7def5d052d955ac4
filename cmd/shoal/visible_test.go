package main

import (
	"bytes"
	"testing"
)

// However the bytes are cut into writes, a terminal gets nothing that it would obey.
func TestVisibleWriter(t *testing.T) {
	const text = "a\x1b]0;title\x07b\tc\r\nd\rover\x00\x7f\u009b31m é 世界 \xff\x9bend\n\xc3"
	const want = "a\\x1b]0;title\\x07b\tc\r\nd\\x0dover\\x00\\x7f\\xc2\\x9b31m é 世界 \\xff\\x9bend\n\\xc3"
	for cut := range len(text) + 1 {
		var got bytes.Buffer
		w := &visibleWriter{w: &got}
		for _, part := range []string{text[:cut], text[cut:]} {
			if n, err := w.Write([]byte(part)); n != len(part) || err != nil {
				t.Fatal(n, err)
			}
		}
		if err := w.close(); err != nil || got.String() != want {
			t.Fatalf("cut at %d: %q, %v; want %q", cut, got.String(), err, want)
		}
	}
}
