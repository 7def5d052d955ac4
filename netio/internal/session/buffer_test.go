package session

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"time"
)

func TestBufferSizes(t *testing.T) {
	for _, c := range []struct{ size, want int }{
		{0, tinyBuffer}, {1, tinyBuffer}, {tinyBuffer, tinyBuffer}, {tinyBuffer + 1, smallBuffer}, {smallBuffer, smallBuffer}, {smallBuffer + 1, mediumBuffer},
		{mediumBuffer + 1, LargeBuffer}, {LargeBuffer, LargeBuffer}, {LargeBuffer + 1, LargeBuffer + beside}, {1 << 20, 1<<20 + beside}, {4<<20 + beside + 1, 4<<20 + beside + 1},
	} {
		b := NewBuffer(c.size)
		if cap(b.B) != c.want || len(b.B) != 0 || b.Room() != c.want {
			t.Errorf("size %d: cap %d, len %d, want cap %d", c.size, cap(b.B), len(b.B), c.want)
		}
		b.B = append(b.B, "used"...)
		b.Free()
	}
	grown := NewBuffer(1)
	grown.B = append(grown.B[:cap(grown.B)], 1) // not a pool's size any more
	grown.Free()
	for range 100 {
		if b := NewBuffer(1); cap(b.B) != tinyBuffer || len(b.B) != 0 {
			t.Fatalf("a used buffer comes with cap %d, len %d", cap(b.B), len(b.B))
		}
	}
}

// TestInbox pushes and pops at random and compares with a slice.
func TestInbox(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	var q Inbox
	var want [][]byte
	var last, lastWant []byte // stay valid until the next pop
	ident := int64(0)
	for i := range 50_000 {
		if rng.IntN(100) < 55-i/2500 {
			body := bytes.Repeat([]byte{byte(rng.Uint32())}, rng.IntN(1<<rng.IntN(18)))
			q.Push(ident+int64(len(want)), body)
			want = append(want, body)
		} else if rng.IntN(2000) == 0 {
			q.Drop()
			ident += int64(len(want))
			want = nil
		} else {
			id, body, ok := q.Pop()
			if ok != (len(want) > 0) {
				t.Fatalf("pop says %v with %d chunks", ok, len(want))
			}
			last, lastWant = nil, nil
			if ok {
				if id != ident || !bytes.Equal(body, want[0]) {
					t.Fatalf("ident %d with %d bytes, want %d with %d", id, len(body), ident, len(want[0]))
				}
				last, lastWant = body, want[0]
				want, ident = want[1:], ident+1
			}
		}
		if !bytes.Equal(last, lastWant) {
			t.Fatal("the last chunk changed before the next pop")
		}
	}
}
