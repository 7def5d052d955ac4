package session

import (
	"fmt"

	"shoal/proto"
)

// How an end of a lane tells its peer what has arrived. An acknowledgement goes along with the next write once ackSoon bytes
// have arrived since the last one, and is a reason to write once AckEvery have.
const (
	ackSoon  = 4 << 10
	AckEvery = 32 << 10
)

// maxControl bounds the control frames for a peer that does not read: it gets no more pongs and acknowledgements than this.
const maxControl = 64 << 10

// Begin prepares an Outbox for a new connection, whose peer has received our sequence up to an offset and is told with the
// first control frames, which first is made of, what we have received. False means that the peer's offset is impossible.
func (o *Outbox) Begin(peerReceived, received uint64, first []byte) bool {
	if !o.Rewind(peerReceived) {
		return false
	}
	o.control = append(o.control, first...)
	o.told.Store(received)
	return true
}

// Control appends a control frame, made by add, which goes ahead of the sequence, after an acknowledgement of what has been
// received.
func (o *Outbox) Control(received uint64, add func(dst []byte) []byte) {
	if len(o.control) <= maxControl {
		o.acknowledge(received)
	}
	o.control = add(o.control)
}

// Pong answers a ping. The answer is dropped where the peer does not read those before it.
func (o *Outbox) Pong(received uint64, payload []byte) error {
	if len(payload) > proto.PingLimit {
		return fmt.Errorf("%w: ping of %d bytes", proto.ErrMalformed, len(payload))
	}
	if len(o.control) <= maxControl {
		o.acknowledge(received)
		o.control = proto.AppendFrame(o.control, proto.Frame{Kind: proto.KindPong, Payload: payload})
	}
	return nil
}

// acknowledge appends an acknowledgement if the peer was not told so much.
func (o *Outbox) acknowledge(received uint64) {
	if received != o.told.Load() {
		o.told.Store(received)
		o.control = proto.AppendAck(o.control, received)
	}
}

// AckNow makes the next Take acknowledge what has been received, however little.
func (o *Outbox) AckNow() { o.ackNow = true }

// AckAgain is AckNow also where the peer was told, or counts as told (HoldAcks).
func (o *Outbox) AckAgain() {
	o.told.Store(0)
	o.ackNow = true
}

// HoldAcks makes the peer count as told what has been received.
func (o *Outbox) HoldAcks(received uint64) { o.told.Store(received) }

// Told returns the offset that the peer was told last. It needs no lock.
func (o *Outbox) Told() uint64 { return o.told.Load() }

// Goodbye makes a frame the last that is written. DropGoodbye takes it back.
func (o *Outbox) Goodbye(frame []byte) { o.goodbye = frame }

// DropGoodbye takes back the goodbye, if it was not taken to be written.
func (o *Outbox) DropGoodbye() { o.goodbye = nil }

// Parting reports whether a goodbye waits to be written.
func (o *Outbox) Parting() bool { return o.goodbye != nil }

// ControlBytes returns how many bytes of control frames wait to be written.
func (o *Outbox) ControlBytes() int { return len(o.control) }

// Waiting reports whether there is something to write.
func (o *Outbox) Waiting() bool {
	return o.ackNow || o.goodbye != nil || len(o.control) > 0 || o.Unsent() > 0
}

// Take appends to dst what to write next, about limit bytes of it of the sequence; control says how many bytes of it are
// control frames. Nothing means that there is nothing to write. The pieces belong to the Outbox; they are valid until Wrote.
func (o *Outbox) Take(dst [][]byte, limit int, received uint64) (pieces [][]byte, control int) {
	if o.ackNow || o.goodbye != nil || received-o.told.Load() >= ackSoon {
		o.ackNow = false
		o.acknowledge(received)
	}
	control = len(o.control)
	pieces = dst
	if control > 0 {
		pieces = append(pieces, o.control)
		o.control, o.spare = o.spare[:0], o.control
	}
	pieces = o.takeSequence(pieces, limit)
	if len(pieces) == len(dst) && o.goodbye != nil {
		pieces = append(pieces, o.goodbye)
		control, o.goodbye = len(o.goodbye), nil
	}
	return pieces, control
}

// Wrote records that n bytes of what was taken have been written, of which the first control bytes were control frames.
func (o *Outbox) Wrote(n, control int) { o.wrote(max(0, n-control)) }
