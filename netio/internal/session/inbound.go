package session

import (
	"fmt"
	"sync/atomic"

	"shoal/proto"
)

// Inbound is what one end of a lane receives. One goroutine at a time uses it, but for Received and Heard, which are safe for
// concurrent use.
type Inbound struct {
	limit    int    // payload bytes of the largest frame taken
	features uint32 // compressions that were agreed on
	parts    assembly
	received atomic.Uint64
	heard    atomic.Bool
}

// Init sets the largest frame that is taken.
func (in *Inbound) Init(limit int) { in.limit = limit }

// Agree sets the compressions of a connection.
func (in *Inbound) Agree(features uint32) { in.features = features }

// Received returns the offset up to which the peer's sequence has been received.
func (in *Inbound) Received() uint64 { return in.received.Load() }

// Heard reports whether anything has come since the lane began.
func (in *Inbound) Heard() bool { return in.heard.Load() }

// Reset begins the peer's sequence anew.
func (in *Inbound) Reset() {
	in.received.Store(0)
	in.parts.drop()
}

// Frames are the whole frames at the start of some bytes that have arrived: Next is called until it returns false.
type Frames struct {
	in       *Inbound
	src      []byte
	limit    int // bytes to expand, after which Next returns false
	consumed int
	expanded int
	size     int // of the frame at hand; 0: none
	frame    proto.Frame
	buffer   *Buffer // of the payload of the frame at hand, where it came in parts or was expanded; nil: it is in src
	err      error
}

// Frames begins with what has arrived. It ends early after a frame with which more than expand bytes have been expanded; 0 means
// no such bound.
func (in *Inbound) Frames(src []byte, expand int) Frames {
	if !in.heard.Load() {
		in.heard.Store(true)
	}
	if expand <= 0 {
		expand = int(^uint(0) >> 1)
	}
	return Frames{in: in, src: src, limit: expand}
}

// Next counts the frame at hand as received, and goes on to the next one. False means that there is none, or that it is
// malformed: Err says so.
func (fs *Frames) Next() bool {
	fs.done()
	if fs.err != nil || fs.expanded >= fs.limit {
		return false
	}
	for {
		f, size, err := proto.ParseFrame(fs.src[fs.consumed:], fs.in.limit)
		whole := true
		if err == nil && size > 0 && f.Kind.Sequenced() {
			whole, fs.buffer, err = fs.in.parts.add(&f, fs.in.limit)
		}
		if err == nil && !whole {
			fs.consumed += size
			fs.in.received.Add(uint64(size))
			continue
		}
		if err == nil && size > 0 {
			f, err = fs.expand(f)
		}
		if fs.err = err; err != nil || size == 0 {
			fs.done()
			return false
		}
		fs.frame, fs.size = f, size
		return true
	}
}

// Frame returns the frame at hand, expanded. Its payload is valid until the next call of Next, Fail or End.
func (fs *Frames) Frame() *proto.Frame { return &fs.frame }

// Fail ends the walk: the frame at hand could not be handled, and does not count as received.
func (fs *Frames) Fail(err error) {
	fs.size, fs.err = 0, err
	fs.done()
}

// End returns how many bytes were consumed, and how many bytes from there on make a whole frame (0: not known yet), or what
// was wrong.
func (fs *Frames) End() (consumed, need int, err error) {
	if fs.err != nil {
		return fs.consumed, 0, fs.err
	}
	need, err = proto.FrameSize(fs.src[fs.consumed:], fs.in.limit)
	return fs.consumed, need, err
}

// done lets go of the frame at hand.
func (fs *Frames) done() {
	if fs.buffer != nil {
		fs.buffer.Free()
		fs.buffer = nil
	}
	if fs.size == 0 {
		return
	}
	fs.consumed += fs.size
	if fs.frame.Kind.Sequenced() {
		fs.in.received.Add(uint64(fs.size))
	}
	fs.size = 0
}

// expand returns the frame with its payload expanded.
func (fs *Frames) expand(f proto.Frame) (proto.Frame, error) {
	c := f.Compression()
	if c == proto.CompressNone {
		return f, nil
	}
	if c.Feature()&fs.in.features == 0 {
		return f, fmt.Errorf("%w: %v was not agreed on", proto.ErrMalformed, c)
	}
	size, err := proto.ExpandedSize(f, fs.in.limit)
	if err != nil {
		return f, err
	}
	b := NewBuffer(size)
	b.B = b.B[:size]
	if err := proto.Expand(b.B, f); err != nil {
		b.Free()
		return f, err
	}
	if fs.buffer != nil {
		fs.buffer.Free()
	}
	fs.buffer = b
	fs.expanded += size
	return proto.Frame{Kind: f.Kind, Flags: f.Flags, Payload: b.B}, nil
}
