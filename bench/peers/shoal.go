package main

import (
	"context"
	"iter"
	"sync/atomic"
	"time"

	"shoal/bench/internal/latency"
	"shoal/bench/internal/workload"
	"shoal/netio"
	"shoal/netio/table"
)

// The gateway and the swarm are as they come: sessions, limits and the pool are on.

// Subroutines that answer from the table: its own, and an embedder's over the same table.
const (
	tableName = "table"
	userName  = "user"
)

func serveShoal(_ load, t *table.Table) (string, error) {
	g := netio.NewGateway(netio.GatewayConfig{Listen: []string{"tcp://127.0.0.1:0"}})
	g.HandleBatch(tableName, t.Run)
	g.HandleBatch(userName, workload.UserBatch(t))
	if err := g.Start(); err != nil {
		return "", err
	}
	return g.URLs()[0], nil
}

// dialSwarm connects and waits until all connections are up.
func dialSwarm(url string, conns int) (*netio.Swarm, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	sw, err := netio.Dial(ctx, url, &netio.SwarmConfig{Connections: conns})
	if err != nil {
		return nil, err
	}
	for up := false; !up; {
		up = true
		for _, pong := range sw.Ping(ctx, nil) {
			up = up && pong.Err == nil
		}
		if ctx.Err() != nil {
			_ = sw.Close()
			return nil, ctx.Err()
		}
		time.Sleep(time.Millisecond)
	}
	return sw, nil
}

func dialShoalCalls(url string, l load) (driver, error) {
	sw, err := dialSwarm(url, l.Conns)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	return newCallers(l, func(_ int, key []byte) ([]byte, error) { return sw.Call(ctx, tableName, key) }), nil
}

func dialShoalMap(url string, l load) (driver, error)  { return dialMap(url, l, tableName) }
func dialShoalUser(url string, l load) (driver, error) { return dialMap(url, l, userName) }

func dialMap(url string, l load, name string) (driver, error) {
	sw, err := dialSwarm(url, l.Conns)
	if err != nil {
		return nil, err
	}
	return &shoalMap{swarm: sw, name: name, load: l, keys: workload.Keys(workload.ClientSeed)}, nil
}

// shoalMap is one Map that keeps the load's tasks in flight.
type shoalMap struct {
	swarm *netio.Swarm
	name  string // of the subroutine
	load  load
	keys  []byte
	dues  []itemDue // when items were due, in an open loop; that of an index is at the index modulo their number
}

func (m *shoalMap) run(d time.Duration) (work, error) {
	var stop atomic.Bool
	late := time.AfterFunc(d, func() { stop.Store(true) })
	defer late.Stop()
	total := &latency.Histogram{}
	options := netio.MapOptions{Batch: m.load.Batch, InFlight: m.load.InFlight}
	for r, err := range m.swarm.Map(context.Background(), m.name, m.until(&stop), &options) {
		if err == nil {
			err = workload.CheckAnswer(r.Body, 1)
		}
		if err != nil {
			return work{}, err
		}
		total.Add(r.Elapsed)
	}
	return work{tasks: total.N, latencies: total}, nil
}

// until yields keys, one at least, until told to stop.
func (m *shoalMap) until(stop *atomic.Bool) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for c, first := workload.NewCursor(m.keys, 0), true; (first || !stop.Load()) && yield(c.Next()); first = false {
		}
	}
}
