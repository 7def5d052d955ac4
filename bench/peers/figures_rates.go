package main

import (
	"fmt"
	"io"
	"runtime"
	"slices"
	"time"

	"shoal/bench/internal/latency"
)

// rateFigure is a ratio of two peers under one load.
type rateFigure struct {
	what    string
	goal    string
	load    string
	of      string // a peer of shoal's, whose family is replaced for the earlier revision
	over    string // a peer; "": the best of those that a user would pick instead
	measure func(s sample) float64
}

func taskRate(s sample) float64 { return s.rate }
func bothCPU(s sample) float64  { return s.clientCPU + s.serverCPU }

var rateFigures = []rateFigure{
	{"Call, one in flight / raw gnet", "", "one", "shoal-calls", "gnet", taskRate},
	{"Map, one in flight / raw gnet", "≥ 0.95", "one", "shoal-map", "gnet", taskRate},
	{"Map, 64 over 4 / raw gnet", "≥ 0.9", "64", "shoal-map", "gnet", taskRate},
	{"Map, 1024 over 8 / raw gnet", "≥ 0.9", "1024", "shoal-map", "gnet", taskRate},
	{"Map, batches of 16 / raw gnet", "≥ 0.9", "batch", "shoal-map", "gnet", taskRate},
	{"Call, 64 callers / raw gnet with callers", "≥ 2.5", "64", "shoal-calls", "gnet-calls", taskRate},
	{"Call, 1024 callers / raw gnet with callers", "≥ 2.5", "1024", "shoal-calls", "gnet-calls", taskRate},
	{"CPU a task, client and gateway, 64 over 4 / raw gnet's", "", "64", "shoal-map", "gnet", bothCPU},
	{"CPU a task, client and gateway, 1024 over 8 / raw gnet's", "", "1024", "shoal-map", "gnet", bothCPU},
	{"CPU a task, client and gateway, batches of 16 / raw gnet's", "≤ 1.15", "batch", "shoal-map", "gnet", bothCPU},
	{"a user's batch subroutine / the table, 64 over 4", "≥ 0.98", "64", "shoal-user", "shoal-map", taskRate},
	{"a user's batch subroutine / the table, 1024 over 8", "≥ 0.98", "1024", "shoal-user", "shoal-map", taskRate},
	{"a user's batch subroutine / the table, batches of 16", "≥ 0.98", "batch", "shoal-user", "shoal-map", taskRate},
	{"one stream of 1 KiB / floor", "≥ 0.9", "stream1", "shoal-feed", "floor-feed", taskRate},
	{"4 streams of 1 KiB / floor", "≥ 0.9", "stream4", "shoal-feed", "floor-feed", taskRate},
	{"one in flight / the best peer", "≥ 1.3", "one", "shoal-calls", "", taskRate},
	{"64 over 4 / the best peer", "≥ 3", "64", "shoal-map", "", taskRate},
	{"1024 over 8 / the best peer", "≥ 4", "1024", "shoal-map", "", taskRate},
	{"batches of 16 / the best peer", "≥ 2", "batch", "shoal-map", "", taskRate},
	{"one stream of 1 KiB / the best peer", "≥ 3", "stream1", "shoal-feed", "", taskRate},
	{"4 streams of 1 KiB / the best peer", "≥ 4", "stream4", "shoal-feed", "", taskRate},
}

// outcomes are what all peers did, by load.
type outcomes map[string]outcome

// printRates measures every load in every setting. Where the processors are shared only the best two peers of the setting
// before take part.
func printRates(w io.Writer, o figuresOptions, b *builds) {
	t := markdown{heads: []string{"what", "goal"}}
	for _, f := range rateFigures {
		t.rows = append(t.rows, []string{f.what, f.goal})
	}
	done := outcomes{}
	for _, setting := range o.settings {
		began := time.Now()
		done = measureLoads(o, b, setting, done)
		o.plan.note("processors %s: %v", setting, time.Since(began).Round(time.Second))
		t.heads = append(t.heads, setting+": now")
		if o.before != "" {
			t.heads = append(t.heads, setting+": before")
		}
		for i, f := range rateFigures {
			t.rows[i] = append(t.rows[i], f.cell(done, shoalFamily))
			if o.before != "" {
				t.rows[i] = append(t.rows[i], f.cell(done, beforeFamily))
			}
		}
		for _, l := range o.loads {
			done[l.Name].print(w)
		}
	}
	t.print(w)
}

func measureLoads(o figuresOptions, b *builds, setting string, previous outcomes) outcomes {
	if setting == settingShared {
		busy, err := start("", role{Peer: busyRole}, runtime.NumCPU())
		if err != nil {
			o.plan.note("the busy processes: %v", err)
			return outcomes{}
		}
		defer busy.stop()
	}
	done := outcomes{}
	for _, l := range o.loads {
		chosen := slices.Concat(o.peers, b.peers())
		if before, ok := previous[l.Name]; ok {
			chosen = slices.DeleteFunc(chosen, func(p peer) bool { return p.isOther() && !slices.Contains(before.bestNames(2), p.name) })
		}
		pl := o.plan
		pl.note = func(string, ...any) {}
		o.plan.note("processors %s: %s", setting, l.Title)
		done[l.Name] = newOutcome(l, contest(l, chosen, pl))
	}
	return done
}

// bestNames returns the n fastest of those that a user would pick instead of shoal.
func (o outcome) bestNames(n int) (names []string) {
	for _, r := range o.results {
		if r.peer.isOther() && len(names) < n {
			names = append(names, r.peer.name)
		}
	}
	return names
}

func (o outcome) find(name string) (result, bool) {
	i := slices.IndexFunc(o.results, func(r result) bool { return r.peer.name == name && len(r.rounds) > 0 })
	if i < 0 {
		return result{}, false
	}
	return o.results[i], true
}

// cell is the ratio for shoal, or for its earlier revision: the median and the spread of the rounds.
func (f rateFigure) cell(done outcomes, family string) string {
	o := done[f.load]
	of, there := o.find(family + f.of[len(shoalFamily):])
	if !there {
		return "–"
	}
	if f.over == "" {
		best, ok := o.best()
		if !ok || !best.peer.isOther() {
			return "–"
		}
		return spread(ratios(of, best, f.measure)) + ", " + best.peer.name
	}
	over, there := o.find(f.over)
	if !there {
		return "–"
	}
	return spread(ratios(of, over, f.measure))
}

// ratios returns those of rounds that were neighbours.
func ratios(of, over result, measure func(s sample) float64) (values []float64) {
	for i := range min(len(of.rounds), len(over.rounds)) {
		values = append(values, measure(of.rounds[i])/measure(over.rounds[i]))
	}
	return values
}

// spread writes the median and, of several values, the lowest and the highest.
func spread(values []float64) string {
	switch len(values) {
	case 0:
		return "–"
	case 1:
		return short(values[0])
	}
	return fmt.Sprintf("%s (%s–%s)", short(latency.Median(values)), short(slices.Min(values)), short(slices.Max(values)))
}

// short writes about three digits.
func short(v float64) string {
	switch {
	case v >= 100:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
