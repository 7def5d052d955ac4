package session

import (
	"fmt"

	"shoal/proto"
)

// Frames that are sent in parts. Each part counts by itself, so that a connection which breaks again and again gets a large
// frame through. An Outbox parts what is above partSize, and makes smaller parts while connections bring nothing through.
const (
	partSize  = LargeBuffer
	leastPart = 1 << 10
	// steady is how many bytes have to be acknowledged on one connection before its Outbox goes back to partSize.
	steady = 1 << 20
)

// parted returns a buffer with the frames of b from an offset in it, which is where a frame begins, in parts of at most size
// bytes. The frames before it stay as they are. B is used up where anything is parted.
func parted(b *Buffer, from, size int) *Buffer {
	if len(b.B)-from <= proto.HeaderSize+size {
		return b
	}
	total := from + proto.PartsSize(b.B[from:], size)
	if total == len(b.B) {
		return b
	}
	out := NewBuffer(total)
	out.B = append(out.B, b.B[:from]...)
	out.B, _ = proto.AppendParts(out.B, b.B[from:], size)
	b.Free()
	return out
}

// stuck makes smaller parts of everything from an offset on, where a connection has brought nothing through of what was
// written. No connection uses the Outbox, and no peer has received what lies beyond the offset.
func (o *Outbox) stuck(received uint64) {
	o.parts = max(o.parts/4, leastPart)
	at := o.base
	o.end, o.keptBytes = o.base, 0
	for i, b := range o.kept {
		size := uint64(len(b.B))
		if at+size > received {
			o.kept[i] = parted(b, int(max(at, received)-at), o.parts)
		}
		at += size // as it was: only what lies beyond the offset has grown
		o.end += uint64(len(o.kept[i].B))
		o.keptBytes += len(o.kept[i].B)
	}
}

// assembly is the payload of a frame that comes in parts, as far as it has arrived.
type assembly struct {
	buffer *Buffer // nil: no frame is under way
	kind   proto.Kind
	flags  uint8
}

// add puts a sequenced frame to the parts before it. A frame that is whole now has the payload of all of them, in a buffer that
// is the caller's from then on; nil: it came without parts.
func (a *assembly) add(f *proto.Frame, limit int) (whole bool, payload *Buffer, err error) {
	flags := f.Flags &^ proto.FlagMore
	switch {
	case a.buffer == nil && !f.More():
		return true, nil, nil
	case a.buffer == nil:
		a.buffer, a.kind, a.flags = NewBuffer(len(f.Payload)), f.Kind, flags
	case f.Kind != a.kind || flags != a.flags:
		return false, nil, fmt.Errorf("%w: frame of kind %#02x with flags %#02x among the parts of one of kind %#02x with flags %#02x",
			proto.ErrMalformed, uint8(f.Kind), f.Flags, uint8(a.kind), a.flags)
	}
	size := len(a.buffer.B) + len(f.Payload)
	if size > limit {
		return false, nil, fmt.Errorf("%w: parts of %d bytes, limit %d", proto.ErrTooLarge, size, limit)
	}
	if a.buffer.Room() < len(f.Payload) {
		grown := NewBuffer(max(size, min(2*len(a.buffer.B), limit)))
		grown.B = append(grown.B, a.buffer.B...)
		a.buffer.Free()
		a.buffer = grown
	}
	a.buffer.B = append(a.buffer.B, f.Payload...)
	if f.More() {
		return false, nil, nil
	}
	payload, a.buffer = a.buffer, nil
	f.Payload = payload.B
	return true, payload, nil
}

// drop forgets what has arrived.
func (a *assembly) drop() {
	if a.buffer != nil {
		a.buffer.Free()
		a.buffer = nil
	}
}
