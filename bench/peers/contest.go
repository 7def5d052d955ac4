package main

import (
	"cmp"
	"fmt"
	"sync"
	"time"

	"shoal/bench/internal/latency"
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
	rate                 float64 // tasks/s, or chunks/s
	answered             float64 // of what was offered, in an open loop
	p50, p99             float64 // µs, of a message
	clientCPU, serverCPU float64 // µs a task, or chunk
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
	return latency.Median(values)
}

func (r result) rate() float64     { return r.med(func(s sample) float64 { return s.rate }) }
func (r result) answered() float64 { return r.med(func(s sample) float64 { return s.answered }) }
func (r result) p50() float64      { return r.med(func(s sample) float64 { return s.p50 }) }
func (r result) p99() float64      { return r.med(func(s sample) float64 { return s.p99 }) }

// over returns the median of the ratios of r's rate to other's, round by round: neighbours in time.
func (r result) over(other result) float64 {
	var values []float64
	for i := range min(len(r.rounds), len(other.rounds)) {
		values = append(values, r.rounds[i].rate/other.rounds[i].rate)
	}
	return latency.Median(values)
}

// contestant is a peer's two processes under one load.
type contestant struct {
	peer           peer
	server, client *process
	err            error // it takes part no more
}

// lineUp starts those who do the load and lets each warm up. Who fails is there with its error.
func lineUp(l load, chosen []peer, pl plan, warmUp order) []*contestant {
	var all []*contestant
	for _, p := range chosen {
		if !p.does(l) {
			continue
		}
		c := &contestant{peer: p}
		all = append(all, c)
		if c.err = c.start(l, pl.procs); c.err == nil {
			_, c.err = c.round(warmUp)
		}
		if c.err != nil {
			pl.note("%s, %s: %v", l.Name, p.name, c.err)
		}
	}
	return all
}

func (c *contestant) start(l load, procs int) (err error) {
	r := role{Peer: cmp.Or(c.peer.role, c.peer.name), Load: l.Name}
	if c.server, err = start(c.peer.program, r, procs); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	r.Address = c.server.ready.Address
	if c.client, err = start(c.peer.program, r, procs); err != nil {
		return fmt.Errorf("client: %w", err)
	}
	return nil
}

// stopAll ends their processes and returns when they are gone.
func stopAll(all []*contestant) {
	var stopping sync.WaitGroup
	for _, c := range all {
		for _, child := range []*process{c.client, c.server} {
			if child != nil {
				stopping.Go(child.stop)
			}
		}
	}
	stopping.Wait()
}

// round measures once.
func (c *contestant) round(o order) (sample, error) {
	before, err := c.server.ask(order{})
	if err != nil {
		return sample{}, fmt.Errorf("server: %w", err)
	}
	done, err := c.client.ask(o)
	if err != nil {
		return sample{}, fmt.Errorf("client: %w", err)
	}
	after, err := c.server.ask(order{})
	if err != nil {
		return sample{}, fmt.Errorf("server: %w", err)
	}
	if done.Tasks == 0 && o.Rate == 0 {
		return sample{}, fmt.Errorf("nothing was answered in %v", done.Elapsed)
	}
	perTask := func(d time.Duration) float64 { return float64(d) / 1e3 / float64(max(done.Tasks, 1)) }
	return sample{
		rate: float64(done.Tasks) / done.Elapsed.Seconds(), answered: float64(done.Tasks) / float64(max(done.Offered, 1)),
		p50: done.P50, p99: done.P99,
		clientCPU: perTask(done.Usage.CPU), serverCPU: perTask(after.Usage.CPU - before.Usage.CPU),
		serverRSS: float64(after.Usage.RSS),
	}, nil
}

// takeTurns lets them do their rounds, A B C A B C. One that fails keeps the rounds it had, and takes part no more.
func takeTurns(all []*contestant, pl plan, o order, did func(c *contestant, n int, s sample)) []result {
	results := make([]result, len(all))
	for n := range pl.rounds {
		o.Seed = uint64(n)
		for i, c := range all {
			if c.err != nil {
				continue
			}
			s, err := c.round(o)
			if err != nil {
				c.err = err
				pl.note("%s: %v", c.peer.name, err)
				continue
			}
			results[i].rounds = append(results[i].rounds, s)
			did(c, n+1, s)
		}
	}
	for i, c := range all {
		results[i].peer, results[i].err = c.peer, c.err
	}
	return results
}

// contest is a closed loop: the peers keep the load up in turn, after a warm-up that does not count.
func contest(l load, chosen []peer, pl plan) []result {
	all := lineUp(l, chosen, pl, order{Run: pl.round / 2})
	defer stopAll(all)
	return takeTurns(all, pl, order{Run: pl.round}, func(c *contestant, n int, s sample) {
		pl.note("%s, round %d: %s %.0f %ss/s", l.Name, n, c.peer.name, s.rate, l.unit())
	})
}
