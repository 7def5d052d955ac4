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
// do, a goroutine a connection, bufio, no pool, no status, no session, no limits. All look tasks up in a table.Table of package
// netio/table (internal/workload), the tasks of a batch together. The floor's client is the least that keeps so much in flight: for each connection a goroutine that writes and one that reads; what a burst of
// answers has freed goes out again as one burst, the clock is looked at once a burst, and answers are looked at where
// they lie. No caller gets them: this is what the machine can carry, not what somebody could program against. For loads
// of many callers there is therefore a second floor, "callers", whose client wakes one goroutine for each answer with a
// copy that it may keep, as Swarm.Call does.
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
// In nanoseconds of CPU a task (getrusage, shared out by CPU profiles of both processes), batches of 16, 1024 in flight
// over 8 connections, two virtual cores at 2.3 GHz. "Before" is the design that had a lookup in a map for each task, and at
// the client a choice of a lane, a lock and three copies of each item (slot, answer, result); "after" is what stands here.
//
//	gateway                                     before  after  floor
//	system calls: read, write, poll                 60     57     62
//	lookup of 24 bytes in 100,000 entries           56     34     51
//	copying the answer, and its place in a frame    32     18     11
//	copying the frame, slots, admission             16     12      –
//	scheduling, wake-ups                            20     15      6
//	clock, locks, acknowledgements, the rest        16     24      5
//	                                               200    160    135
//
//	client                                      before  after  floor
//	system calls                                    60     50     76
//	items into slots and frames                     54     41      7
//	answers out of their slots, bodies copied       62     32      4
//	yielding results, the caller's own loop         28     18      –
//	scheduling, wake-ups, hand-overs                25     14     10
//	collector, stacks, the rest                     21     15      3
//	                                               250    170    100
//
// What made the difference, in the order of its size:
//
//   - Map (netio/map_feed.go, map_sink.go). Everything pulled while the last burst was under way is handed over in one step:
//     one lane, one lock, one look at the clock. What tasks have in common stands in one request, so that a slot is a
//     cache line; results go from the frame into what the caller takes. 1024 over 8: 0.43 to 0.85 of the floor.
//   - The table (netio/table_index.go). Four loads of memory that wait for each other became two, and those of a frame's
//     tasks are begun together. In netio: -bench TableLookups.
//   - Goroutines made for one task copy their stack as it grows: Swarm.Go makes none, and one goroutine for a whole Map hands
//     over.
//
// What is left over the floor at the client is mostly memory that moves from one processor's cache to the other's: a slot
// is written by who hands over and read by who takes the answer, a result is written there and read by the caller. The
// floor's client has neither: nobody gets its answers.
//
// # Profiles
//
// With SHOAL_BENCH_PROFILES=dir, CPU profiles of both processes are written to dir, for every round and side that has a
// process of its own (measuring costs some speed):
//
//	go tool pprof -top 'dir/Workload-batch16-shoal-'*'-server.pprof'
package bench
