package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"time"

	"shoal/bench/internal/workload"
	"shoal/netio/table"
)

// roleVariable tells a process that it is a child, and what it is to be: a role in JSON. A child answers one line on
// standard output when it is ready, then one line to each order on standard input, and ends with standard input, so that
// none outlives its parent.
const roleVariable = "SHOAL_PEERS_ROLE"

type role struct {
	Peer    string
	Load    string
	Address string // where a client dials; empty: it is a server
}

type order struct {
	Run  time.Duration // a client does a round; 0: only tell the usage
	Rate float64       // tasks/s to offer; 0: as many as the load keeps in flight
	Seed uint64        // of the schedule
}

type reply struct {
	Error   string `json:",omitempty"`
	Address string `json:",omitempty"` // of a server
	Usage   usage  // of this process, CPU of the round alone if it did one

	Tasks    int // answered
	Offered  int // that were due, with a rate
	Elapsed  time.Duration
	P50, P99 float64 // µs
}

// runChild is the main function of a child.
func runChild(spec string) error {
	var r role
	if err := json.Unmarshal([]byte(spec), &r); err != nil {
		return err
	}
	orders := make(chan order)
	go func() {
		in := json.NewDecoder(os.Stdin)
		for {
			var o order
			if err := in.Decode(&o); err == io.EOF {
				os.Exit(0)
			} else if err != nil {
				fmt.Fprintln(os.Stderr, r.Peer, err)
				os.Exit(1)
			}
			orders <- o
		}
	}()
	out := json.NewEncoder(os.Stdout)
	d, ready, err := become(r)
	if err != nil {
		return out.Encode(reply{Error: err.Error()})
	}
	if err := out.Encode(ready); err != nil {
		return err
	}
	for o := range orders {
		if err := out.Encode(obey(d, o)); err != nil {
			return err
		}
	}
	return nil
}

// become starts what the role says; only clients have a driver.
func become(r role) (driver, reply, error) {
	if r.Peer == busyRole {
		startBusy()
		return nil, reply{}, nil
	}
	p, err := findPeer(r.Peer)
	if err != nil {
		return nil, reply{}, err
	}
	l, err := findLoad(r.Load)
	if err != nil {
		return nil, reply{}, err
	}
	if r.Address == "" {
		var t *table.Table // streams need none
		if !l.Stream {
			t = workload.NewTable()
		}
		address, err := p.serve(l, t)
		return nil, reply{Address: address}, err
	}
	d, err := p.dial(r.Address, l)
	return d, reply{}, err
}

func obey(d driver, o order) reply {
	if o.Run == 0 {
		return reply{Usage: usageNow()}
	}
	runtime.GC()
	before, start := usageNow(), time.Now()
	w, err := drive(d, o)
	elapsed, used := time.Since(start), usageNow()
	if err != nil {
		return reply{Error: err.Error()}
	}
	used.CPU -= before.CPU
	return reply{Usage: used, Tasks: w.tasks, Offered: w.offered, Elapsed: elapsed,
		P50: w.latencies.Quantile(0.5), P99: w.latencies.Quantile(0.99)}
}

// drive does a round.
func drive(d driver, o order) (work, error) {
	if o.Rate == 0 {
		return d.run(o.Run)
	}
	open, ok := d.(openDriver)
	if !ok {
		return work{}, fmt.Errorf("%T sends by no schedule", d)
	}
	return open.offer(offer{rate: o.Rate, round: o.Run, seed: o.Seed})
}
