// Package pools compares shoal's pool with what else runs tasks on a bounded number of goroutines. It has no code but
// its benchmark:
//
//	go -C bench/peers test -run - -bench Pools ./pools                  # two minutes
//	go -C bench/peers test -run - -bench Pools -benchtime 100ms ./pools # rounds of 20 ms
//	go -C bench/peers test -run - -bench Pools/producers=8/batch=64 ./pools
//
// After the lines for programs come tables for people: nanoseconds a task, from the first submit until the last task is
// done, and how many times that of shoal's pool they are.
//
// # Who takes part
//
//   - shoal: package pool as it comes, 1024 slots, a queue for at most 8192 waiting tasks for each producer. Who finds its
//     queue full sleeps 20 µs, since Submit never blocks.
//   - shoal-quick: the same with a QuickBatch of grain 32, as the gateway does it for tables, whose tasks cannot block.
//   - go: a goroutine a task, and a semaphore of 1024.
//   - channel: 1024 goroutines that read one channel with room for 8192 tasks.
//   - slices: the same, but a batch is one send, and one goroutine runs all of it: what blocks holds up those behind it.
//   - ants: github.com/panjf2000/ants/v2, a MultiPool of as many pools as processors, 1024 goroutines in all. It has no
//     queue: a submit waits until a goroutine is free.
//   - pond: github.com/alitto/pond 1.9, 1024 goroutines and a queue of 8192. It is not version 2, which the module proxy
//     refused where this was written.
//   - conc: github.com/sourcegraph/conc/pool, 1024 goroutines, no queue.
//
// So at most 1024 tasks run at once everywhere, and producers wait where there is no room. Only shoal and slices know
// batches; for the others a batch is 64 submits.
//
// # What the figures do not show
//
// Shoal's has with it what most of the others have not:
//
//   - Fairness: a queue and a bound for each submitter, served in turn. channel, slices and pond have one line for all, in
//     which a submitter waits for everything that any other has put in before it. go, ants and conc have no line: whoever
//     submits stands still until one of its tasks begins.
//   - Panics: shoal tells the batch which of its tasks panicked, or called Goexit, and with what. ants and pond call a
//     handler that is not told which task it was; conc keeps the first panic for whoever calls Wait. With go, channel and
//     slices the process ends. Goexit takes a goroutine from channel, slices and pond, or a slot from go, for good.
//   - A batch enters in one step, all of it or nothing, and a full queue is an error, not a wait.
//   - Held tasks: a task may go on without a goroutine and keep its slot.
//
// # How it is measured
//
// Every pool is made once for a load and stays warm. They take turns, A B C A B C, and who begins changes with the round.
// A round is as many tasks as the pool did in a fifth of the benchtime when it was tried; figures are medians of seven
// rounds, ratios medians of the ratios of neighbours. A trivial task takes one off a counter that all share, which is how
// the last one is known. Busy work is a loop that was found to take a microsecond when nothing else runs.
//
// With SHOAL_POOLS_PROFILES=dir, the CPU profile of each round is written to dir.
package pools
