package session

import "encoding/binary"

// Inbox holds the chunks of a stream that have arrived and are not consumed, in blocks, so that chunks cost no
// allocation each. Its bound is the stream's credit.
type Inbox struct {
	blocks []*Buffer
	at     int // what has been consumed of the first block
	burst  int // bytes that were taken at once: the next block is of about that size
}

// inboxHeader is what stands before a chunk in a block: its ident and its length.
const inboxHeader = 12

// Push copies a chunk in.
func (q *Inbox) Push(ident int64, body []byte) {
	size := inboxHeader + len(body)
	n := len(q.blocks)
	if n == 0 || q.blocks[n-1].Room() < size {
		want := max(size, min(q.burst, LargeBuffer))
		if n > 0 {
			want = max(want, min(8*cap(q.blocks[n-1].B), LargeBuffer))
		}
		q.blocks = append(q.blocks, NewBuffer(want))
		n++
	}
	b := q.blocks[n-1]
	b.B = binary.LittleEndian.AppendUint64(b.B, uint64(ident))
	b.B = binary.LittleEndian.AppendUint32(b.B, uint32(len(body)))
	b.B = append(b.B, body...)
}

// TakeAll moves all blocks of from, of which nothing has been consumed, behind those of q; false means that there are none.
func (q *Inbox) TakeAll(from *Inbox) bool {
	if len(from.blocks) == 0 {
		return false
	}
	from.burst = 0
	for i, b := range from.blocks {
		from.burst += len(b.B)
		q.blocks = append(q.blocks, b)
		from.blocks[i] = nil
	}
	from.blocks = from.blocks[:0]
	return true
}

// Pop returns the next chunk, which is valid until the next Pop.
func (q *Inbox) Pop() (ident int64, body []byte, ok bool) {
	q.release()
	if len(q.blocks) == 0 {
		return 0, nil, false
	}
	src := q.blocks[0].B[q.at:]
	end := inboxHeader + int(binary.LittleEndian.Uint32(src[8:]))
	q.at += end
	return int64(binary.LittleEndian.Uint64(src)), src[inboxHeader:end:end], true
}

// More reports whether there is another chunk.
func (q *Inbox) More() bool {
	return len(q.blocks) > 1 || len(q.blocks) == 1 && q.at < len(q.blocks[0].B)
}

// release frees the first block if all of it has been consumed; the chunk that Pop returned last is gone with it.
func (q *Inbox) release() {
	if len(q.blocks) == 0 || q.at < len(q.blocks[0].B) {
		return
	}
	q.blocks[0].Free()
	n := copy(q.blocks, q.blocks[1:])
	q.blocks[n] = nil
	q.blocks, q.at = q.blocks[:n], 0
	if n == 0 && cap(q.blocks) > 8 {
		q.blocks = nil
	}
}

// Drop frees what nobody will consume. The chunk that Pop returned last stays valid: its block goes to the garbage
// collector.
func (q *Inbox) Drop() {
	for i, b := range q.blocks {
		if i > 0 || q.at == 0 {
			b.Free()
		}
	}
	q.blocks, q.at = nil, 0
}
