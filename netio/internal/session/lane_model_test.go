package session

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"shoal/proto"
)

// wireEnd is one end of a lane, and what its connection has taken and not delivered yet.
type wireEnd struct {
	out     Outbox
	in      Inbound
	hand    []byte // taken and not written yet: the rest of a write that waits for the connection
	control int    // of what was taken
	written int    // of what was taken
	transit []byte // written here, not arrived at the peer yet
	arrived []byte // arrived here, not consumed yet
	sent    int    // entries
	heard   int    // entries of the peer's, in order
	pongs   int
}

// laneWire is a lane whose connection delivers as much as the test says, and is cut when it says so. The model is that every
// entry reaches the other end once and in order, and that everything is acknowledged in the end.
type laneWire struct {
	ends   [2]wireEnd
	broken error
}

const modelLimit = 8 << 10

func newLaneWire(compress proto.Compression) *laneWire {
	w := &laneWire{}
	for i := range w.ends {
		e := &w.ends[i]
		e.out.Init(false)
		e.out.SetPeer(modelLimit, compress)
		e.out.parts = 2 * leastPart
		e.in.Init(modelLimit)
		e.in.Agree(compress.Feature())
	}
	w.connect()
	return w
}

// connect cuts the connection and makes a new one.
func (w *laneWire) connect() {
	received := [2]uint64{w.ends[0].in.Received(), w.ends[1].in.Received()}
	for i := range w.ends {
		e := &w.ends[i]
		if len(e.hand) > 0 {
			e.out.Wrote(e.written, e.control)
		}
		e.hand, e.transit, e.arrived = nil, nil, nil
		if !e.out.Begin(received[1-i], received[i], nil) {
			w.broken = fmt.Errorf("end %d cannot go on at %d", i, received[1-i])
		}
	}
}

// send appends entries of n bytes and their number.
func (e *wireEnd) send(entries, n int) {
	for range entries {
		body := binary.LittleEndian.AppendUint32(bytes.Repeat([]byte{byte(e.sent)}, n), uint32(e.sent))
		size := proto.ResultHeaderSize + len(body)
		b := e.out.Entry(proto.KindResults, FrameKey{}, size, NoLimit)
		b.B = proto.AppendResult(b.B, uint32(e.sent), proto.StatusOK, body)
		e.sent++
	}
}

// write puts at most n bytes of what there is to write on the wire. A write that waits is gone on with.
func (e *wireEnd) write(n, limit int) {
	if len(e.hand) == 0 {
		pieces, control := e.out.Take(nil, limit, e.in.Received())
		e.hand, e.control, e.written = bytes.Join(pieces, nil), control, 0
	}
	n = min(n, len(e.hand))
	e.transit = append(e.transit, e.hand[:n]...)
	e.hand = e.hand[n:]
	if e.written += n; len(e.hand) == 0 {
		e.out.Wrote(e.written, e.control)
	}
}

// deliver lets n bytes arrive at end i, and hands out their frames; a turn expands at most expand bytes.
func (w *laneWire) deliver(i, n, expand int) {
	from, to := &w.ends[1-i], &w.ends[i]
	n = min(n, len(from.transit))
	to.arrived = append(to.arrived, from.transit[:n]...)
	from.transit = from.transit[n:]
	frames := to.in.Frames(to.arrived, expand)
	for frames.Next() {
		if err := to.frame(frames.Frame()); err != nil {
			frames.Fail(err)
		}
	}
	consumed, _, err := frames.End()
	to.arrived = append([]byte(nil), to.arrived[consumed:]...)
	if err != nil && w.broken == nil {
		w.broken = err
	}
}

func (e *wireEnd) frame(f *proto.Frame) error {
	switch f.Kind {
	case proto.KindAck:
		received, err := proto.ParseAck(f.Payload)
		if err != nil || !e.out.Acknowledged(received) {
			return fmt.Errorf("ack of %d, %w", received, err)
		}
	case proto.KindPing:
		return e.out.Pong(e.in.Received(), f.Payload)
	case proto.KindPong:
		e.pongs++
	case proto.KindResults:
		for rest := f.Payload; len(rest) > 0; {
			r, next, err := proto.NextResult(rest)
			if err != nil {
				return err
			}
			rest = next
			if int(r.ID) != e.heard || binary.LittleEndian.Uint32(r.Body[len(r.Body)-4:]) != r.ID {
				return fmt.Errorf("entry %d in place of %d", r.ID, e.heard)
			}
			e.heard++
		}
	default:
		return fmt.Errorf("kind %v", f.Kind)
	}
	return nil
}

// step does one operation of an end.
func (w *laneWire) step(op byte) {
	i, arg := int(op>>7), int(op>>3&15)
	e := &w.ends[i]
	switch op & 7 {
	case 0:
		e.send(1+arg, arg*arg)
	case 1:
		e.send(1, 100*arg)
	case 2:
		e.write(1<<arg, 1<<(arg+4))
	case 3:
		e.write(1<<30, 1<<30)
	case 4:
		w.deliver(i, 1<<arg, 1<<(arg+8))
	case 5:
		w.deliver(i, 1<<30, 0)
	case 6:
		w.connect()
	case 7:
		if e.out.Control(e.in.Received(), func(dst []byte) []byte {
			return proto.AppendFrame(dst, proto.Frame{Kind: proto.KindPing, Payload: []byte{op}})
		}); arg%2 == 0 {
			e.out.AckNow()
		}
	}
}

