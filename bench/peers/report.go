package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
)

// outcome is what all peers did under one load, the fastest first.
type outcome struct {
	load    load
	results []result
}

func newOutcome(l load, results []result) outcome {
	slices.SortStableFunc(results, func(a, b result) int { return cmp.Compare(b.rate(), a.rate()) })
	return outcome{l, results}
}

// headline returns shoal's result that the others are compared with: the one that the load says, or the one there is.
func (o outcome) headline() (result, bool) {
	var found result
	for _, r := range o.results {
		if r.peer.family() == shoalFamily && len(r.rounds) > 0 && (found.rounds == nil || r.peer.name == o.load.Headline) {
			found = r
		}
	}
	return found, found.rounds != nil
}

// best returns the fastest of those who are neither shoal nor a floor, or if there is none the fastest of all.
func (o outcome) best() (best result, ok bool) {
	for _, r := range o.results {
		if len(r.rounds) > 0 && (!ok || !best.peer.isOther() && r.peer.isOther()) {
			best, ok = r, true
		}
	}
	return best, ok
}

// print writes a markdown table.
func (o outcome) print(w io.Writer) {
	shoal, compare := o.headline()
	fmt.Fprintf(w, "\n### %s\n\n", o.load.Title)
	ratio := "shoal / it"
	if compare {
		ratio = shoal.peer.name + " / it"
	}
	unit := o.load.unit()
	fmt.Fprintf(w, "| | %ss/s | %s | p50 µs | p99 µs | CPU µs a %s, client | server | server RSS MiB | %[1]ss/s, lowest–highest |\n", unit, ratio, unit)
	fmt.Fprintln(w, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
	for _, r := range o.results {
		if len(r.rounds) == 0 {
			fmt.Fprintf(w, "| %s | failed: %v | | | | | | | |\n", r.peer.name, r.err)
			continue
		}
		times := "–"
		if compare && r.peer.name != shoal.peer.name {
			times = fmt.Sprintf("%.2f", shoal.over(r))
		}
		name := emphasized(r.peer)
		if r.err != nil {
			name += fmt.Sprintf(" (%d rounds, then failed)", len(r.rounds))
		}
		p50, p99 := fmt.Sprintf("%.0f", r.p50()), fmt.Sprintf("%.0f", r.p99())
		if o.load.Stream {
			p50, p99 = "–", "–"
		}
		fmt.Fprintf(w, "| %s | %s | %s | %s | %s | %.2f | %.2f | %.0f | %s |\n", name, count(r.rate()), times, p50, p99,
			r.med(func(s sample) float64 { return s.clientCPU }), r.med(func(s sample) float64 { return s.serverCPU }),
			r.med(func(s sample) float64 { return s.serverRSS })/(1<<20), r.spread())
	}
}

// emphasized returns the name, and shoal's in bold.
func emphasized(p peer) string {
	if p.family() == shoalFamily {
		return "**" + p.name + "**"
	}
	return p.name
}

// spread returns the lowest and the highest rate.
func (r result) spread() string {
	least, most := r.rounds[0].rate, r.rounds[0].rate
	for _, s := range r.rounds {
		least, most = min(least, s.rate), max(most, s.rate)
	}
	return count(least) + "–" + count(most)
}

// count shortens a number as the tables of the project do.
func count(v float64) string {
	switch {
	case v >= 1e6:
		return fmt.Sprintf("%.2fM", v/1e6)
	case v >= 1e4:
		return fmt.Sprintf("%.0fk", v/1e3)
	case v >= 1e3:
		return fmt.Sprintf("%.1fk", v/1e3)
	}
	return fmt.Sprintf("%.0f", v)
}
