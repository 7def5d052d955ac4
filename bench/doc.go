// Package bench measures shoal under load, over its public API. It has no code but its benchmarks:
//
//	go test -run - -bench load ./bench        # tasks: the loads that the figures are asked for, and sessions
//	go test -run - -bench . ./bench           # everything, about four minutes
//	go test -run - -bench . -benchtime 1x ./bench   # one short round of each: only to see that they work
//
// After the lines for programs come tables for people.
//
// # How
//
// Client and gateway are separate processes over 127.0.0.1, with GOMAXPROCS=2 in each: the test binary is the client,
// and runs itself again as the gateway, the floor's server or another client. So CPU time and allocations are told
// apart: each process is asked for its own before and after a round.
//
// Beside shoal, in the same run, stands the floor: the same work over plain net.Conn with the smallest frame that will
// do, a goroutine a connection, bufio, no pool, no status, no session, no limits. Both look tasks up in a table.Table of
// package netio/table (internal/workload), the tasks of a batch together. The floor's client is the least that keeps so
// much in flight: for each connection a goroutine that writes and one that reads; what a burst of answers has freed goes
// out again as one burst, the clock is looked at once a burst, and answers are looked at where they lie. No caller gets
// them: this is what the machine can carry, not what somebody could program against. For loads of many callers there is
// therefore a second floor, "callers", whose client wakes one goroutine for each answer with a copy that it may keep, as
// Swarm.Call does. Raw gnet, the engine of the gateway without the gateway, is in bench/peers, whose module may have it;
// so is the command that measures the figures of the README (go -C bench/peers run . figures).
//
// The sides take turns, A B A B, five rounds of 0.7 s each (more with a longer -benchtime, N with -benchtime Nx). Every
// figure is the median of the rounds; a ratio is the median of the ratios of neighbours. Absolute figures hold for the
// machine and the hour; ratios are what to compare.
//
// # What
//
//   - Workload: keys of 24 bytes in shuffled order, a table of 100,000 entries without waits, answers of 64 bytes; one
//     task in flight; 64 over 4 connections and 1024 over 8 (by one Map, and by callers); batches of 16, 1024 tasks in
//     flight over 8. "gw" is the gateway's process, "cl" the client's. Latencies are a caller's for calls, from
//     the outbox to the arrival of the answer for Map.
//   - WorkloadUser: the table beside a batch subroutine that an embedder could write, over the same table.
//   - WorkloadSessions: the same with and without sessions.
//   - Stream, Send: chunks of 1 KiB to the client, a body of 64 KiB chunks to the gateway.
//   - Control: single calls on a swarm with three feeds at full speed.
//   - Waiting, Wait512on512, Wait512on32: tasks that wait a second (a tenth with -benchtime 1x).
//   - IdleConnections, IdleStreams, StuckReader: memory and CPU of a gateway that has nothing to do. "After a collection"
//     is after runtime.GC and FreeOSMemory.
//   - Files: the Go installation's tree got and put, first and again, and one file of 1 GiB, on /dev/shm, beside cp, rsync's
//     daemon, rclone over HTTP and tar through a socket; memory of both sides; single calls on the same swarm meanwhile.
//     Client and gateway are the built binary. Without rsync or rclone installed their rows are missing.
//   - Fairness: single calls beside another client's 100,000 queued tasks. The flood has the lowest priority (nice 19).
//     Three processes share the cores; the same calls to an otherwise idle server of the floor show how much of it is that.
//
// # Where the time of a task goes
//
// Both processes' CPU profiles tell (see below). At the gateway the tasks of a burst share one read, one step into the
// pool and one write; a batch subroutine is called once for up to 32 of them. At the client, Map hands over what was pulled
// while the last burst was under way in one step: one lane, one lock, one look at the clock. What shoal's client does
// and the clients of the floor and of raw gnet do not is memory that moves from one processor's cache to the other's: a slot
// is written by the goroutine that submits and read by the one that takes the answer; a result is written there and read by the
// caller. Nobody gets the answers of the others.
//
// A wake-up of an idle processor costs more than everything else that a single task needs, and how much more differs from
// machine to machine. So one task in flight says more of the machine than of shoal; compare its ratio with raw gnet's.
//
// # Profiles
//
// With SHOAL_BENCH_PROFILES=dir, CPU profiles of both processes are written to dir, for every round and side that has a
// process of its own (measuring costs some speed):
//
//	go tool pprof -top 'dir/Workload-batch16-shoal-'*'-server.pprof'
package bench