// finish lets everything through.
func (w *laneWire) finish() error {
	for range 8 {
		for i := range w.ends {
			w.ends[i].out.AckAgain()
			w.ends[i].write(1<<30, 1<<30)
		}
		for i := range w.ends {
			w.deliver(i, 1<<30, 0)
		}
	}
	for i := range w.ends {
		e, peer := &w.ends[i], &w.ends[1-i]
		switch {
		case w.broken != nil:
			return w.broken
		case e.heard != peer.sent:
			return fmt.Errorf("end %d has got %d entries of %d", i, e.heard, peer.sent)
		case e.out.Unacknowledged() != 0 || e.out.Unsent() != 0:
			return fmt.Errorf("end %d holds %d bytes, of which %d are unsent", i, e.out.Unacknowledged(), e.out.Unsent())
		case e.out.End() != peer.in.Received() || e.out.Acked() != e.out.End():
			return fmt.Errorf("end %d is at %d, acknowledged %d, received %d", i, e.out.End(), e.out.Acked(), peer.in.Received())
		}
	}
	return nil
}

func walkLane(t *testing.T, compress proto.Compression, ops []byte) {
	w := newLaneWire(compress)
	for _, op := range ops {
		if w.step(op); w.broken != nil {
			break
		}
	}
	if err := w.finish(); err != nil {
		t.Fatalf("%v; ops %#v", err, ops)
	}
}

// FuzzLane runs operations on both ends of a lane; each byte is one.
func FuzzLane(f *testing.F) {
	f.Add(false, []byte{0x28, 0x03, 0x85, 0x30, 0x13, 0x86, 0x83, 0x05})
	f.Add(true, []byte{0x78, 0x03, 0xa4, 0x06, 0x03, 0x85})
	f.Fuzz(func(t *testing.T, compressed bool, ops []byte) {
		if len(ops) > 1000 {
			return
		}
		c := proto.CompressNone
		if compressed {
			c = proto.CompressS2
		}
		walkLane(t, c, ops)
	})
}

// TestLaneModel is a short walk through what FuzzLane looks for.
func TestLaneModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for i := range 500 {
		rng := rand.New(rand.NewPCG(seed, uint64(i)))
		ops := make([]byte, rng.IntN(400))
		for k := range ops {
			ops[k] = byte(rng.Uint32())
		}
		walkLane(t, []proto.Compression{proto.CompressNone, proto.CompressS2, proto.CompressZstd}[i%3], ops)
	}
}

// TestCreditModel holds the credit of a stream's two ends against each other: what one end may send is never more than the
// other has granted, and all windows together stay within their limit.
func TestCreditModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		var receiver, sender Credit
		var windows, none Windows
		windows.SetLimit(3000)
		receiver.Open(&windows, 1000, 0)
		sender.Open(&none, 0, 1000)
		inFlight, granted, owed := []int{}, []int{}, 0
		for range 300 {
			switch rng.IntN(4) {
			case 0:
				if sender.CanSend() {
					size := rng.IntN(700)
					sender.Sent(size)
					inFlight = append(inFlight, size)
				}
			case 1:
				if len(inFlight) > 0 {
					if !receiver.Arrived(inFlight[0]) {
						t.Fatal("a chunk that had credit is refused")
					}
					owed += ChunkCost(inFlight[0])
					inFlight = inFlight[1:]
				}
			case 2:
				if owed > 0 {
					granted = append(granted, receiver.Give(&windows, owed, rng.IntN(2) == 0))
					owed = 0
				}
			case 3:
				if len(granted) > 0 {
					if err := sender.Gained(granted[0]); err != nil {
						t.Fatal(err)
					}
					granted = granted[1:]
				}
			}
			if windows.total > 3000 || receiver.Window() > 3000 {
				t.Fatalf("windows of %d", windows.total)
			}
			if sender.credit > receiver.allowed {
				t.Fatalf("the sender has %d, the receiver allows %d", sender.credit, receiver.allowed)
			}
		}
		if receiver.Close(&windows); windows.total != 0 {
			t.Fatalf("%d left of all windows", windows.total)
		}
	}
}

// What an end cannot take is refused, and does not count as received.
func TestFramesRefused(t *testing.T) {
	good := proto.AppendFrame(nil, proto.Frame{Kind: proto.KindTasks, Payload: []byte("task")})
	bomb, ok := proto.AppendCompressed(nil, proto.AppendFrame(nil, proto.Frame{Kind: proto.KindTasks, Payload: linesOf(4_000)}), proto.CompressZstd)
	if !ok {
		t.Fatal("not compressed")
	}
	for name, bad := range map[string][]byte{
		"too large":   proto.AppendFrame(nil, proto.Frame{Kind: proto.KindTasks, Payload: make([]byte, modelLimit+1)}),
		"expands too": bomb,
		"not agreed":  compressedFrame(t, proto.CompressS2),
		"unknown":     {1, 0, 0, 0, byte(proto.KindTasks), 0x21, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var in Inbound
			in.Init(modelLimit)
			in.Agree(proto.CompressZstd.Feature())
			frames := in.Frames(append(bytes.Clone(good), bad...), 0)
			n := 0
			for frames.Next() {
				n++
			}
			consumed, _, err := frames.End()
			if n != 1 || consumed != len(good) || err == nil || in.Received() != uint64(len(good)) {
				t.Errorf("%d frames, %d bytes consumed, %d received: %v", n, consumed, in.Received(), err)
			}
		})
	}
}

func compressedFrame(t *testing.T, c proto.Compression) []byte {
	b, ok := proto.AppendCompressed(nil, proto.AppendFrame(nil, proto.Frame{Kind: proto.KindTasks, Payload: linesOf(30)}), c)
	if !ok {
		t.Fatal("not compressed")
	}
	return b
}

// linesOf is text that shrinks, but not without end.
func linesOf(n int) (text []byte) {
	for i := range n {
		text = fmt.Appendf(text, "this is line %d of the text\n", i)
	}
	return text
}
