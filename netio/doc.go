// Package netio is what shoal does on the network: a [Gateway] runs subroutines for many clients; a [Swarm] is a client's
// connections to one gateway. The bytes between them are those of package proto; the gateway's workers are of package
// pool.
//
// # The path of a task
//
//	Swarm.Call, Swarm.Map                  call.go, map_feed.go an item becomes a task
//	→ Swarm.submit picks a lane            swarm_pick.go        the connection with the fewest in flight; waits for room
//	→ swarmLane.submit gives it a slot     swarm_lane.go        its id; the window and what is kept are bounded here
//	→ session.Outbox, flush                internal/session, flush.go  frames of many tasks; one write a burst
//	→ link.write, the wire                 link.go, link_conn.go
//	→ an event loop of gnet                internal/engine      one read, many frames
//	→ connection.Received                  gateway_connection.go  frames parsed in place; the rest of one is kept
//	→ handler.receive, session.Frames      handler.go, internal/session  bytes to frames, counted, each handled once
//	→ handler.tasks                        handler.go           name, limits, deadline; one batch enters the pool
//	→ batch.Run                            task.go              on a worker, inside the interceptors (intercept.go)
//	→ the subroutine                       subroutine.go        registered with HandleCall, HandleTask or HandleBatch
//	→ Task.Finish, handler.answer          task_end.go, handler_answer.go  the result goes into the outbox of the handler
//	→ session.Outbox, flush, the wire      flush.go             straight to the descriptor, one write a burst
//	→ swarmLane.results                    swarm_lane.go        the slot is free again; acknowledged with the next write
//	→ the caller's sink                    call.go, map_sink.go pendingCall or mapSink, which may send it again (retry.go)
//
// Streams, sends and duplex streams take the same way through lanes, but run on a goroutine of their own: open.go and
// stream.go at the client, handler_stream.go and stream.go at the gateway.
//
// # None lost, none run twice
//
// A lane (lane.go, internal/session) outlives the connections that carry it. Each side keeps what it has sent until the other
// has acknowledged it; after a lost connection the client resumes the lane (swarm_connect.go, gateway_session.go) and both go on from
// where the other was cut. So, while a gateway lives and remembers the session, each task reaches it once, runs at most
// once, and its result comes once. When the gateway is another one, or has forgotten the lane, restart.go decides for each
// task: what the old one certainly did not take is sent to the new one; what it may have run ends as lost, or runs again
// where [RestartRetry] asks for that. A gateway that drains to its end leaves no task of which that is not known.
// A client that is killed has no lane to resume: where its tasks have keys ([MapOptions].Key), its successor sends them again,
// and gets the answers of those that the gateway has (gateway_once.go).
// session_model_test.go is the model of it, session_fuzz_test.go holds it against the real thing, soak_test.go does so
// through a proxy that breaks connections.
//
// # Who owns what
//
//   - A Gateway owns its listeners, the event loops (internal/engine), one goroutine that sweeps silent connections and lanes
//     that nobody came back for (gateway_sweep.go; gateway_away.go says which of them make room), the pool, and the timers. Shutdown and Close return when they have ended.
//   - A connection (gateway_connection.go) is in one of a few states; nothing waits for it. Its bytes come on its event loop,
//     which handles them to the end and never runs a subroutine.
//   - A handler is the gateway's side of a lane: its slots, streams and outbox. A connection comes and goes under it;
//     exchange.mu is held while it is exchanged, and never while somebody waits (gateway_session.go).
//   - A Swarm owns one goroutine for each lane, which connects and then reads, and one that keeps (heartbeats, deadlines
//     during an outage). Close returns when they have ended.
//   - A lane's mu guards its outbox, slots and streams, at both ends. One goroutine at a time writes: whoever claimed the
//     flush. No foreign code runs under mu.
//   - Locks are taken in this order: exchange.mu, lane.recvMu, Gateway.mu, lane.mu, link.mu, engine.Conn.mu, timers.mu. Under lane.mu also
//     onceTable.mu, and nothing under that.
//   - Bodies: what a caller hands in must not change until it is answered; what it gets is its own. What a subroutine gets
//     is valid until it returns or calls Finish; what it gives is copied. A chunk from Recv is valid until the next Recv.
//
// # What goes along
//
// [WithMetadata] gives calls pairs that their subroutines read with [Metadata]; they cross the wire once for each frame. A
// client shows a credential (SwarmConfig.Credential), about which GatewayConfig.Admit decides. What finds no room is told when to
// come back (GatewayConfig.RetryAfter, TaskError.RetryAfter), and swarms and the retries of Maps wait for so long. A gateway that
// drains names its successor (GatewayConfig.Successor), to which swarms go (successor.go). A frame above 64 KiB crosses the wire in
// parts, and in ever smaller ones while connections break before one is through (internal/session/parts.go).
//
// # Trust
//
// Addresses that begin with tls:// speak TLS 1.3 alone (GatewayConfig.TLS, SwarmConfig.TLS). A goroutine shakes hands
// (gateway_tls.go), bounded like every greeting; then the event loop opens records where their bytes arrive, and whoever flushes
// seals a burst at a time (link_tls.go, internal/record). GatewayConfig.Authenticate says who a client is, Authorize what it may
// run; [PeerFrom] tells subroutines. A session belongs to the identity that began it. Package trust has files for all of this.
//
// # Limits
//
// Frame, window of unanswered tasks, their bytes, streams, stream credit (of each stream, and where it is set of all of a
// connection), bytes kept unacknowledged, connections and
// sessions, workers, all timeouts: fields of [GatewayConfig] and [SwarmConfig], each with its default. At a limit of the
// window or the outbox callers wait; at the others they get one of the errors below; a peer that breaks one is cut off.
// A session without a connection is kept for GatewayConfig.SessionTimeout; what it keeps is bounded by Window and
// SendBuffer. When handlers are full, sessions that are away and owe nothing make room for others (gateway_away.go), and the
// longest silent handshake does when there are as many as may be. Retries are bounded for the whole swarm (retry.go).
//
// Compressed frames are sent and taken only where both sides configure them; what an event loop expands of one connection in a
// turn is bounded (lane.go). A stream counts until its subroutine has returned. What a paused process did not hear counts as
// nobody's silence (pause.go).
//
// # Errors
//
// Every error that a caller can see. errors.Is finds them; [StatusOf] gives the status. "Again" means that running the
// task once more cannot run it twice.
//
//	error                 when                                            did it run?       what to do
//	ErrFailed             the subroutine returned an error                yes               as the text says
//	ErrPanicked           the subroutine panicked                         yes, in part      mend the subroutine
//	ErrTimeout            the deadline passed first                       perhaps           look, or again if that does no harm
//	ErrCanceled           the caller cancelled, or closed the swarm       perhaps           nothing: it was asked for
//	ErrBusy               the gateway's queue or stream limit is full     no                again, later; MapOptions.Retries
//	ErrDraining           the gateway is about to stop                    no *              again, elsewhere or with Wait
//	ErrLost               the gateway that had it is gone, or forgot it   perhaps           look; or RestartRetry
//	  and ErrUnreachable  the same, before it was sent                    no                again, when a gateway is there
//	ErrUnknownSubroutine  the gateway has none of that name               no                Swarm.GatewaySubroutines shows what there is
//	ErrUnknownTask        the subroutine knows no such task               yes, to say so    mend the argument or the table
//	ErrNotAllowed         this client may not ask for it                  no                ask who runs the gateway
//	ErrTooLarge           task: above the gateway's frame limit or window no                send it as a stream
//	                      answer: above the client's (a failed task)      yes               raise FrameLimit, or stream
//	ErrWrongShape         a stream was called, or the reverse             no                Call, Stream, Send or Duplex
//	ErrBadArgument        the subroutine could not read its argument      yes, to say so    mend the argument
//	*StreamError          a stream was cut off; matches ErrLost, or       yes, in part      go on from its Progress
//	                      ErrCanceled where the swarm was closed
//	ErrUnreachable        no gateway answers, or not for GiveUp           no                wait (Wait), start one
//	ErrFull               the gateway has as many clients as it may       no                later; raise MaxHandlers
//	ErrVersion            no protocol version in common                   no                use the same shoal
//	ErrUntrusted          the certificate of a tls:// gateway is not good  no                check the address; ask who runs it
//	ErrNotShoal           something else listens there                    no                check the address
//	ErrBadURL             the address is none                             no                mend it
//	ErrBadConfig          a configuration or an option cannot be          no                mend it
//	ErrMalformed          a peer broke the protocol                       as ErrLost        report it: it is a bug
//	ErrClosed             the swarm or the gateway was closed before      no                keep it open
//	ErrStillRunning       Shutdown: subroutines do not return             yes               mend those that it names
//	ErrFinished           a subroutine finished a task twice: it panics   yes               mend the subroutine
//	ErrNoFunction,        a Handle method panics with it                  no                mend the program
//	  ErrReservedName
//
// * Under RestartRetry a task that ran in one life of the gateway can be refused by the next: then it is perhaps.
//
// A *TaskError also carries the text, code and details that the subroutine gave. A timeout matches
// context.DeadlineExceeded too, and canceled context.Canceled.
package netio
