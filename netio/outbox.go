package netio

import (
	"shoal/proto"
)

// outbox holds what one side of a lane has to send, in three parts: control frames, which go ahead of everything and
// are never sent again; sequenced frames under construction; and sequenced frames that have been taken for writing and
// are kept until the peer acknowledges them. Its lane's mutex guards it.
//
// Frames of many entries (tasks, results, chunks) stay open: the next entry of the same kind goes into the frame that
// is there, until the flusher takes it. So a burst is one frame, and a single task is not delayed by anything.
type outbox struct {
	control []byte
	spare   []byte // what control was before it was taken, for the next time

	open      []*buffer
	openBytes int
	frame     int        // start in the last open buffer of the frame that can take more entries; -1: none
	kind      proto.Kind // of that frame
	key       openKey    // of that frame
	entries   int        // in that frame

	kept      []*buffer
	keptBytes int
	base      uint64 // lane offset of the first kept byte
	next      uint64 // lane offset of the next byte to write on this connection
	end       uint64 // lane offset after the last kept byte
	written   uint64 // the highest that next ever was: what ends beyond it was never received whole
	acked     uint64 // what the peer says it has received

	limit     int               // the peer's frame limit
	forgetful bool              // no session: what is written need not be kept
	compress  proto.Compression // of frames that gain by it
	burst     int               // size of the last burst: the next one starts with a buffer of about that size
}

// openKey is what tasks have in common that share a frame.
type openKey struct {
	name     string
	deadline uint64
}

func newOutbox() outbox { return outbox{frame: -1, limit: proto.MinFrameLimit} }

// compressFrom is the smallest frame worth a try.
const compressFrom = 256

// tail returns the buffer to append to, with room for size bytes; the open frame survives only where it has that room.
func (o *outbox) tail(size int) *buffer {
	if n := len(o.open); n > 0 && o.open[n-1].room() >= size {
		return o.open[n-1]
	}
	o.closeFrame()
	want := max(size, min(o.burst, largeBuffer))
	if n := len(o.open); n > 0 {
		want = max(want, min(8*cap(o.open[n-1].b), largeBuffer))
	}
	b := newBuffer(want)
	o.open = append(o.open, b)
	return b
}

// closeFrame completes the frame under construction.
func (o *outbox) closeFrame() {
	if o.frame >= 0 {
		proto.EndFrame(o.open[len(o.open)-1].b, o.frame)
		o.frame = -1
	}
}

// entry returns the buffer to which the caller appends one entry of so many bytes; it must append exactly these. A
// frame of the kind and key is opened if none is open or it has as many entries as it may.
func (o *outbox) entry(kind proto.Kind, key openKey, size, most int) *buffer {
	if o.frame >= 0 && o.kind == kind && o.key == key && o.entries < most {
		b := o.open[len(o.open)-1]
		if b.room() >= size && len(b.b)-o.frame-proto.HeaderSize+size <= o.limit {
			o.entries++
			o.openBytes += size
			return b
		}
	}
	o.closeFrame()
	header := proto.HeaderSize
	if kind == proto.KindTasks {
		header += proto.TasksHeaderSize(key.name)
	}
	b := o.tail(header + size)
	o.frame, o.kind, o.key, o.entries = len(b.b), kind, key, 1
	b.b = proto.BeginFrame(b.b, kind)
	if kind == proto.KindTasks {
		b.b = proto.AppendTasksHeader(b.b, key.deadline, key.name)
	}
	o.openBytes += header + size
	return b
}

// more reports whether the frame into which entry has just put an entry, in b, takes one of so many bytes too, and
// counts it if so: entry for those who have many of one kind.
func (o *outbox) more(b *buffer, size int) bool {
	if b.room() < size || len(b.b)-o.frame-proto.HeaderSize+size > o.limit {
		return false
	}
	o.entries++
	o.openBytes += size
	return true
}

// whole returns the buffer to which the caller appends a frame's payload of so many bytes, exactly these.
func (o *outbox) whole(kind proto.Kind, size int) *buffer {
	b := o.entry(kind, openKey{}, size, 0)
	o.closeOnTake()
	return b
}

// closeOnTake makes the open frame one that takes no more entries; its length is still to be written.
func (o *outbox) closeOnTake() { o.entries = int(^uint(0) >> 1) }

// unacknowledged returns how many bytes the lane holds for its peer.
func (o *outbox) unacknowledged() int { return o.keptBytes + o.openBytes }

// unsent returns how many bytes wait to be written.
func (o *outbox) unsent() int { return int(o.end-o.next) + o.openBytes }

