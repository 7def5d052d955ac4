package main

import (
	"fmt"
	"strings"
	"time"
)

// dimension is one thing that grows.
type dimension struct {
	name     string
	title    string
	axis     string
	variants []variant
	values   []int
	ratesLog bool // tasks/s grow so much that they need a logarithmic axis
}

// variant is one line in the plots of a dimension.
type variant struct {
	name string
	load func(value int) load
}

const (
	manyConns     = 16 // where more is in flight than the windows of eight have room for
	smallSwarm    = 16
	waitOfTask    = time.Millisecond
	bytesOnFlight = 64 << 20
)

var dimensions = []dimension{
	{
		name: "connections", title: "Connections", axis: "connections",
		values: []int{1, 4, 16, 64, 256, 1000, 4000, 10_000},
		variants: []variant{
			{"one swarm", func(n int) load { return connections(n, n) }},
			{fmt.Sprintf("swarms of %d", smallSwarm), func(n int) load { return connections(n, smallSwarm) }},
		},
	},
	{
		name: "table", title: "Table entries", axis: "entries",
		values: []int{1000, 10_000, 100_000, 1_000_000, 10_000_000},
		variants: []variant{{"table", func(n int) load {
			l := usual
			l.Entries = n
			return l
		}}},
	},
	{
		name: "workers", title: "Workers, tasks of 1 ms", axis: "workers", ratesLog: true,
		values: []int{1, 10, 100, 1000, 10_000, 100_000},
		variants: []variant{
			{"waits on a timer", func(n int) load { return workers(n, false) }},
			{"waits in a goroutine", func(n int) load { return workers(n, true) }},
		},
	},
	{
		name: "size", title: "Size of a task", axis: "bytes", ratesLog: true,
		values: []int{16, 256, 4 << 10, 64 << 10, 256 << 10, 1 << 20},
		variants: []variant{{"size", func(n int) load {
			l := usual
			l.Size = n
			l.InFlight = min(l.InFlight, bytesOnFlight/n)
			return l
		}}},
	},
	{
		name: "inflight", title: "Tasks in flight", axis: "tasks in flight", ratesLog: true,
		values: []int{1, 16, 256, 4096, 65_536, 1 << 20},
		variants: []variant{{"in flight", func(n int) load {
			l := usual
			l.Conns, l.Swarm = manyConns, manyConns
			l.InFlight = n
			return l
		}}},
	},
}

func connections(n, swarm int) load {
	l := usual
	l.Conns, l.Swarm = n, swarm
	l.InFlight = max(usual.InFlight, n)
	return l
}

func workers(n int, sleeps bool) load {
	return load{Conns: manyConns, Swarm: manyConns, InFlight: 2 * n, Entries: usual.Entries, Workers: n, Wait: waitOfTask, Sleeps: sleeps}
}

// chooseDimensions returns those named, separated by commas; all if none is.
func chooseDimensions(names string) ([]dimension, error) {
	if names == "" {
		return dimensions, nil
	}
	var chosen []dimension
	for name := range strings.SplitSeq(names, ",") {
		d, err := findDimension(name)
		if err != nil {
			return nil, err
		}
		chosen = append(chosen, d)
	}
	return chosen, nil
}

func findDimension(name string) (dimension, error) {
	var known []string
	for _, d := range dimensions {
		if d.name == name {
			return d, nil
		}
		known = append(known, d.name)
	}
	return dimension{}, fmt.Errorf("%q does not grow here: there are %s", name, strings.Join(known, ", "))
}
