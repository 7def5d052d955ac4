package session

import (
	"math"
	"sync/atomic"

	"shoal/proto"
)

// Outbox is what one end of a lane sends. It has four parts, which are written in this order:
//
//   - control frames, which go ahead of everything else and are never sent again (acknowledge.go);
//   - unacknowledged frames, which were taken for writing and are kept until the peer has acknowledged them;
//   - open frames, which are under construction;
//   - a goodbye, after which nothing is written.
//
// Unacknowledged and open frames are the lane's sequence: an offset counts its bytes from the lane's beginning, whatever
// connections carried them. A new connection goes on at the offset that the peer has received (Rewind).
//
// Frames of many entries (tasks, results, chunks) stay open: the next entry of the same kind goes into the open frame until
// Take closes it. So a burst is one frame, and a single task is not delayed by anything.
//
// The caller guards an Outbox with one lock, but for the methods that say otherwise.
type Outbox struct {
	control []byte
	spare   []byte // the memory of control while the bytes in it are written
	goodbye []byte // nil: none
	ackNow  bool   // the next Take acknowledges what has arrived, however little
	told    atomic.Uint64

	open      []*Buffer
	openBytes int
	frame     int        // start in the last open buffer of the frame that can take more entries; -1: none
	kind      proto.Kind // of that frame
	key       FrameKey   // of that frame
	entries   int        // in that frame

	kept      []*Buffer
	keptBytes int
	base      uint64 // offset of the first kept byte
	next      uint64 // offset of the next byte to write on this connection
	end       uint64 // offset after the last kept byte
	written   uint64 // the highest that next ever was: a frame that ends beyond it was never received whole
	acked     uint64 // what the peer says it has received
	began     uint64 // where this connection began
	parts     int    // payload bytes of the largest frame that is not sent in parts

	limit     int               // the peer's frame limit
	ephemeral bool              // no session: what is written need not be kept
	compress  proto.Compression // of frames that gain by it
	burst     int               // size of the last burst: the next one starts with a buffer of about that size
}

// FrameKey is what the entries of one frame have in common. Only frames of tasks have a name and a deadline.
type FrameKey struct {
	Name     string
	Deadline uint64
	Fields   string // as proto.AppendFields makes them; empty: none
}

// NoLimit is the number of entries of a frame that ends where its buffer does.
const NoLimit = 1 << 30

// compressFrom is the smallest frame worth compressing.
const compressFrom = 256

// Init makes an Outbox ready for use. An ephemeral one keeps nothing that was written: its lane cannot be resumed.
func (o *Outbox) Init(ephemeral bool) {
	o.frame, o.limit, o.ephemeral, o.parts = -1, proto.MinFrameLimit, ephemeral, partSize
}

// SetPeer sets what the peer of a connection takes: the largest frame and the compression.
func (o *Outbox) SetPeer(limit int, c proto.Compression) { o.limit, o.compress = limit, c }

// Limit returns the payload bytes of the largest frame that the peer takes.
func (o *Outbox) Limit() int { return o.limit }

// Reserve returns the buffer to append to, with room for size bytes. The open frame survives only where it has that room.
func (o *Outbox) Reserve(size int) *Buffer {
	if n := len(o.open); n > 0 && o.open[n-1].Room() >= size {
		return o.open[n-1]
	}
	o.CloseFrame()
	want := max(size, min(o.burst, LargeBuffer))
	if n := len(o.open); n > 0 {
		want = max(want, min(8*cap(o.open[n-1].B), LargeBuffer))
	}
	b := NewBuffer(want)
	o.open = append(o.open, b)
	return b
}

// CloseFrame completes the frame under construction.
func (o *Outbox) CloseFrame() {
	if o.frame >= 0 {
		proto.EndFrame(o.open[len(o.open)-1].B, o.frame)
		o.frame = -1
	}
}

