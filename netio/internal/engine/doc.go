// Package engine reads and writes the connections of a gateway on event loops. It is the only importer of gnet.
//
// # The path of bytes
//
//	Engine.Add              engine.go  a connection that somebody accepted is given to the loop with the fewest
//	→ Handler.Opened        engine.go  on the loop, before the first byte
//	→ Handler.Received      engine.go  on the loop, once for each read; the bytes are valid during the call
//	← Conn.TryWrite, Write  conn.go    from any goroutine, straight to the descriptor
//	→ Handler.Closed        engine.go  on the loop, as the last call
//
// # Who owns what
//
// A loop owns the descriptor of its connections: it alone reads them and closes them. Conn.mu is held by writers while they
// use the descriptor, and by the loop when it gives the descriptor up, so no write goes to a descriptor that belongs to
// somebody else by then. A handler's methods run on the loop of its connection: they must not block, and they must not run
// code of a user. In race builds every call checks that it is on the goroutine that the connection belongs to.
//
// # Why it is made this way
//
//   - Connections are enrolled with a gnet.Client. Listeners of gnet.Run end the engine when they run out of descriptors or
//     are shut down, remove what stands in the place of a unix socket, and cannot report port 0.
//   - Writes do not go through gnet: its outbound buffer has no bound and does not tell when it is empty. Where a socket
//     takes no more, the write waits in the runtime's poller with a second descriptor that is open for that long.
//   - Reading cannot be paused. Back-pressure belongs to the protocol: windows of tasks, credit of streams.
//   - gnet has one logger for each process. The engine that was started last gets its messages.
//   - gnet reads GNET_LOGGING_LEVEL and GNET_LOGGING_FILE from the environment when it is imported, and panics if they make
//     no sense.
//
// # Limits
//
// A read takes 128 KiB at most; the buffer for it is the loop's. An idle connection holds no buffer.
package engine
