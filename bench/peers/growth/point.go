package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"time"

	"shoal/bench/internal/latency"
)

// plan says how points are measured.
type plan struct {
	rounds   int
	round    time.Duration
	profiles string // folder; empty: none
	note     func(format string, args ...any)
}

// point is what was measured at one value of a dimension: medians of the rounds.
type point struct {
	value      int
	rate       float64 // tasks/s
	slowest    float64 // round; the same
	fastest    float64
	p99        float64 // µs
	memory     float64 // MiB
	gatewayCPU float64 // µs a task
	clientCPU  float64
	err        error
}

// growth is the points of one variant.
type growth struct {
	variant variant
	points  []point
}

// measure measures all points of a dimension. What fails is a point with an error, and the rest goes on.
func measure(d dimension, p plan) []growth {
	grown := make([]growth, len(d.variants))
	for i, v := range d.variants {
		grown[i].variant = v
	}
	for _, value := range d.values {
		for i, v := range d.variants {
			q := measurePoint(v.load(value), p, profileName(p, d, i, value))
			q.value = value
			p.note("%s %d, %s: %s tasks/s, p99 %s µs, %.0f MiB, CPU %.2f and %.2f µs/task, %v", d.name, value, v.name,
				short(q.rate), short(q.p99), q.memory, q.gatewayCPU, q.clientCPU, q.err)
			grown[i].points = append(grown[i].points, q)
		}
	}
	return grown
}

func profileName(p plan, d dimension, variant, value int) string {
	if p.profiles == "" {
		return ""
	}
	return filepath.Join(p.profiles, fmt.Sprintf("%s-%d-%d", d.name, variant, value))
}

// measurePoint starts a gateway and a client, and puts one under the load of the other.
func measurePoint(l load, p plan, profile string) point {
	gateway, err := start(role{Load: l})
	if err != nil {
		return point{err: fmt.Errorf("gateway: %w", err)}
	}
	defer gateway.stop()
	client, err := start(role{Load: l, URL: gateway.ready.URL})
	if err != nil {
		return point{err: fmt.Errorf("client: %w", err)}
	}
	defer client.stop()
	if _, err := client.ask(order{Run: p.round / 2}); err != nil {
		return point{err: err}
	}
	var rates, p99s, memories, gatewayCPUs, clientCPUs []float64
	for round := range p.rounds {
		before, after, r, err := playRound(gateway, client, p.round, profile, profile != "" && round == p.rounds-1)
		if err != nil {
			return point{err: err}
		}
		tasks := float64(max(r.Tasks, 1))
		rates = append(rates, tasks/r.Elapsed.Seconds())
		p99s = append(p99s, r.P99)
		memories = append(memories, float64(after.RSS)/(1<<20))
		gatewayCPUs = append(gatewayCPUs, micros(after.CPU-before.CPU)/tasks)
		clientCPUs = append(clientCPUs, micros(r.CPU)/tasks)
	}
	return point{
		rate: latency.Median(rates), slowest: slices.Min(rates), fastest: slices.Max(rates), p99: latency.Median(p99s), memory: latency.Median(memories),
		gatewayCPU: latency.Median(gatewayCPUs), clientCPU: latency.Median(clientCPUs),
	}
}

// playRound has the client do a round and asks the gateway for its usage before and after it.
func playRound(gateway, client *process, d time.Duration, profile string, profiled bool) (before, after, r reply, err error) {
	started, run := order{}, order{Run: d}
	if profiled {
		started.Profile, run.Profile = profile+"-gateway.pprof", profile+"-client.pprof"
	}
	if before, err = gateway.ask(started); err != nil {
		return before, after, r, fmt.Errorf("gateway: %w", err)
	}
	if r, err = client.ask(run); err != nil {
		return before, after, r, fmt.Errorf("client: %w", err)
	}
	if after, err = gateway.ask(order{}); err != nil {
		return before, after, r, fmt.Errorf("gateway: %w", err)
	}
	if profiled {
		_, err = client.ask(order{}) // ends its profile
	}
	return before, after, r, err
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
