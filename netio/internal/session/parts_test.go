package session

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"testing"

	"shoal/proto"
)

// halves connects two ends of a lane that take frames of any size.
func halves() *laneWire {
	w := newLaneWire(proto.CompressNone)
	for i := range w.ends {
		w.ends[i].in.Init(8 << 20)
		w.ends[i].out.SetPeer(8<<20, proto.CompressNone)
		w.ends[i].out.parts = partSize
	}
	return w
}

// A frame gets through that is far larger than what any connection carries before it breaks.
func TestLargeFrameOverConnectionsThatBreak(t *testing.T) {
	for _, c := range []struct{ frame, carried, connections int }{
		{1 << 20, 100 << 10, 20},  // 64 KiB at a time
		{300 << 10, 20 << 10, 22}, // 16 KiB
		{100 << 10, 1500, 110},    // 1 KiB
	} {
		w := halves()
		from := &w.ends[0]
		from.send(1, c.frame)
		n := 0
		for ; w.ends[1].heard == 0 && w.broken == nil && n < 2*c.connections; n++ {
			from.write(c.carried, 512<<10)
			w.deliver(1, 1<<30, 0)
			w.connect()
		}
		if err := w.finish(); err != nil || n > c.connections {
			t.Errorf("a frame of %d bytes took %d connections of %d bytes each, want %d at most: %v", c.frame, n, c.carried, c.connections, err)
		}
	}
}

// Once a connection lasts, frames are as large as before.
func TestPartsGrowAgain(t *testing.T) {
	w := halves()
	from := &w.ends[0]
	from.send(1, 1<<20)
	from.write(100, 1<<20)
	w.connect()
	if from.out.parts != partSize/4 {
		t.Fatalf("parts of %d bytes after a connection that brought nothing through", from.out.parts)
	}
	for range 2 {
		from.send(1, 1<<20)
		if err := w.finish(); err != nil {
			t.Fatal(err)
		}
	}
	if from.out.parts != partSize {
		t.Errorf("parts of %d bytes after a connection that lasts", from.out.parts)
	}
}

// What is never received is known for frames in parts too: none of it before the last part was written.
func TestNeverReceivedParts(t *testing.T) {
	w := halves()
	out := &w.ends[0].out
	w.ends[0].send(1, 300<<10)
	if err := w.finish(); err != nil {
		t.Fatal(err)
	}
	b := out.Entry(proto.KindTasks, FrameKey{Name: "table"}, proto.TaskHeaderSize+200<<10, NoLimit)
	b.B = proto.AppendTask(b.B, 7, make([]byte, 200<<10))
	never := func() (ids []uint32) {
		out.NeverReceived(false, func(f proto.Frame) {
			_, _, rest, err := proto.ParseTasksHeader(f.Payload)
			if err != nil {
				t.Fatal(err)
			}
			id, body, _, err := proto.NextTask(rest)
			if err != nil || len(body) != 200<<10 {
				t.Fatalf("task %d of %d bytes: %v", id, len(body), err)
			}
			ids = append(ids, id)
		})
		return ids
	}
	pieces, control := out.Take(nil, 1<<30, 0)
	size := len(bytes.Join(pieces, nil))
	out.Wrote(size-1, control)
	if ids := never(); len(ids) != 1 || ids[0] != 7 {
		t.Errorf("tasks never received: %v", ids)
	}
	out.Wrote(1, 0)
	if ids := never(); len(ids) != 0 {
		t.Errorf("tasks never received after the last byte: %v", ids)
	}
}

func TestPartsRefused(t *testing.T) {
	frame := func(kind proto.Kind, flags uint8, size int) []byte {
		return proto.AppendFrame(nil, proto.Frame{Kind: kind, Flags: flags, Payload: make([]byte, size)})
	}
	first := frame(proto.KindTasks, proto.FlagMore, 100)
	for _, c := range []struct {
		name  string
		more  []byte
		want  error
		whole int
	}{
		{"the last part", frame(proto.KindTasks, 0, 0), nil, 1},
		{"a ping between", append(frame(proto.KindPing, 0, 1), frame(proto.KindTasks, 0, 1)...), nil, 2},
		{"another kind", frame(proto.KindCancel, 0, 4), proto.ErrMalformed, 0},
		{"other flags", frame(proto.KindTasks, proto.FlagSkippable, 4), proto.ErrMalformed, 0},
		{"compressed all at once", frame(proto.KindTasks, byte(proto.CompressS2)<<1, 4), proto.ErrMalformed, 0},
		{"one byte above the limit", frame(proto.KindTasks, proto.FlagMore, modelLimit-99), proto.ErrTooLarge, 0},
	} {
		var in Inbound
		in.Init(modelLimit)
		src, n := append(bytes.Clone(first), c.more...), 0
		frames := in.Frames(src, 0)
		for frames.Next() {
			n++
		}
		consumed, _, err := frames.End()
		if n != c.whole || !errors.Is(err, c.want) || err == nil && consumed != len(src) {
			t.Errorf("%s: %d frames, %d bytes consumed of %d, error %v", c.name, n, consumed, len(src), err)
		}
	}
}

// Parts of a frame that is compressed are put together before they are expanded.
func TestPartsOfCompressed(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 5000)
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	w := newLaneWire(proto.CompressZstd)
	b := w.ends[0].out.Entry(proto.KindResults, FrameKey{}, proto.ResultHeaderSize+7004, NoLimit)
	body := append(append(noise, make([]byte, 2000)...), 0, 0, 0, 0)
	b.B = proto.AppendResult(b.B, 0, proto.StatusOK, body)
	w.ends[0].sent++
	if err := w.finish(); err != nil {
		t.Fatal(err)
	}
	if got := w.ends[1].in.Received(); got < 5000 || got > 6000 {
		t.Errorf("%d bytes were sent", got)
	}
}
