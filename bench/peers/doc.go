// Command peers compares shoal with what a user would pick instead, doing the same work. It is a module of its own so
// that no peer becomes a dependency of shoal.
//
//	go -C bench/peers run .                                    # everything, eleven minutes
//	go -C bench/peers run . -peers shoal,floor,grpc -loads batch
//	go -C bench/peers run . -open=false -svg /tmp/peers        # closed loops alone; and plots, into a folder
//	go -C bench/peers run -tags zmq .                          # ZeroMQ too, with cgo and libzmq
//	go -C bench/peers run . figures -before REVISION           # the ratios that shoal is judged by (figures.go)
//
// # The work
//
// A key of 24 bytes, looked up in a table of 100,000 entries, answered with 64 bytes. The table is a table.Table of
// netio/table for everybody, and the tasks of a message are looked up together (../internal/workload). Keys are asked for
// in shuffled order; clients check every answer's size and first byte. The loads are one task in flight, 64 over 4
// connections, 1024 over 8, and messages of 16 tasks with 1024 tasks in flight over 8.
//
// And streams: the server sends chunks of 1 KiB as fast as the client reads them, one stream over one connection and 4
// over 4. Clients check each chunk's size and that its number is the next. What keeps a server from sending more than
// is read is each peer's own: credit, HTTP/2's windows, TCP, high-water marks. NATS has none and drops, so there the
// client acknowledges by subject (nats_feed.go).
//
// Shoal and the floor know batches; for the others a batch is one message whose body is a list, which the handler
// walks through: the cheapest way there is, without a status for each task.
//
// # How it is driven
//
// There are two drivers for tasks, and every peer but Map, which is a driver itself, has one of them. callers has a
// goroutine for each message in flight that waits for its own answer: what most programs do. pipes has two goroutines a
// connection, one writes and one reads, and nobody waits for a particular answer: what a stream can carry. Compare like
// with like: shoal-calls with floor-calls, gnet-calls, netrpc, grpc-unary, nats and http; shoal-map with floor, gnet,
// grpc-stream, nats-async, drpc and zmq. The ratios are of shoal's headline, which is Call for one in flight, and Map for all else. feeds reads streams, a goroutine for each.
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
// # The open loop
//
// A closed loop asks a peer that stalls for less in the meantime, and so its latencies leave out the worst (coordinated
// omission). Therefore, afterwards, messages are sent by a schedule, whatever becomes of those before them
// (openloop.go, pacer.go):
//
//   - Gaps are exponential, from a seed: a Poisson process, as of many clients that know nothing of each other. Round n
//     has the same schedule for every peer that sends over as many connections.
//   - A latency is counted from when the message was due, not from when it was sent. What was due and not sent until the
//     round was over counts with the time that it has waited, which is the least that its latency can be.
//   - Rates are the same for all and double, from a 32nd of the highest rate that the best peer (neither shoal nor a
//     floor nor raw gnet) has reached in the closed loop of this run, up to that rate. Who answers less than 95 % of what
//     is offered, or has a p99 above 100 ms, goes no further; its figures at that rate are printed.
//   - The loads are single tasks over 4 and over 8 connections, and batches of 16 over 8. One in flight is left out: by
//     a schedule it would be a low rate over one connection. How many are in flight follows from the latency, up to
//     8192 messages over all connections; what is due beyond that waits, and the wait counts.
//   - A pacer for each connection sends what is due as one burst, flushes, and sleeps until the next is due, at least
//     100 µs: so at high rates up to that much of every latency is the pacer's, for all alike. It sleeps by a timerfd,
//     which is some 20 µs late and not, as time.Sleep of an idle process, a millisecond. For callers it starts a goroutine
//     for each message. Map has one feeder, and so one pacer for all connections.
//   - A round is a quarter of one of the closed loop.
//
// # What is left out
//
// rpcx, whose module was not to be had where this was written. A Go binding of ZeroMQ for the same reason: zmq_socket.go is
// the little that is needed of one. Streams over raw gnet, which has no back-pressure. Files, which are in the benchmarks of shoal itself.
package main
