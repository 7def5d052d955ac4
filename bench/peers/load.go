package main

import "fmt"

// load is one of the loads that every peer is put under.
type load struct {
	Name     string
	Title    string
	Headline string // the peer that ratios are of
	Conns    int

	Stream bool // a stream of chunks over each connection: no tasks, and what follows does not count

	InFlight int    // tasks
	Batch    int    // tasks of a message
	Open     string // the title with an offered rate in place of so many in flight; "": only a closed loop
}

// loads are those that shoal's figures are asked for.
var loads = []load{
	{Name: "one", Title: "One task in flight", Headline: "shoal-calls", Conns: 1, InFlight: 1, Batch: 1},
	{Name: "64", Title: "64 tasks in flight over 4 connections", Headline: "shoal-map", Conns: 4, InFlight: 64, Batch: 1,
		Open: "Tasks over 4 connections"},
	{Name: "1024", Title: "1024 tasks in flight over 8 connections", Headline: "shoal-map", Conns: 8, InFlight: 1024, Batch: 1,
		Open: "Tasks over 8 connections"},
	{Name: "batch", Title: "Batches of 16 tasks a message, 1024 tasks in flight over 8 connections", Headline: "shoal-map",
		Conns: 8, InFlight: 1024, Batch: 16, Open: "Batches of 16 tasks a message over 8 connections"},
	{Name: "stream1", Title: "One stream of 1 KiB chunks over one connection", Headline: "shoal-feed", Conns: 1, Batch: 1, Stream: true},
	{Name: "stream4", Title: "4 streams of 1 KiB chunks over 4 connections", Headline: "shoal-feed", Conns: 4, Batch: 1, Stream: true},
}

// messages returns how many messages are in flight.
func (l load) messages() int { return l.InFlight / l.Batch }

// openMessages is how many messages may be in flight in an open loop. Those that are due beyond it wait, and the wait
// counts.
const openMessages = 8192

// slots returns how many messages may be in flight on one connection, at most.
func (l load) slots() int { return max(l.messages(), openMessages) / l.Conns }

// unit is what is counted.
func (l load) unit() string {
	if l.Stream {
		return "chunk"
	}
	return "task"
}

func findLoad(name string) (load, error) {
	for _, l := range loads {
		if l.Name == name {
			return l, nil
		}
	}
	return load{}, fmt.Errorf("no load %q", name)
}

const idSize = 4 // of a message on a stream
