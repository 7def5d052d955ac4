package session

import (
	"fmt"

	"shoal/proto"
)

// Credit is the flow control of one stream at one end, in bytes of chunks with their headers. The lane's lock guards it.
type Credit struct {
	window  int // credit that the peer has in all
	allowed int // credit that the peer has left
	credit  int // what the peer lets us send
}

// Windows is the credit that the peer has for all streams of a lane. The windows of streams grow together up to its limit.
type Windows struct {
	total int
	limit int
}

// SetLimit sets what the windows of streams may grow to in all.
func (w *Windows) SetLimit(limit int) { w.limit = limit }

// maxCredit bounds what a peer may give, far below an overflow.
const maxCredit = 1 << 40

// ChunkCost is what a chunk with a body of size bytes costs.
func ChunkCost(size int) int { return proto.ChunkHeaderSize + size }

// Open begins a stream on which the peer may send window bytes, and we credit bytes.
func (c *Credit) Open(all *Windows, window, credit int) {
	c.window, c.allowed, c.credit = window, window, credit
	all.total += window
}

// Close ends the stream's share of all windows.
func (c *Credit) Close(all *Windows) { all.total -= c.window }

// Window returns the credit that the peer has in all.
func (c *Credit) Window() int { return c.window }

// CanSend reports whether a chunk may be sent, of any size: the last one may use more credit than there is.
func (c *Credit) CanSend() bool { return c.credit > 0 }

// Sent records that a chunk with a body of size bytes was sent.
func (c *Credit) Sent(size int) { c.credit -= ChunkCost(size) }

// Arrived records that a chunk with a body of size bytes has come. False means that the peer had no credit for it.
func (c *Credit) Arrived(size int) bool {
	if c.allowed <= 0 {
		return false
	}
	c.allowed -= ChunkCost(size)
	return true
}

// Gained records credit that the peer has given.
func (c *Credit) Gained(bytes int) error {
	if c.credit += bytes; c.credit > maxCredit {
		return fmt.Errorf("%w: %d bytes of credit on one stream", proto.ErrMalformed, c.credit)
	}
	return nil
}

// Give returns the credit to give back for consumed bytes. With grow, the window doubles as far as the limit of all windows
// lets it: the reader waits for more, so it is the window, or the way, that holds the stream up.
func (c *Credit) Give(all *Windows, consumed int, grow bool) (bytes int) {
	bytes = consumed
	if more := min(c.window, all.limit-all.total); grow && more > 0 {
		bytes += more
		all.total += more
		c.window += more
	}
	c.allowed += bytes
	return bytes
}

// Delivery counts the bytes of chunks that a peer has consumed, from the credit that comes back.
type Delivery struct {
	sent []int32 // body lengths of chunks that the peer has not consumed, as far as we know
	cost int     // credit that came back and covers no whole chunk yet
}

// Sent records a chunk.
func (d *Delivery) Sent(size int) { d.sent = append(d.sent, int32(size)) }

// Gained turns credit that came back into bytes of the bodies of whole chunks.
func (d *Delivery) Gained(credit int) (bytes int64) {
	d.cost += credit
	n := 0
	for n < len(d.sent) && d.cost >= ChunkCost(int(d.sent[n])) {
		d.cost -= ChunkCost(int(d.sent[n]))
		bytes += int64(d.sent[n])
		n++
	}
	d.sent = d.sent[:copy(d.sent, d.sent[n:])]
	return bytes
}
