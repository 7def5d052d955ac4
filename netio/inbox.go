package netio

import "encoding/binary"

// inbox holds the chunks of a stream that have arrived and are not consumed, in blocks, so that chunks cost no
// allocation each. Its bound is the stream's credit.
type inbox struct {
	blocks []*buffer
	at     int // what has been consumed of the first block
	burst  int // bytes that were taken at once: the next block is of about that size
}

// inboxHeader is what stands before a chunk in a block: its ident and its length.
const inboxHeader = 12

// push copies a chunk in.
func (q *inbox) push(ident int64, body []byte) {
	size := inboxHeader + len(body)
	n := len(q.blocks)
	if n == 0 || q.blocks[n-1].room() < size {
		want := max(size, min(q.burst, largeBuffer))
		if n > 0 {
			want = max(want, min(8*cap(q.blocks[n-1].b), largeBuffer))
		}
		q.blocks = append(q.blocks, newBuffer(want))
		n++
	}
	b := q.blocks[n-1]
	b.b = binary.LittleEndian.AppendUint64(b.b, uint64(ident))
	b.b = binary.LittleEndian.AppendUint32(b.b, uint32(len(body)))
	b.b = append(b.b, body...)
}

// takeAll moves all blocks of from, of which nothing has been consumed, behind those of q; false means that there are none.
func (q *inbox) takeAll(from *inbox) bool {
	if len(from.blocks) == 0 {
		return false
	}
	from.burst = 0
	for i, b := range from.blocks {
		from.burst += len(b.b)
		q.blocks = append(q.blocks, b)
		from.blocks[i] = nil
	}
	from.blocks = from.blocks[:0]
	return true
}

// pop returns the next chunk, which is valid until the next pop.
func (q *inbox) pop() (ident int64, body []byte, ok bool) {
	q.release()
	if len(q.blocks) == 0 {
		return 0, nil, false
	}
	src := q.blocks[0].b[q.at:]
	end := inboxHeader + int(binary.LittleEndian.Uint32(src[8:]))
	q.at += end
	return int64(binary.LittleEndian.Uint64(src)), src[inboxHeader:end:end], true
}

// more reports whether there is another chunk.
func (q *inbox) more() bool {
	return len(q.blocks) > 1 || len(q.blocks) == 1 && q.at < len(q.blocks[0].b)
}

// release frees the first block if all of it has been consumed; the chunk that pop returned last is gone with it.
func (q *inbox) release() {
	if len(q.blocks) == 0 || q.at < len(q.blocks[0].b) {
		return
	}
	q.blocks[0].free()
	n := copy(q.blocks, q.blocks[1:])
	q.blocks[n] = nil
	q.blocks, q.at = q.blocks[:n], 0
	if n == 0 && cap(q.blocks) > 8 {
		q.blocks = nil
	}
}

// drop frees what nobody will consume. The chunk that pop returned last stays valid: its block goes to the garbage
// collector.
func (q *inbox) drop() {
	for i, b := range q.blocks {
		if i > 0 || q.at == 0 {
			b.free()
		}
	}
	q.blocks, q.at = nil, 0
}
