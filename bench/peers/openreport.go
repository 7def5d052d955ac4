package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"shoal/bench/peers/chart"
)

// find returns the result of a peer that was measured at this rate.
func (r rung) find(name string) (result, bool) {
	i := slices.IndexFunc(r.results, func(r result) bool { return r.peer.name == name && len(r.rounds) > 0 })
	if i < 0 {
		return result{}, false
	}
	return r.results[i], true
}

// best returns the peer with the lowest p99 of those who keep up and are neither shoal nor a floor.
func (r rung) best() (best result, ok bool) {
	for _, other := range r.results {
		if other.peer.isOther() && len(other.rounds) > 0 && keepsUp(other) && (!ok || other.p99() < best.p99()) {
			best, ok = other, true
		}
	}
	return best, ok
}

// cell is p50 and p99 in µs, and how much was answered by one who does not keep up.
func (r result) cell() string {
	times := fmt.Sprintf("%s / %s", micros(r.p50()), micros(r.p99()))
	if r.answered() < leastKept {
		times += fmt.Sprintf(", %.0f %%", math.Floor(100*r.answered()))
	}
	return times
}

// micros writes three digits of what is below a second in µs.
func micros(v float64) string {
	if v >= 1e6 {
		return time.Duration(v * 1e3).Round(10 * time.Millisecond).String()
	}
	if v >= 1e3 {
		scale := math.Pow10(int(math.Log10(v)) - 2)
		v = math.Round(v/scale) * scale
	}
	return fmt.Sprintf("%.0f", v)
}

// print writes a markdown table: p50 and p99 at every rate.
func (l ladder) print(w io.Writer) {
	fmt.Fprintf(w, "\n### %s, offered rates\n\np50 / p99 in µs, counted from when a message was due. ", l.load.Open)
	fmt.Fprintf(w, "The highest rate is %s's in the closed loop.\n\n", l.against)
	fmt.Fprint(w, "| tasks/s offered |")
	for _, r := range l.rungs {
		fmt.Fprintf(w, " %s |", count(r.rate))
	}
	fmt.Fprint(w, "\n| --- |")
	for range l.rungs {
		fmt.Fprint(w, " ---: |")
	}
	fmt.Fprintln(w)
	for _, first := range l.rungs[0].results {
		fmt.Fprintf(w, "| %s |", emphasized(first.peer))
		for _, r := range l.rungs {
			cell := "–"
			if at, ok := r.find(first.peer.name); ok {
				cell = at.cell()
			}
			fmt.Fprintf(w, " %s |", cell)
		}
		fmt.Fprintln(w)
	}
}

// printHalves writes a markdown table: everybody at half of the highest rate of the best peer, for each load.
func printHalves(w io.Writer, ladders []ladder) {
	if len(ladders) == 0 {
		return
	}
	fmt.Fprintf(w, "\n### At half of the best peer's highest rate\n\np50 / p99 in µs.\n\n| |")
	for _, l := range ladders {
		fmt.Fprintf(w, " %s: %s tasks/s, half of %s's |", l.load.Open, count(l.half().rate), l.against)
	}
	fmt.Fprint(w, "\n| --- |")
	for range ladders {
		fmt.Fprint(w, " ---: |")
	}
	fmt.Fprintln(w)
	var rows []peer
	for _, l := range ladders {
		for _, r := range l.rungs[0].results {
			if !slices.ContainsFunc(rows, func(p peer) bool { return p.name == r.peer.name }) {
				rows = append(rows, r.peer)
			}
		}
	}
	for _, p := range rows {
		fmt.Fprintf(w, "| %s |", emphasized(p))
		for _, l := range ladders {
			cell := "–"
			if at, ok := l.half().find(p.name); ok {
				cell = at.cell()
			}
			fmt.Fprintf(w, " %s |", cell)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintln(w)
	for _, l := range ladders {
		best, ok := l.half().best()
		for _, r := range l.half().results {
			if ok && r.peer.family() == shoalFamily && len(r.rounds) > 0 {
				fmt.Fprintf(w, "- %s: p99 of %s over the lowest of the peers, %s's: %.2f\n",
					l.load.Open, r.peer.name, best.peer.name, r.p99()/best.p99())
			}
		}
	}
}

// charts returns two panels, p50 and p99 against the offered rate.
func (l ladder) charts() []chart.Chart {
	panel := func(what string, f func(r result) float64) chart.Chart {
		lines := chart.Lines{Title: l.load.Open + ", " + what, X: "tasks/s offered", Y: what + ", µs from when due",
			LogX: true, LogY: true}
		for _, first := range l.rungs[0].results {
			family := first.peer.family()
			s := chart.Series{Name: first.peer.name, Emphasis: family == shoalFamily, Dashed: family == floorFamily}
			for _, r := range l.rungs {
				if at, ok := r.find(s.Name); ok {
					s.Points = append(s.Points, chart.Point{X: r.rate, Y: f(at)})
				}
			}
			if len(s.Points) > 0 {
				lines.Series = append(lines.Series, s)
			}
		}
		return lines
	}
	return []chart.Chart{panel("p50", result.p50), panel("p99", result.p99)}
}
