// Command growth measures how shoal grows: tasks a second, the 99th percentile of latencies and the gateway's resident
// memory, while one thing becomes larger and everything else stays as it is.
//
//	go -C bench/peers run ./growth                                  # all five, three and a half minutes
//	go -C bench/peers run ./growth -only connections,table -rounds 5
//	go -C bench/peers run ./growth -svg /tmp                        # and growth-connections.svg and so on
//
// # What grows
//
//   - connections, 1 to 10,000: of one swarm, and of many swarms of 16, with max(1024, connections) tasks in flight in all;
//   - table, 1,000 to 10 million entries; all of them are asked for, in shuffled order;
//   - workers, 1 to 100,000: each task waits a millisecond, on a timer of the table or in a goroutine that sleeps, and
//     twice as many tasks as workers are in flight over 16 connections;
//   - size of a task, 16 B to 1 MiB; answers of 64 bytes, at most 64 MiB in flight;
//   - inflight, tasks in flight, 1 to a million over 16 connections.
//
// What does not grow is 8 connections, 1024 tasks in flight, keys of 24 bytes, a table of 100,000 entries that do not
// wait, answers of 64 bytes, the default 1024 workers. One Map a swarm asks, with single tasks, not batches.
//
// # How it is measured
//
// This program runs itself again as a gateway and as a client, new ones for each point, with GOMAXPROCS=2 (process.go,
// child.go). After a warm-up of half a round come the rounds; a figure is the median of theirs. Latencies are from the
// outbox to the arrival of the answer, in a closed loop: where more is in flight they follow from the rate. Memory is
// the gateway's VmRSS at the end of a round, the table in it. CPU is user and system time of a process over the tasks of
// the round. Rounds that differ widely mean that the machine had something else to do.
//
// With -profiles DIR both processes write a CPU profile of the last round of each point; measuring costs some speed.
package main
