package main

import (
	"fmt"
	"time"
)

// plan says how much is measured.
type plan struct {
	rounds int
	round  time.Duration
	procs  int // GOMAXPROCS of each process
	note   func(format string, args ...any)
}

// sample is one round of one peer.
type sample struct {
	rate                 float64 // tasks/s
	p50, p99             float64 // µs, of a message
	clientCPU, serverCPU float64 // µs a task
	serverRSS            float64 // bytes, at the end of the round
}

// result is what one peer did under one load.
type result struct {
	peer   peer
	rounds []sample
	err    error // what ended it early
}

// med returns the median of f over the rounds.
func (r result) med(f func(s sample) float64) float64 {
	values := make([]float64, len(r.rounds))
	for i, s := range r.rounds {
		values[i] = f(s)
	}
	return median(values)
}

func (r result) rate() float64 { return r.med(func(s sample) float64 { return s.rate }) }

// over returns the median of the ratios of r's rate to other's, round by round: neighbours in time.
func (r result) over(other result) float64 {
	var values []float64
	for i := range min(len(r.rounds), len(other.rounds)) {
		values = append(values, r.rounds[i].rate/other.rounds[i].rate)
	}
	return median(values)
}

// pair is a peer's two processes.
type pair struct{ server, client *process }

func (p pair) stop() {
	for _, child := range []*process{p.client, p.server} {
		if child != nil {
			child.stop()
		}
	}
}

func startPair(p peer, l load, procs int) (pair, error) {
	server, err := start(role{Peer: p.name, Load: l.Name}, procs)
	if err != nil {
		return pair{}, fmt.Errorf("server: %w", err)
	}
	client, err := start(role{Peer: p.name, Load: l.Name, Address: server.ready.Address}, procs)
	if err != nil {
		server.stop()
		return pair{}, fmt.Errorf("client: %w", err)
	}
	return pair{server, client}, nil
}

// round measures once.
func (p pair) round(d time.Duration) (sample, error) {
	before, err := p.server.ask(order{})
	if err != nil {
		return sample{}, fmt.Errorf("server: %w", err)
	}
	done, err := p.client.ask(order{Run: d})
	if err != nil {
		return sample{}, fmt.Errorf("client: %w", err)
	}
	after, err := p.server.ask(order{})
	if err != nil {
		return sample{}, fmt.Errorf("server: %w", err)
	}
	if done.Tasks == 0 {
		return sample{}, fmt.Errorf("no task was answered in %v", done.Elapsed)
	}
	perTask := func(d time.Duration) float64 { return float64(d) / 1e3 / float64(done.Tasks) }
	return sample{
		rate: float64(done.Tasks) / done.Elapsed.Seconds(), p50: done.P50, p99: done.P99,
		clientCPU: perTask(done.Usage.CPU), serverCPU: perTask(after.Usage.CPU - before.Usage.CPU),
		serverRSS: float64(after.Usage.RSS),
	}, nil
}

// contest puts the peers under a load in turn, A B C A B C, after a warm-up of each that does not count. One that fails
// keeps the rounds it had, and takes part no more.
func contest(l load, chosen []peer, pl plan) []result {
	var results []result
	var pairs []pair
	for _, p := range chosen {
		if !p.does(l) {
			continue
		}
		both, err := startPair(p, l, pl.procs)
		if err == nil {
			defer both.stop()
			_, err = both.round(max(pl.round/2, 50*time.Millisecond))
		}
		results, pairs = append(results, result{peer: p, err: err}), append(pairs, both)
	}
	for n := range pl.rounds {
		for i := range results {
			r := &results[i]
			if r.err != nil {
				continue
			}
			s, err := pairs[i].round(pl.round)
			if err != nil {
				r.err = err
				pl.note("%s, %s: %v", l.Name, r.peer.name, err)
				continue
			}
			r.rounds = append(r.rounds, s)
			pl.note("%s, round %d: %s %.0f tasks/s", l.Name, n+1, r.peer.name, s.rate)
		}
	}
	return results
}
