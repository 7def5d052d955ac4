// Package pool is a sharded goroutine pool for batches of tasks: many small ones that should cost
// next to nothing each, and slow ones that should wait side by side. It needs only the standard
// library.
//
// # The path of a task
//
//  1. [Queue.Submit] puts a [Batch] into the submitter's own bounded queue, in one step: all of
//     its tasks, or none and [ErrFull]. The queue belongs to one shard of the pool for good.
//  2. Submit wakes (or starts) one worker for that shard, unless one is on its way already.
//  3. The worker claims one task, wakes the next worker if the shard has more, and runs its own.
//     So tasks that block bring up worker after worker at once, without a timer, while trivial
//     tasks are done before the next worker gets a processor. Where the shard's lock is contended,
//     a worker claims up to 32 tasks at once; those it has not begun wait in its span (span.go),
//     from where other workers take them back if it blocks.
//  4. [Batch.Run] returns. The worker keeps its slot and claims the next task; or, if the task is
//     held (it goes on without a goroutine: a timer, an answer to come), the slot stays with the
//     task until [Pool.Release], and the worker needs another one to go on.
//     Of a [QuickBatch], whose tasks never block, several are claimed and run in one step; each has
//     a slot while it runs.
//  5. A worker that finds nothing in any shard gives its slot back and parks.
//
// # Fairness
//
// The queues of a shard are served in turn, up to 32 tasks a turn, or 128 quick ones, so that the answers of a batch
// come together but nobody waits for a long queue of another. After as many claims from a shard
// the claiming worker goes on to the next shard that has work, so that shards share the slots also
// when all slots are taken. Within a queue tasks are claimed in the order they came.
//
// # Slots
//
// Config.Workers slots bound the tasks that run or are held, over all shards. A task counts until
// its Run has returned or, if it is held, until Release is called for it. A held task costs a
// counter and nothing else. A free slot is never kept from queued work: whoever frees one of a
// full pool looks for work in every shard and wakes workers for it.
//
// # Why no wake-up is lost
//
// For each shard holds: if it is ready (has tasks that may start, in queues or spans) and a slot is
// free, then its
// waking flag is set, or somebody is just about to call wake for it. Each of the three is changed
// first and the other two looked at afterwards, with sequentially consistent atomics, so that of
// two goroutines that cross at least one sees the other:
//   - a submitter, and a worker that gives its span back, makes the shard ready, then calls wake;
//   - whoever takes a full pool's slot count down calls wake for all shards afterwards;
//   - a woken worker that has claimed clears the flag, then calls wake; one that found nothing
//     clears the flag, then searches once more.
//
// # Who owns what
//
//   - Shard.mu guards the queues of that shard, all their fields, the ring they are served in, and
//     the list of spans claimed there. No foreign code runs under it.
//   - A span is its worker's; anybody who has Shard.mu may empty it.
//   - Pool.mu guards the stack of idle workers and the count of living ones. It is taken to park
//     and to wake, and once in 128 tasks of a worker, not for a task. No lock is taken while another one is held.
//   - The slot count is one atomic word (slots.go).
//   - A worker goroutine is owned by the pool. It ends when it was idle for Config.IdleTimeout, or
//     when the pool is closed and drained. One timer for the pool looks after idle workers, armed
//     only while there are some; an idle pool whose workers have retired uses no CPU.
//   - A Batch belongs to the pool from Submit until its last Run has returned or panicked. Its Run
//     is called from many goroutines at once, each index exactly once.
//
// # Panics
//
// A panic or runtime.Goexit in Run ends that task alone: Batch.Panicked is told, on a worker, and
// the slot is freed after it has returned. What Panicked itself panics with is swallowed: there
// is nobody left to tell, and a broken reporter must not end the process.
//
// # Limits
//
// Tasks running or held: Config.Workers (at most 1<<31-1). Tasks waiting in a queue: the limit
// given to NewQueue, and up to 31 for each worker in spans; a batch longer than the limit never
// fits. Goroutines: as many as slots, and for
// moments a few more (a worker that parks while another one starts). An idle queue is about a
// hundred bytes, so tens of thousands may exist.
package pool
