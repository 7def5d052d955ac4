// Package rollout decides when each of many tasks starts, and hands them to a gateway: how many at once, how many at once on
// one target, how fast, some before the rest, again after a failure, and no more after too many failures. It stands at the
// client and uses netio's public interface alone.
//
// # The path of a task
//
//	the caller's tasks           a goroutine pulls them, one ahead of what the schedule has asked for
//	→ Schedule.Offer             the task waits, for its target or for its turn
//	→ Schedule.Step says Start   map.go hands it to Swarm.Map, whose iterator is the schedule
//	→ the gateway
//	→ Schedule.Ended             final, or to be tried again after a pause
//	→ the caller's loop          results in the order in which they became final
//
// Schedule (schedule.go) is a state machine without a clock: it is told the time and what has happened, and answers what is to
// be done now. So its tests run hours in microseconds, and compare it with a small model. Rollout (map.go) drives it.
//
// # What counts for what
//
// A start is a task handed to the gateway, retries too: Fanout, PerTarget, Rate and Delay count starts. A time-out of a task
// counts from its start; StartWithin bounds the wait before it. A wave of the canary is a number of tasks in the order
// given; the next begins when all of its tasks are final. Failures that halt are final ones: a task that succeeds at its
// second try is none. A task whose failure no second try can mend, as Options.Judge says, is final at once.
//
// # Who owns what
//
// A Rollout has, while its Map runs, a goroutine that pulls tasks and one that reads results; both end with the loop over
// Map. Rollout.mu guards the schedule; no foreign code runs under it. At most MaxHeld tasks wait for busy targets; the
// caller's iterator is not asked for more meanwhile.
package rollout
