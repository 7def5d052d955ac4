// Package probe finds out which ports of many addresses are open. It scans from this machine ([Run]), offers scans to the
// clients of a gateway ([Serve]), and makes a scan through a gateway ([Remote]).
//
//	offered := probe.Serve(gw, probe.ServerConfig{})
//	…
//	r, err := probe.NewRemote(swarm, probe.Scan{Targets: "10.0.0.0/20,web[1-40]", Ports: "22,80,443"}, probe.RemoteOptions{})
//	for result, err := range r.Results(ctx) { … }
//
// # Five answers
//
// A probe is answered open, closed, filtered (nothing came back), unreachable (a router or the routing table said so) or
// not tried. The last is the answer where this machine lacks the means: descriptors, ports, memory, rights. Such a local
// error is never told as an answer of the target (verdict.go): it slows the scan down, the probe is tried again, and only
// when that has not helped for the patience of the scan it ends as not tried, with the reason; so do the others at once when no
// probe at all has had the means for that long. A scan that ends well has one answer for every probe; [Counts] counts them.
//
// # The path of a probe
//
//	position → plan: permutation, target, port      permutation.go, scan.go   no table: a /8 costs no memory
//	→ engine.startDue, as the pacer lets it         engine.go, pacer.go       rate and sockets adapt
//	→ limits of the target, lookup of a name        engine_targets.go         parked until there is room
//	→ connector                                     connector_linux.go        non-blocking sockets behind one epoll
//	→ engine.judge: answer, or again                engine.go, verdict.go
//	→ service reader, where that was asked for      service*.go               banner, TLS, HTTP; bounded
//	→ findings                                      findings.go               a bounded queue
//	→ Run's loop, or sender → stream → Remote       run.go, server.go, wire.go, client.go
//
// # Nothing lost, nothing twice
//
// The probes of a scan have positions, which depend on targets, ports and seed alone. A tracker (tracker.go) holds the
// positions that have their answer: all below the lowest without one, and a bitmap of those beyond it; a scan keeps the
// two ends within 65,536 positions. The client's own tracker is the only one that counts when a scan goes on: a position is
// marked when the reader has got its result, and not because a gateway said that it had found or sent something. The next
// gateway is told both parts of the tracker and probes the others. At the end the client compares the number of answers
// with the number of positions; [ErrIncomplete] says how many are missing.
//
// # The pace
//
// The pacer (pacer.go) keeps two quantities, each with additive increase and multiplicative decrease: the starts a second,
// under the rate that the scan names, and the sockets at once, under its fan-out. A want of descriptors lowers the latter; a
// want of ports and buffers, and lost probes lower the former. Two things tell of loss. An answer is late when it came to the
// second SYN of the system, so the first one was lost. And since the order of the probes is random, the share of them that is
// answered at once is the same all the time, unless some are lost. The rate then falls to what got through, which the answers
// that arrive in a second tell; time-outs of the probes since the last fall are not believed, and these are tried again.
//
// # Who owns what
//
// The engine's loop is one goroutine, which owns all state of a scan but the findings. It ends when every position has its
// answer or the context ends, and waits before for the goroutines of lookups (16 at once) and of service readers (one for
// each open port that is read, within the fan-out). A consumer that stops taking findings stops the starts.
//
// # Limits
//
// Scan and ServerConfig have the numbers. A scan holds some hundred bytes for each probe in flight, 16 KiB of positions,
// and answers that were not taken: 4096 and twice the fan-out. From an open port it reads 1 KiB of banner, 256 KiB of TLS
// and 64 KiB of HTTP at most.
//
// The order of the positions and the chunks of the stream are written down beside their code: permutation.go, wire.go.
package probe