// take closes the open frames, moves them to what is kept, and appends to dst the bytes to write now: about most of
// them, to the end of a frame. Control bytes come first; they are the caller's until the next take. An empty answer means that there is nothing to write.
func (o *outbox) take(dst [][]byte, most int) [][]byte {
	if len(o.control) > 0 {
		dst = append(dst, o.control)
		o.control, o.spare = o.spare[:0], o.control
	}
	if len(o.open) > 0 {
		o.closeFrame()
		o.burst = o.openBytes
		for _, b := range o.open {
			b = compressed(b, o.compress)
			o.kept = append(o.kept, b)
			o.keptBytes += len(b.b)
			o.end += uint64(len(b.b))
		}
		clear(o.open)
		o.open, o.openBytes = o.open[:0], 0
	}
	at := o.base
	for _, b := range o.kept {
		if most <= 0 {
			break
		}
		end := at + uint64(len(b.b))
		if end > o.next {
			piece := b.b[max(o.next, at)-at:]
			dst = append(dst, piece)
			most -= len(piece)
		}
		at = end
	}
	return dst
}

// wrote records that so many of the taken sequenced bytes have been written.
func (o *outbox) wrote(n int) {
	o.next += uint64(n)
	o.written = max(o.written, o.next)
	if o.forgetful {
		o.acked = o.next
	}
	o.trim()
}

// acknowledge records the peer's received count; false means that it claims more than was sent.
func (o *outbox) acknowledge(received uint64) bool {
	if received > o.end {
		return false
	}
	o.acked = max(o.acked, received)
	o.trim()
	return true
}

// trim frees the buffers that are acknowledged. What is being written stays: the writer still reads it.
func (o *outbox) trim() {
	done := min(o.acked, o.next)
	n := 0
	for _, b := range o.kept {
		if o.base+uint64(len(b.b)) > done {
			break
		}
		o.base += uint64(len(b.b))
		o.keptBytes -= len(b.b)
		b.free()
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

// rewind makes the next connection send from the peer's received count; false means that this cannot be.
func (o *outbox) rewind(received uint64) bool {
	if !o.canRewind(received) {
		return false
	}
	o.control = nil
	o.next = received
	o.acked = received
	o.written = received // what lies beyond has arrived on no connection
	o.trim()
	return true
}

// canRewind reports whether a peer may have received so many bytes.
func (o *outbox) canRewind(received uint64) bool {
	return received >= o.acked && received <= o.end && o.boundary(received)
}

// beyond calls each with every sequenced frame that ends beyond the lane offset seen, as sent.
func (o *outbox) beyond(seen uint64, each func(f proto.Frame)) {
	o.closeFrame()
	at := o.base
	for _, buffers := range [][]*buffer{o.kept, o.open} {
		for _, b := range buffers {
			for rest := b.b; len(rest) > 0; {
				f, size, err := proto.ParseFrame(rest, len(rest))
				if err != nil || size == 0 {
					return // cannot be: these are our own
				}
				rest = rest[size:]
				if at += uint64(size); at > seen {
					each(f)
				}
			}
		}
	}
}

// boundary reports whether a frame that is kept, or the next to come, starts at this lane offset.
func (o *outbox) boundary(offset uint64) bool {
	at := o.base
	for _, b := range o.kept {
		if offset >= at+uint64(len(b.b)) {
			at += uint64(len(b.b))
			continue
		}
		for rest := b.b; at < offset; {
			size, _ := proto.FrameSize(rest, len(rest))
			rest = rest[size:]
			at += uint64(size)
		}
		break
	}
	return at == offset
}

// reset forgets everything; the lane starts anew.
func (o *outbox) reset() {
	for _, b := range o.open {
		b.free()
	}
	for _, b := range o.kept {
		b.free()
	}
	*o = outbox{frame: -1, limit: o.limit, forgetful: o.forgetful, compress: o.compress}
}

// compressed returns a buffer with the frames of b, those compressed that gain by it.
func compressed(b *buffer, c proto.Compression) *buffer {
	if c == proto.CompressNone || len(b.b) < compressFrom {
		return b
	}
	out := newBuffer(len(b.b))
	gained := false
	for rest := b.b; len(rest) > 0; {
		size, _ := proto.FrameSize(rest, len(rest))
		frame := rest[:size]
		rest = rest[size:]
		ok := false
		if size >= compressFrom {
			out.b, ok = proto.AppendCompressed(out.b, frame, c)
		}
		if ok {
			gained = true
		} else {
			out.b = append(out.b, frame...)
		}
	}
	if !gained {
		out.free()
		return b
	}
	b.free()
	return out
}