// Entry returns the buffer to which the caller appends one entry of exactly size bytes. It opens a frame of the kind and key
// if none is open, or if the open one has limit entries.
func (o *Outbox) Entry(kind proto.Kind, key FrameKey, size, limit int) *Buffer {
	if o.frame >= 0 && o.kind == kind && o.key == key && o.entries < limit {
		b := o.open[len(o.open)-1]
		if b.Room() >= size && len(b.B)-o.frame-proto.HeaderSize+size <= o.limit {
			o.entries++
			o.openBytes += size
			return b
		}
	}
	o.CloseFrame()
	header := proto.HeaderSize + len(key.Fields)
	if kind == proto.KindTasks {
		header += proto.TasksHeaderSize(key.Name)
	}
	b := o.Reserve(header + size)
	o.frame, o.kind, o.key, o.entries = len(b.B), kind, key, 1
	b.B = proto.BeginFrame(b.B, kind)
	if key.Fields != "" {
		b.B[o.frame+proto.FlagsOffset] |= proto.FlagFields
		b.B = append(b.B, key.Fields...)
	}
	if kind == proto.KindTasks {
		b.B = proto.AppendTasksHeader(b.B, key.Deadline, key.Name)
	}
	o.openBytes += header + size
	return b
}

// More reports whether the frame into which Entry has just put an entry, in b, takes one of size bytes too, and counts that
// entry if so. It is Entry for a caller with many entries of one kind.
func (o *Outbox) More(b *Buffer, size int) bool {
	if b.Room() < size || len(b.B)-o.frame-proto.HeaderSize+size > o.limit {
		return false
	}
	o.entries++
	o.openBytes += size
	return true
}

// Whole returns the buffer to which the caller appends the payload of one frame behind its fields, exactly size bytes.
func (o *Outbox) Whole(kind proto.Kind, fields string, size int) *Buffer {
	b := o.Entry(kind, FrameKey{Fields: fields}, size, 0)
	o.Seal()
	return b
}

// Seal makes the open frame one that takes no more entries.
func (o *Outbox) Seal() { o.entries = int(^uint(0) >> 1) }

// Unacknowledged returns how many bytes of the sequence are held for the peer.
func (o *Outbox) Unacknowledged() int { return o.keptBytes + o.openBytes }

// Unsent returns how many bytes of the sequence wait to be written.
func (o *Outbox) Unsent() int { return int(o.end-o.next) + o.openBytes }

// OpenBytes returns how many bytes are in open frames.
func (o *Outbox) OpenBytes() int { return o.openBytes }

// End returns the offset after the last frame that was taken.
func (o *Outbox) End() uint64 { return o.end }

// Acked returns the offset up to which the peer has acknowledged.
func (o *Outbox) Acked() uint64 { return o.acked }

// takeSequence closes the open frames, keeps them, and appends to dst about limit bytes of the sequence to write now, to the
// end of a buffer.
func (o *Outbox) takeSequence(dst [][]byte, limit int) [][]byte {
	if len(o.open) > 0 {
		o.CloseFrame()
		o.burst = o.openBytes
		for _, b := range o.open {
			b = parted(compressed(b, o.compress), 0, o.parts)
			o.kept = append(o.kept, b)
			o.keptBytes += len(b.B)
			o.end += uint64(len(b.B))
		}
		clear(o.open)
		o.open, o.openBytes = o.open[:0], 0
	}
	at := o.base
	for _, b := range o.kept {
		if limit <= 0 {
			break
		}
		end := at + uint64(len(b.B))
		if end > o.next {
			piece := b.B[max(o.next, at)-at:]
			dst = append(dst, piece)
			limit -= len(piece)
		}
		at = end
	}
	return dst
}

// wrote records that n bytes of the sequence have been written.
func (o *Outbox) wrote(n int) {
	o.next += uint64(n)
	o.written = max(o.written, o.next)
	if o.ephemeral {
		o.acked = o.next
	}
	o.trim()
}

// Acknowledged records the offset that the peer has received. False means that the peer claims more than was sent.
func (o *Outbox) Acknowledged(received uint64) bool {
	if received > o.end {
		return false
	}
	if o.acked = max(o.acked, received); o.acked-o.began >= steady {
		o.parts = partSize
	}
	o.trim()
	return true
}

