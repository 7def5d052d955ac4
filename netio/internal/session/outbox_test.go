package session

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"
	"time"

	"shoal/proto"
)

// outboxModel is an outbox done simply: all bytes ever appended, and where things are in them.
type outboxModel struct {
	all     []byte // of closed frames
	entries int    // appended
	next    int
	acked   int
	ends    map[int]bool // offsets at which a frame ends, and 0
}

// TestOutboxAgainstModel does random operations and checks, after each, what a peer would see.
func TestOutboxAgainstModel(t *testing.T) {
	for _, c := range []proto.Compression{proto.CompressNone, proto.CompressS2} {
		for round := range 40 {
			seed := uint64(time.Now().UnixNano()) + uint64(round)
			t.Run(fmt.Sprintf("compression %d seed %d", c, seed), func(t *testing.T) {
				modelRound(t, rand.New(rand.NewPCG(seed, 1)), c)
			})
		}
	}
}

func modelRound(t *testing.T, rng *rand.Rand, c proto.Compression) {
	var o Outbox
	o.Init(false)
	o.limit, o.compress = 4096+rng.IntN(100_000), c
	m := outboxModel{ends: map[int]bool{0: true}}
	appended := 0
	for range 300 {
		switch op := rng.IntN(10); {
		case op < 5: // append entries
			for range rng.IntN(8) {
				body := make([]byte, rng.IntN(1<<rng.IntN(12)))
				body = append(body, byte(m.entries), byte(m.entries>>8))
				b := o.Entry(proto.KindResults, FrameKey{}, proto.ResultHeaderSize+len(body), NoLimit)
				b.B = proto.AppendResult(b.B, uint32(m.entries), proto.StatusOK, body)
				m.entries++
				appended += len(body)
			}
			if rng.IntN(4) == 0 {
				b := o.Whole(proto.KindCancel, "", 4)
				b.B = proto.AppendCancel(b.B, 99)
			}
		case op < 8: // write, perhaps only a part
			if rng.IntN(4) == 0 {
				o.control = append(o.control, "control"...)
			}
			before := len(m.all)
			pieces, control := o.Take(nil, 1+rng.IntN(1<<18), 0)
			got := bytes.Join(pieces, nil)
			if string(got[:control]) != "control"[:control] && control > 0 {
				t.Fatalf("control bytes are not first: %q", got[:control])
			}
			m.grow(t, &o, before)
			if len(o.control) != 0 || o.openBytes != 0 || len(o.open) != 0 {
				t.Fatal("not all was taken")
			}
			got = got[control:]
			if want := m.all[m.next:min(len(m.all), m.next+len(got))]; !bytes.Equal(got, want) {
				t.Fatalf("%d bytes to write from %d are not what was appended", len(got), m.next)
			}
			if len(got) == 0 && m.next < len(m.all) {
				t.Fatal("nothing to write though there is")
			}
			n := rng.IntN(len(got) + 1)
			o.Wrote(control+n, control)
			m.next += n
		case op == 8: // the peer acknowledges a frame's end that it has
			to := m.frameEnd(rng, m.acked, m.next)
			if !o.Acknowledged(uint64(to)) {
				t.Fatalf("ack of %d refused", to)
			}
			m.acked = max(m.acked, to)
			if o.Acknowledged(o.end + 1) {
				t.Fatal("ack of more than was sent taken")
			}
		default: // a new connection
			for wrong := m.acked; wrong <= m.next; wrong++ {
				if !m.ends[wrong] && rng.IntN(8) == 0 {
					if o.Rewind(uint64(wrong)) {
						t.Fatalf("rewound into a frame, to %d", wrong)
					}
					break
				}
			}
			if m.acked > 0 && o.Rewind(uint64(m.acked-1)) {
				t.Fatal("rewound to before what is acknowledged")
			}
			to := m.frameEnd(rng, m.acked, m.next)
			if !o.Rewind(uint64(to)) {
				t.Fatalf("rewind to %d refused", to)
			}
			m.next, m.acked = to, to
			m.all = m.all[:to] // what lies beyond may be in smaller parts now
			maps.DeleteFunc(m.ends, func(end int, _ bool) bool { return end > to })
			m.grow(t, &o, to)
		}
		if o.Unsent() != len(m.all)-m.next+o.openBytes {
			t.Fatalf("unsent %d, want %d", o.Unsent(), len(m.all)-m.next+o.openBytes)
		}
		if kept := len(m.all) - int(o.base); o.keptBytes != kept || int(o.base) > m.acked {
			t.Fatalf("keeps %d bytes, want %d; base %d, acked %d", o.keptBytes, kept, o.base, m.acked)
		}
		open := 0
		for _, b := range o.open {
			open += len(b.B)
		}
		if open != o.openBytes {
			t.Fatalf("open bytes %d, want %d", o.openBytes, open)
		}
	}
	m.checkFrames(t, o.limit)
}

