package main

import (
	"bytes"
	"fmt"
	"testing"
)

func TestSquare(t *testing.T) {
	const clients = 100
	var out, want bytes.Buffer
	if err := run(t.Context(), &out, "", clients); err != nil {
		t.Fatal(err)
	}
	for n := range clients {
		fmt.Fprintf(&want, "%d squared is %d\n", n, n*n)
	}
	if out.String() != want.String() {
		t.Error(out.String())
	}
}