// trim frees the buffers that are acknowledged. A buffer that is being written stays: the writer still reads it.
func (o *Outbox) trim() {
	done := min(o.acked, o.next)
	n := 0
	for _, b := range o.kept {
		if o.base+uint64(len(b.B)) > done {
			break
		}
		o.base += uint64(len(b.B))
		o.keptBytes -= len(b.B)
		b.Free()
		n++
	}
	if n > 0 {
		rest := copy(o.kept, o.kept[n:])
		clear(o.kept[rest:])
		o.kept = o.kept[:rest]
		if rest == 0 && cap(o.kept) > 64 {
			o.kept = nil
		}
	}
}

// Rewind makes the next connection go on at the offset that the peer has received. False means that the peer cannot have
// received just that.
func (o *Outbox) Rewind(received uint64) bool {
	if !o.CanRewind(received) {
		return false
	}
	if o.next > received && received == o.began {
		o.stuck(received)
	}
	o.control = nil
	o.began = received
	o.next = received
	o.acked = received
	o.written = received // what lies beyond has arrived on no connection
	o.trim()
	return true
}

// CanRewind reports whether a peer may have received up to this offset.
func (o *Outbox) CanRewind(received uint64) bool {
	return received >= o.acked && received <= o.end && o.boundary(received)
}

// NeverReceived calls each with every frame of the sequence that no peer can have received whole. With final, the peer's last
// acknowledgement is all that it has handled: then the frames beyond that. The frames are as they were sent, but for those
// sent in parts, which are whole, and valid during the call.
func (o *Outbox) NeverReceived(final bool, each func(f proto.Frame)) {
	received := o.written
	if final {
		received = o.acked
	}
	o.CloseFrame()
	at := o.base
	var parts assembly
	for _, buffers := range [][]*Buffer{o.kept, o.open} {
		for _, b := range buffers {
			for rest := b.B; len(rest) > 0; {
				f, size, err := proto.ParseFrame(rest, len(rest))
				if err != nil || size == 0 {
					return // cannot be: these are our own
				}
				rest = rest[size:]
				at += uint64(size)
				if whole, _, err := parts.add(&f, math.MaxInt); err == nil && whole && at > received {
					each(f)
				}
			}
		}
	}
}

// boundary reports whether a frame that is kept, or the next to come, starts at this offset.
func (o *Outbox) boundary(offset uint64) bool {
	at := o.base
	for _, b := range o.kept {
		if offset >= at+uint64(len(b.B)) {
			at += uint64(len(b.B))
			continue
		}
		for rest := b.B; at < offset; {
			size, _ := proto.FrameSize(rest, len(rest))
			rest = rest[size:]
			at += uint64(size)
		}
		break
	}
	return at == offset
}

// Reset forgets everything: the lane begins anew. What the peer takes stays as it is.
func (o *Outbox) Reset() {
	for _, b := range o.open {
		b.Free()
	}
	for _, b := range o.kept {
		b.Free()
	}
	o.control, o.spare, o.goodbye, o.ackNow = nil, nil, nil, false
	o.told.Store(0)
	o.open, o.openBytes, o.frame, o.entries, o.burst = nil, 0, -1, 0, 0
	o.kept, o.keptBytes, o.base, o.next, o.end, o.written, o.acked, o.began = nil, 0, 0, 0, 0, 0, 0, 0
}

// compressed returns a buffer with the frames of b, those compressed that gain by it.
func compressed(b *Buffer, c proto.Compression) *Buffer {
	if c == proto.CompressNone || len(b.B) < compressFrom {
		return b
	}
	out := NewBuffer(len(b.B))
	gained := false
	for rest := b.B; len(rest) > 0; {
		size, _ := proto.FrameSize(rest, len(rest))
		frame := rest[:size]
		rest = rest[size:]
		ok := false
		if size >= compressFrom {
			out.B, ok = proto.AppendCompressed(out.B, frame, c)
		}
		if ok {
			gained = true
		} else {
			out.B = append(out.B, frame...)
		}
	}
	if !gained {
		out.Free()
		return b
	}
	b.Free()
	return out
}
