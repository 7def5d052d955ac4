package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"shoal/bench/internal/latency"
	"shoal/netio"
)

var errWrongAnswer = errors.New("an answer is not what it should be")

// client is the swarms that put a gateway under a load. Its swarms end with the process.
type client struct {
	load   load
	swarms []*netio.Swarm
	bodies []byte // keys one after another, or one body of the load's size
}

const connectTime = 30 * time.Second

func dial(url string, l load) (*client, error) {
	c := &client{load: l}
	if l.Size > 0 {
		c.bodies = make([]byte, l.Size)
	} else {
		c.bodies = shuffledKeys(l.Entries)
	}
	ctx, cancel := context.WithTimeout(context.Background(), connectTime)
	defer cancel()
	wanted := make(map[*netio.Swarm]int)
	for left := l.Conns; left > 0; left -= l.Swarm {
		conns := min(l.Swarm, left)
		sw, err := netio.Dial(ctx, url, &netio.SwarmConfig{Connections: conns})
		if err != nil {
			return nil, fmt.Errorf("%d connections left to dial: %w", left, err)
		}
		c.swarms = append(c.swarms, sw)
		wanted[sw] = conns
	}
	for sw, conns := range wanted {
		if err := waitConnected(ctx, sw, conns); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// waitConnected waits until all connections are up, also those that have to try again: of thousands that come at once
// the gateway turns some away. Swarm.WaitConnected would end with their first error.
func waitConnected(ctx context.Context, sw *netio.Swarm, want int) error {
	for sw.Connected() < want {
		if ctx.Err() != nil {
			return fmt.Errorf("%d of %d connections are up: %w", sw.Connected(), want, ctx.Err())
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

// run keeps the load's tasks in flight for a while, a Map for each swarm, and waits for the last answers.
func (c *client) run(d time.Duration) (*latency.Histogram, error) {
	var stop atomic.Bool
	late := time.AfterFunc(d, func() { stop.Store(true) })
	defer late.Stop()
	latencies, failures := make([]latency.Histogram, len(c.swarms)), make([]error, len(c.swarms))
	var running sync.WaitGroup
	for i, sw := range c.swarms {
		running.Go(func() { failures[i] = c.ask(sw, i, &stop, &latencies[i]) })
	}
	running.Wait()
	for i := range latencies[1:] {
		latencies[0].Merge(&latencies[i+1])
	}
	return &latencies[0], errors.Join(failures...)
}

// ask is one Map, of the swarm's share of what is in flight, until told to stop.
func (c *client) ask(sw *netio.Swarm, i int, stop *atomic.Bool, latencies *latency.Histogram) error {
	swarms := len(c.swarms)
	share := (c.load.InFlight + swarms - 1 - i) / swarms
	if share == 0 {
		return nil
	}
	first := len(c.bodies) / c.bodySize() * i / swarms
	items := func(yield func([]byte) bool) {
		for at := first * c.bodySize(); !stop.Load() && yield(c.bodies[at:][:c.bodySize()]); {
			if at += c.bodySize(); at == len(c.bodies) {
				at = 0
			}
		}
	}
	for r, err := range sw.Map(context.Background(), c.load.subroutine(), items, &netio.MapOptions{InFlight: share}) {
		if err == nil && (len(r.Body) != answerSize || r.Body[0] != keyForm[0]) {
			err = errWrongAnswer
		}
		if err != nil {
			return err
		}
		latencies.Add(r.Elapsed)
	}
	return nil
}

func (c *client) bodySize() int {
	if c.load.Size > 0 {
		return c.load.Size
	}
	return keySize
}
