package target

import (
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

var soak = flag.Bool("soak", false, "compare 100,000 random expressions with nodeset instead of 2,000")

// randomExpression writes a random expression; nodeset reads the same ones as this package.
func randomExpression(r *rand.Rand) string {
	var b strings.Builder
	for i := range 1 + r.IntN(6) {
		if i > 0 {
			b.WriteByte(",,!&^"[r.IntN(5)])
		}
		b.WriteString([]string{"n", "web", "a-b"}[r.IntN(3)])
		for range r.IntN(4) {
			if r.IntN(3) == 0 {
				fmt.Fprintf(&b, "%0*d", 1+r.IntN(3), r.IntN(12))
			} else {
				b.WriteString(randomBracket(r))
			}
			b.WriteString([]string{"-", "x", ".y"}[r.IntN(3)])
		}
	}
	return b.String()
}

func randomBracket(r *rand.Rand) string {
	items := make([]string, 1+r.IntN(3))
	for i := range items {
		width := 1 + r.IntN(3)
		low := r.IntN(20)
		high := low + r.IntN(15)
		from, to := fmt.Sprintf("%0*d", width, low), fmt.Sprintf("%0*d", width, high)
		switch {
		case r.IntN(3) == 0 || (len(from) != len(to) && width > 1):
			items[i] = from
		case r.IntN(4) == 0:
			items[i] = fmt.Sprintf("%s-%s/%d", from, to, 1+r.IntN(5))
		default:
			items[i] = from + "-" + to
		}
	}
	return "[" + strings.Join(items, ",") + "]"
}

// TestAlgebraAgainstMaps applies operators to sets, and to maps of the same names.
func TestAlgebraAgainstMaps(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 1000 {
		left, right := randomExpression(r), randomExpression(r)
		a, b := parsed(t, left), parsed(t, right)
		inA, inB := members(a), members(b)
		want := map[operator]map[string]bool{opUnion: {}, opMinus: {}, opIntersect: {}, opXor: {}}
		for name := range maps.Keys(inA) {
			want[opUnion][name] = true
			if inB[name] {
				want[opIntersect][name] = true
			} else {
				want[opMinus][name], want[opXor][name] = true, true
			}
		}
		for name := range maps.Keys(inB) {
			want[opUnion][name] = true
			if !inA[name] {
				want[opXor][name] = true
			}
		}
		for op, names := range want {
			got := a.apply(op, b)
			if !maps.Equal(members(got), names) || got.Len() != uint64(len(names)) {
				t.Fatalf("(%s) %c (%s) is %s", left, op, right, got)
			}
			if again := parsed(t, got.String()); !again.Equal(got) {
				t.Fatalf("(%s) %c (%s) folds to %s, which parses into %s", left, op, right, got, again)
			}
		}
	}
}

func parsed(t *testing.T, text string) Set {
	t.Helper()
	s, err := Parse(text)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return s
}

func members(s Set) map[string]bool {
	names := make(map[string]bool, s.Len())
	for name := range s.All() {
		names[name] = true
	}
	return names
}

// expandLines is what nodeset runs, once for many expressions.
const expandLines = `
import sys
from ClusterShell.NodeSet import NodeSet, RESOLVER_NOGROUP
for line in sys.stdin:
    print(" ".join(NodeSet(line.strip(), resolver=RESOLVER_NOGROUP)))
`

// TestNodesetExpandsTheSame has the library of Debian's nodeset expand random expressions, and what they fold to here.
func TestNodesetExpandsTheSame(t *testing.T) {
	script, err := exec.LookPath("nodeset")
	if err != nil {
		t.Skip("nodeset is missing: it is in the package clustershell")
	}
	text, err := os.ReadFile(script)
	if err != nil {
		t.Fatal(err)
	}
	first, _, _ := strings.Cut(string(text), "\n")
	python, ok := strings.CutPrefix(first, "#!")
	if !ok || !strings.Contains(python, "python") {
		t.Skipf("nodeset is no Python program: it begins with %q", first)
	}
	count := 2000
	if *soak {
		count = 100_000
	}
	r := rand.New(rand.NewPCG(3, 4))
	var lines []string // an expression, then what it folds to here
	for range count {
		text := randomExpression(r)
		folded := parsed(t, text).String()
		if folded == "" {
			folded = "n!n"
		}
		lines = append(lines, text, folded)
	}
	nodeset := exec.Command(strings.Fields(python)[0], "-c", expandLines) // not python3: there may be another one
	nodeset.Stdin = strings.NewReader(strings.Join(lines, "\n"))
	var stderr strings.Builder
	nodeset.Stderr = &stderr
	out, err := nodeset.Output()
	if err != nil {
		t.Fatalf("nodeset's library: %v\n%s", err, &stderr)
	}
	answers := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(answers) != len(lines) {
		t.Fatalf("%d answers to %d lines", len(answers), len(lines))
	}
	for i, answer := range answers {
		want := slices.Sorted(maps.Keys(members(parsed(t, lines[i-i%2]))))
		got := strings.Fields(answer)
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Fatalf("nodeset expands %q to %q, not to %q", lines[i], got, want)
		}
	}
}
