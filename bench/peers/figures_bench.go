package main

import (
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// benchFigure is a metric that a benchmark of shoal reports.
type benchFigure struct {
	part   string
	what   string
	goal   string
	bench  string // the benchmark, with its sub-benchmark
	metric string
	slow   bool // it takes half a minute, with rounds of its own in it
	once   bool // it has rounds of its own
	alone  bool // the earlier revision does not report it
}

var benchFigures = []benchFigure{
	{part: partFiles, what: "get the tree / tar through a socket", goal: "≤ 1.0", bench: "Files/tree", metric: "get/tar", once: true, alone: true},
	{part: partFiles, what: "get 1 GiB over 4 connections / cp", goal: "≤ 1.5", bench: "Files/large", metric: "get-1-GiB/cp-1-GiB", once: true, alone: true},
	{part: partGateway, what: "idle connection of 15,000, KiB", goal: "as before", bench: "IdleConnections/15000", metric: "KiB/conn", slow: true},
	{part: partGateway, what: "a million waits of 1 s: last answer after the last was sent, s", goal: "as before", bench: "Waiting/1000000", metric: "after-last-sent-s", slow: true},
	{part: partGateway, what: "a million waits: peak, MiB", goal: "as before", bench: "Waiting/1000000", metric: "peak-MiB", slow: true},
	{part: partGateway, what: "512 tasks of 1 s with 512 workers, s", goal: "as before", bench: "Wait512on512", metric: "s"},
	{part: partGateway, what: "fairness: p99 beside another's 100,000 tasks / alone", goal: "as before", bench: "Fairness", metric: "ratio", slow: true},
	{part: partGateway, what: "overload: useful answers / peak", goal: "as before", bench: "WorkloadOverload", metric: "ratio"},
	{part: partGateway, what: "goroutines of a gateway with 15,000 idle connections", goal: "< 50", bench: "IdleConnections/15000", metric: "goroutines", slow: true, alone: true},
}

// measure returns the figure's row: this revision and the earlier one take turns.
func (f benchFigure) measure(o figuresOptions, b *builds) []string {
	rounds := o.plan.rounds
	switch {
	case f.once:
		rounds = 1
	case f.slow:
		rounds = o.slow
	}
	var now, before []float64
	for n := range rounds {
		o.plan.note("%s, round %d", f.bench, n+1)
		now = b.reported(now, b.nowBench, b.root, f, n, o)
		if b.beforeBench != "" && !f.alone {
			before = b.reported(before, b.beforeBench, b.beforeRoot, f, n, o)
		}
	}
	return []string{f.what, f.goal, spread(now), spread(before)}
}

// reported appends what a benchmark has reported in a round.
func (b *builds) reported(values []float64, binary, root string, f benchFigure, round int, o figuresOptions) []float64 {
	metrics, err := b.run(binary, root, f.bench, round)
	if err != nil {
		o.plan.note("%s: %v", f.bench, err) // what it has reported before counts
	}
	if v, ok := metrics[f.metric]; ok {
		values = append(values, v)
	}
	return values
}

// run runs a benchmark of a test binary, once for all figures that are of the same round, and returns its metrics.
func (b *builds) run(binary, root, bench string, round int) (map[string]float64, error) {
	key := strings.Join([]string{binary, bench, strconv.Itoa(round)}, " ")
	if r, ok := b.ran[key]; ok {
		return r.metrics, r.err
	}
	cmd := exec.Command(binary, "-test.run", "^$", "-test.bench", "^Benchmark"+strings.ReplaceAll(bench, "/", "$/^")+"$", "-test.timeout", "5m")
	cmd.Dir = filepath.Join(root, "bench")
	out, err := cmd.Output()
	r := benchRun{parseMetrics(string(out)), err}
	if b.ran == nil {
		b.ran = map[string]benchRun{}
	}
	b.ran[key] = r
	return r.metrics, r.err
}

// benchRun is what one run of a benchmark came to.
type benchRun struct {
	metrics map[string]float64
	err     error
}

// parseMetrics returns the values of a benchmark's line by their units.
func parseMetrics(out string) map[string]float64 {
	metrics := map[string]float64{}
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		if len(fields) < 2 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				metrics[fields[i+1]] = v
			}
		}
	}
	return metrics
}