// grow adds what take has just closed to the model.
func (m *outboxModel) grow(t *testing.T, o *Outbox, before int) {
	kept := make([]byte, 0, o.keptBytes)
	for _, b := range o.kept {
		kept = append(kept, b.B...)
	}
	if int(o.base)+len(kept) != int(o.end) || int(o.end) < before {
		t.Fatalf("base %d, %d kept, end %d", o.base, len(kept), o.end)
	}
	fresh := kept[before-int(o.base):]
	for rest := fresh; len(rest) > 0; {
		_, size, err := proto.ParseFrame(rest, o.limit)
		if err != nil || size == 0 {
			t.Fatalf("frame of %d bytes: %v", size, err)
		}
		rest = rest[size:]
		m.ends[before+len(fresh)-len(rest)] = true
	}
	m.all = append(m.all, fresh...)
}

// frameEnd returns one of the offsets from and to between frames.
func (m *outboxModel) frameEnd(rng *rand.Rand, from, to int) int {
	if to > from {
		from += rng.IntN(to - from + 1)
	}
	for !m.ends[from] {
		from--
	}
	return max(from, m.acked)
}

// checkFrames parses all that was ever taken: every entry is there once, in order.
func (m *outboxModel) checkFrames(t *testing.T, limit int) {
	id := uint32(0)
	var parts assembly
	for rest := m.all; len(rest) > 0; {
		f, size, err := proto.ParseFrame(rest, limit)
		if err != nil {
			t.Fatal(err)
		}
		rest = rest[size:]
		if whole, _, err := parts.add(&f, limit); err != nil {
			t.Fatal(err)
		} else if !whole {
			continue
		}
		payload := f.Payload
		if f.Compression() != proto.CompressNone {
			n, err := proto.ExpandedSize(f, limit)
			if err != nil {
				t.Fatal(err)
			}
			payload = make([]byte, n)
			if err := proto.Expand(payload, f); err != nil {
				t.Fatal(err)
			}
		}
		for f.Kind == proto.KindResults && len(payload) > 0 {
			var r proto.Result
			if r, payload, err = proto.NextResult(payload); err != nil || r.ID != id {
				t.Fatalf("entry %d in place of %d: %v", r.ID, id, err)
			}
			id++
		}
	}
	if int(id) > m.entries {
		t.Fatalf("%d entries of %d", id, m.entries)
	}
}

func TestOutboxFrames(t *testing.T) {
	var o Outbox
	o.Init(false)
	add := func(name string, deadline uint64, size int) {
		b := o.Entry(proto.KindTasks, FrameKey{Name: name, Deadline: deadline}, proto.TaskHeaderSize+size, NoLimit)
		b.B = proto.AppendTask(b.B, 1, make([]byte, size))
	}
	count := func() (frames int) {
		for rest := bytes.Join(o.takeSequence(nil, 1<<30), nil); len(rest) > 0; frames++ {
			_, size, err := proto.ParseFrame(rest, o.limit)
			if err != nil || size == 0 {
				t.Fatal(size, err)
			}
			rest = rest[size:]
		}
		o.wrote(o.Unsent())
		return frames
	}
	for _, want := range []int{2, 1} { // the first burst does not know how large it will be
		for range 10 {
			add("a", 0, 10)
		}
		if n := count(); n != want {
			t.Errorf("ten tasks of one name are %d frames, want %d", n, want)
		}
	}
	add("a", 0, 1)
	add("b", 0, 1)
	add("b", 9, 1)
	add("b", 9, 1)
	if n := count(); n != 3 {
		t.Errorf("three names and deadlines are %d frames", n)
	}
	for range 3 { // 4096 is the limit
		add("a", 0, 2000)
	}
	if n := count(); n != 2 {
		t.Errorf("three tasks of 2000 bytes are %d frames", n)
	}
	add("a", 0, 1)
	o.CloseFrame()
	add("a", 0, 1)
	o.Seal()
	add("a", 0, 1)
	if n := count(); n != 3 {
		t.Errorf("closed frames are %d", n)
	}
}

func TestOutboxForgetful(t *testing.T) {
	var o Outbox
	o.Init(false)
	o.Init(true)
	for range 10 {
		b := o.Whole(proto.KindCancel, "", 4)
		b.B = proto.AppendCancel(b.B, 1)
		n := len(bytes.Join(o.takeSequence(nil, 1<<20), nil))
		o.wrote(n - 5)
		if o.Unacknowledged() != n && o.Unacknowledged() != 0 {
			t.Fatalf("holds %d bytes", o.Unacknowledged())
		}
		o.takeSequence(nil, 1<<20)
		o.wrote(5)
		if o.Unacknowledged() != 0 {
			t.Fatalf("holds %d bytes that are written", o.Unacknowledged())
		}
	}
}

// What a peer says it has not received when its lane is resumed, it certainly never had.
func TestOutboxRewoundIsUnseen(t *testing.T) {
	var o Outbox
	o.Init(false)
	b := o.Whole(proto.KindCancel, "", 4)
	b.B = proto.AppendCancel(b.B, 1)
	o.takeSequence(nil, 1<<20)
	o.wrote(len(b.B))
	if !o.Rewind(0) {
		t.Fatal("it is not rewound")
	}
	n := 0
	o.NeverReceived(false, func(proto.Frame) { n++ })
	if n != 1 {
		t.Errorf("%d frames count as never had", n)
	}
}
