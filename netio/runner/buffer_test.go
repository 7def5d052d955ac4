package runner

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"unicode/utf8"
)

// TestBufferKeepsHeadAndTail compares the buffer with one that keeps everything, over pieces of all sizes.
func TestBufferKeepsHeadAndTail(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		limit := 1 + r.IntN(40)
		budget := NewBudget(1 << 20)
		b := NewBuffer(limit, budget)
		var all []byte
		for range r.IntN(6) {
			piece := make([]byte, r.IntN(2*limit))
			for i := range piece {
				piece[i] = byte('a' + r.IntN(26))
			}
			_, _ = b.Write(piece)
			all = append(all, piece...)
		}
		out, gap, dropped := b.Take()
		if budget.Used() != 0 {
			t.Fatalf("%d bytes of the budget are still taken", budget.Used())
		}
		if len(all) <= limit {
			if !bytes.Equal(out, all) || gap != -1 || dropped != 0 {
				t.Fatalf("limit %d: %q came of %q, gap %d, %d dropped", limit, out, all, gap, dropped)
			}
			continue
		}
		head, tail := limit-limit/2, limit/2
		want := append(append([]byte{}, all[:head]...), all[len(all)-tail:]...)
		if !bytes.Equal(out, want) || gap != head || dropped != int64(len(all)-limit) {
			t.Fatalf("limit %d: %q came of %q, want %q; gap %d, %d dropped", limit, out, all, want, gap, dropped)
		}
	}
}

func TestBufferCutsNoCharacterInTwo(t *testing.T) {
	text := bytes.Repeat([]byte("aé€😀"), 50)
	for limit := 8; limit < 60; limit++ {
		for shift := range 10 {
			b := NewBuffer(limit, nil)
			_, _ = b.Write(text[:len(text)-shift])
			out, gap, dropped := b.Take()
			if int64(len(out))+dropped != int64(len(text)-shift) {
				t.Fatalf("limit %d: %d bytes kept and %d dropped of %d", limit, len(out), dropped, len(text)-shift)
			}
			if !utf8.Valid(out[:gap]) || (shift == 0 && !utf8.Valid(out[gap:])) {
				t.Fatalf("limit %d: %q is no UTF-8", limit, out)
			}
		}
	}
}

func TestBufferStaysInTheBudget(t *testing.T) {
	budget := NewBudget(3 * budgetStep)
	a, b := NewBuffer(MaxOutput, budget), NewBuffer(MaxOutput, budget)
	big := make([]byte, 10*budgetStep)
	for i := range 20 {
		_, _ = a.Write(big[:1+i*1000])
		_, _ = b.Write(big[:1+i*1000])
	}
	if used := budget.Used(); used > 3*budgetStep {
		t.Fatalf("%d bytes taken of a budget of %d", used, 3*budgetStep)
	}
	total := int64(20 + 1000*190)
	for _, buffer := range []*Buffer{a, b} {
		out, _, dropped := buffer.Take()
		if int64(len(out))+dropped != total {
			t.Fatalf("%d bytes kept and %d dropped of %d", len(out), dropped, total)
		}
	}
	if budget.Used() != 0 {
		t.Fatalf("%d bytes of the budget are still taken", budget.Used())
	}
	_, _ = a.Write([]byte("again"))
	if out, gap, dropped := a.Take(); string(out) != "again" || gap != -1 || dropped != 0 {
		t.Fatalf("after Take: %q, %d, %d", out, gap, dropped)
	}
}
