// Package fleet lets one client use many gateways: name one, use all; lose one, and what it certainly did not run goes to
// another.
//
//	Dial              fleet.go     a Fleet has Swarm's methods, over one swarm for each gateway that it uses
//	Announce          announce.go  a gateway tells its clients who the members are, and tells them of changes
//	→ Fleet.follow    follow.go    the client learns of them from any gateway that it has reached
//	→ candidates      route.go     those that reach a task's target: longest prefix, then node sets, then everybody
//	→ pick            balance.go   the better of two at random, by what is under way and how fast answers come
//	→ Swarm.Map       map.go       one for each gateway; results of all come back under the caller's indexes
//
// # What is known, and what is only a hint
//
// Membership is a hint. It says where to dial. A gateway that a client has a connection to is used as long as that connection
// lives, whatever the others say of it; one that does not answer is not used, whatever they say.
//
// # Failure
//
// A task is handed to one gateway. Only where that gateway certainly did not run it (it was unreachable, busy, or draining) does
// it go to another one, each at most once. A task that a lost gateway may have run ends as netio.ErrLost; under
// netio.RestartRetry it runs again, at another gateway. The swarm to a gateway that has gone silent gives its tasks up after
// Config.GiveUp. No clock and no agreement among gateways is on the path of a task: the client alone decides where each of its
// tasks is, so two gateways that cannot see each other do not run one twice.
//
// # Balance
//
// A task goes to the better of two gateways drawn at random ("The Power of Two Choices in Randomized Load Balancing",
// Mitzenmacher 2001), by tasks under way times how long answers take. A gateway holds at most twice as many tasks of a Map as it
// has workers, so a slow one holds few of them up; what is not handed over stays with the client. A gateway that has
// just been reached begins with a tenth of that (slow start). Of many gateways a client uses a subset of Config.Subset, by
// rendezvous hashing (gRPC's proposal A68): a change of the members moves few clients.
//
// # Limits
//
// A fleet has at most maxMembers gateways. The list of members is bounded by the frame limit.
package fleet
