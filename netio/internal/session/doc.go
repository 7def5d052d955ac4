// Package session is the state of one end of a lane: bytes in, frames out. It has no socket, goroutine, lock, timer or clock of
// its own. Package netio composes it, at both ends of the wire, and says which of its locks guards what.
//
//	Inbound, Frames  inbound.go      what arrives: frames, counted, expanded, each handed out once
//	Outbox           outbox.go       what leaves: open frames, and those kept until the peer has acknowledged them
//	                 acknowledge.go  control frames, acknowledgements and the goodbye, and what one write consists of
//	                 parts.go        large frames in parts, at both ends
//	Credit, Windows  credit.go       flow control of streams
//	Inbox            inbox.go        chunks that have arrived and are not consumed
//	Buffer           buffer.go       the memory of all of these
//
// # What holds
//
// Each frame of an end's sequence reaches the other end's Frames once, in order, and whole, whatever connections carry the
// bytes and wherever they are cut, as long as both ends live: lane_model_test.go holds that against the real code. The Outbox
// keeps a frame until it is acknowledged, so its caller bounds what is appended by Unacknowledged.
package session
