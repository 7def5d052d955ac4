// Command peers compares shoal with what a user would pick instead, doing the same work. It is a module of its own so
// that no peer becomes a dependency of shoal.
//
//	go -C bench/peers run .                                    # everything, five minutes
//	go -C bench/peers run . -peers shoal,floor,grpc -loads batch
//	go -C bench/peers run . -svg /tmp/peers.svg                # and a plot
//
// # The work
//
// A key of 24 bytes, looked up in a table of 100,000 entries, answered with 64 bytes. The table is the same map for
// everybody; keys are asked for in shuffled order; clients check every answer's size and first byte. The loads are one
// task in flight, 64 over 4 connections, 1024 over 8, and messages of 16 tasks with 1024 tasks in flight over 8.
//
// Shoal and the floor know batches; for the others a batch is one message whose body is a list, which the handler
// walks through: the cheapest way there is, without a status for each task.
//
// # How it is driven
//
// There are two drivers, and every peer but Map, which is a driver itself, has one of them. callers has a goroutine for
// each message in flight that waits for its own answer: what most programs do. pipes has two goroutines a connection,
// one writes and one reads, and nobody waits for a particular answer: what a stream can carry. Compare like with like:
// shoal-calls with floor-calls, netrpc, grpc-unary and nats; shoal-map with floor, grpc-stream, nats-async and drpc. The
// ratios are of shoal's headline, which is Call for one and 64 in flight, and Map for 1024 and for batches.
//
// # How it is measured
//
// This program runs itself again, as a server and as a client for each peer and load; they end with their standard
// input (child.go, process.go). The peers take turns, A B C A B C, after a warm-up of half a round each (contest.go).
// Every figure is the median of the rounds; a ratio is the median of the ratios of rounds that were neighbours. CPU is
// user and system time of the process (getrusage) over the tasks of the round, resident memory is the server's at the
// end of a round. A latency is a message's: a caller's for callers, from before the write for pipes, and from the outbox
// for Map. Of a batch it is that of all 16.
//
// It is a closed loop: a peer that stalls is asked less in the meantime. Latencies at an offered rate are for an open
// loop to tell, which is not here yet.
//
// # What is left out
//
// Raw gnet, because this was written where the module proxy refuses it. ZeroMQ, because it needs cgo. Streams, files and
// pools, which are not these loads.
package main
