package netio

import (
	"context"
	"encoding/binary"
	"strings"
	"sync"
	"testing"
	"time"

	"shoal/proto"
)

// sessionHello returns the hello of a client with a session of its own.
func sessionHello(id uint64) proto.Hello {
	h := helloFor()
	binary.LittleEndian.PutUint64(h.Session[:], id)
	return h
}

// lanesKnown are the keys of lanes and how they began, as their clients remember them: laneKnown by sessionKey.
var lanesKnown sync.Map

type laneKnown struct {
	key          []byte
	begun, clock uint64
}

// remember does what a client does with a welcome.
func remember(h proto.Hello, w proto.Welcome) {
	lane := laneKnown{w.Key(), h.Clock, h.Clock}
	if old, ok := lanesKnown.Load(sessionKey{session: h.Session, lane: h.Lane}); ok && w.Resumed {
		lane.key, lane.begun = old.(laneKnown).key, old.(laneKnown).begun
	}
	lanesKnown.Store(sessionKey{session: h.Session, lane: h.Lane}, lane)
}

// again returns the hello that resumes a lane of which so many bytes were received, later than the last one of the lane.
func again(h proto.Hello, received uint64) proto.Hello {
	old, _ := lanesKnown.Load(sessionKey{session: h.Session, lane: h.Lane})
	lane, _ := old.(laneKnown)
	h.Resume, h.Received, h.Clock, h.Extensions = true, received, max(h.Clock+1, lane.clock+1, clockMillis()), nil
	if lane.key == nil { // the gateway has to find out
		lane.key, lane.begun = make([]byte, proto.KeySize), 1
	}
	h.Prove(lane.key, lane.begun)
	return h
}

func TestResumeSendsWhatWasNotReceived(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	hello := sessionHello(1)
	p := connect(t, g).greet(hello)
	p.tasks("echo", rawTask{0, "a"})
	p.results(1)
	first := p.got
	p.tasks("echo", rawTask{1, "b"})
	p.results(1)
	_ = p.conn.Close()
	p = connect(t, g).greet(again(hello, first)) // the second answer, it says, never came
	if !p.welcome.Resumed || p.welcome.Received != uint64(len(tasksFrame(0, "echo", rawTask{0, "a"}))*2) {
		t.Errorf("welcome is %+v", p.welcome)
	}
	if r := p.results(1)[1]; string(r.Body) != "b" {
		t.Errorf("sent again is %v", r)
	}
	p.echo()
}

// Who has seen a session id, and all hellos of its lane, gets nothing: a hello has to prove that it has the lane's key.
func TestResumeNeedsProof(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	hello := sessionHello(1)
	p := connect(t, g).greet(hello)
	key := p.welcome.Key()
	if len(key) != proto.KeySize {
		t.Fatalf("the key has %d bytes", len(key))
	}
	p.echo()
	seen := again(hello, p.got)
	p = connect(t, g).greet(seen)
	if !p.welcome.Resumed || p.welcome.Key() != nil {
		t.Fatalf("resumed %v, key %v", p.welcome.Resumed, p.welcome.Key())
	}
	later := seen
	later.Clock += 1000
	other := later
	other.Extensions = nil
	other.Prove(make([]byte, proto.KeySize), hello.Clock)
	begun := later
	begun.Extensions = []proto.Extension{proto.BegunExtension(hello.Clock)}
	named := later
	named.Extensions = nil
	named.Prove(key, hello.Clock+1)
	anew := hello
	anew.Clock = later.Clock
	ahead := later
	ahead.Clock = proto.MaxClock + 1
	for name, c := range map[string]struct {
		hello proto.Hello
		code  proto.GoodbyeCode
	}{
		"the same again":     {seen, proto.GoodbyeSuperseded},
		"a later clock":      {later, proto.GoodbyeNotAllowed},
		"another key":        {other, proto.GoodbyeNotAllowed},
		"no proof":           {begun, proto.GoodbyeMalformed},
		"another beginning":  {named, proto.GoodbyeNotAllowed},
		"without resume":     {anew, proto.GoodbyeNotAllowed},
		"a clock far beyond": {ahead, proto.GoodbyeMalformed},
	} {
		thief := connect(t, g)
		thief.write(proto.AppendHello(nil, c.hello))
		if text := thief.goodbye(c.code); text == "" {
			t.Errorf("%s: no reason is given", name)
		}
	}
	p.echo() // its owner has not noticed
	if p = connect(t, g).greet(again(hello, seen.Received+p.got)); !p.welcome.Resumed {
		t.Error("its owner cannot resume it")
	}
}

func TestResumeHalfAFrame(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	hello := sessionHello(1)
	p := connect(t, g).greet(hello)
	frame := tasksFrame(0, "echo", rawTask{0, "half"})
	p.write(frame[:len(frame)-1])
	_ = p.conn.Close()
	p = connect(t, g).greet(again(hello, 0))
	if p.welcome.Received != 0 {
		t.Errorf("half a frame was counted: %d", p.welcome.Received)
	}
	p.write(frame)
	if r := p.results(1)[0]; string(r.Body) != "half" {
		t.Errorf("answer is %v", r)
	}
}

func TestResumeTakesOverFromLiveConnection(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	held := newGate(t)
	g.HandleCall("held", held.pass)
	hello := sessionHello(1)
	old := connect(t, g).greet(hello)
	old.tasks("held", rawTask{0, ""})
	within(t, "it runs", held.arrived)
	p := connect(t, g).greet(again(hello, 0))
	old.closed()
	held.release()
	if r := p.results(1)[0]; r.Status != StatusOK {
		t.Errorf("answer is %v", r.Status)
	}
	if n := g.Stats().Handlers; n != 1 {
		t.Errorf("%d handlers", n)
	}
}

func TestResumeWrongCounts(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	for i, count := range []func(got uint64) uint64{
		func(got uint64) uint64 { return got + 1 },
		func(got uint64) uint64 { return got - 1 }, // in a frame
		func(uint64) uint64 { return 1<<64 - 1 },
		func(uint64) uint64 { return 0 }, // acknowledged before
	} {
		hello := sessionHello(uint64(100 + i))
		p := connect(t, g).greet(hello)
		p.tasks("echo", rawTask{0, "a"})
		p.results(1)
		p.write(proto.AppendAck(nil, p.got))
		p.send(proto.KindPing, nil)
		p.expect(proto.KindPong) // the ack has arrived
		_ = p.conn.Close()
		wrong := connect(t, g)
		wrong.write(proto.AppendHello(nil, again(hello, count(p.got))))
		if text := wrong.goodbye(proto.GoodbyeMalformed); !strings.Contains(text, "received count") {
			t.Errorf("%d: goodbye says %q", i, text)
		}
	}
	eventually(t, "the lanes are gone", func() bool { return g.Stats().Handlers == 0 })
}

// Hellos that begin a lane anew while the one before is slow to end: the latest has it, whichever is served first.
func TestResumeAfterHellosAtOnce(t *testing.T) {
	const hellos = 8
	g := startGateway(t, GatewayConfig{})
	greetings := func() int {
		g.mu.Lock()
		defer g.mu.Unlock()
		return len(g.greeting)
	}
	for trial := range uint64(20) {
		hello := sessionHello(1 + trial)
		slow := connectPipe(t, g).greet(hello) // does not read the goodbye
		latest := hello
		latest.Clock += hellos
		var peers []*raw
		for i := range uint64(hellos) {
			next := latest
			next.Clock -= i
			p := connect(t, g)
			p.write(proto.AppendHello(nil, next))
			peers = append(peers, p)
		}
		if w, err := proto.ParseWelcome(peers[0].expect(proto.KindWelcome)); err == nil {
			remember(latest, w)
		}
		for _, p := range peers[1:] {
			if f := p.next(); f.Kind != proto.KindWelcome && f.Kind != proto.KindGoodbye {
				t.Fatalf("kind %#02x answers a hello", f.Kind)
			}
			_ = p.conn.Close()
		}
		_ = slow.conn.Close()
		p := connect(t, g).greet(again(latest, 0))
		if !p.welcome.Resumed {
			t.Fatalf("trial %d: the lane of the latest hello is gone", trial)
		}
		p.echo()
		p.send(proto.KindGoodbye, proto.AppendGoodbye(nil, proto.Goodbye{})[proto.HeaderSize:])
		eventually(t, "no lane is left", func() bool { return g.Stats().Handlers+greetings() == 0 })
	}
}

func TestResumeUnknownLaneBeginsAnew(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	p := connect(t, g).greet(again(sessionHello(1), 12345))
	if p.welcome.Resumed || p.welcome.Received != 0 {
		t.Errorf("welcome is %+v", p.welcome)
	}
	p.echo()
}

func TestResumeAfterIdleGoodbye(t *testing.T) {
	g := startGateway(t, GatewayConfig{IdleTimeout: 40 * time.Millisecond})
	held := newGate(t)
	g.HandleCall("held", held.pass)
	hello := sessionHello(1)
	p := connect(t, g).greet(hello)
	p.tasks("held", rawTask{0, ""})
	p.goodbye(proto.GoodbyeIdle)
	held.release()
	p = connect(t, g).greet(again(hello, p.got))
	if r := p.results(1)[0]; !p.welcome.Resumed || r.Status != StatusOK {
		t.Errorf("resumed %v, answer is %v", p.welcome.Resumed, r.Status)
	}
}

func TestGoodbyeOfClient(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	bye := proto.AppendGoodbye(nil, proto.Goodbye{Code: proto.GoodbyeDone})
	first := connect(t, g)
	first.write(bye) // in place of a hello
	if f, err := first.read(); err == nil {
		t.Errorf("goodbye is answered with kind %#02x", f.Kind)
	} else {
		first.wantClosed(err)
	}
	p := connect(t, g).greet(sessionHello(1))
	p.tasks("wait", rawTask{0, ""})
	eventually(t, "it runs", func() bool { return g.Stats().Running == 1 })
	p.write(bye)
	p.closed()
	eventually(t, "it ends the lane and its tasks, session or not", func() bool {
		s := g.Stats()
		return s.Handlers == 0 && s.Running == 0
	})
}

// The peer's address is that of the connection now, also for what runs since the one before.
func TestResumePeer(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	hello := sessionHello(1)
	stop := make(chan struct{})
	g.HandleCall("look", func(ctx context.Context, _ []byte) ([]byte, error) {
		for {
			select {
			case <-stop:
				return []byte(RemoteAddr(ctx)), nil
			default:
				_ = RemoteAddr(ctx)
			}
		}
	})
	p := connect(t, g).greet(hello)
	p.tasks("look", rawTask{0, ""})
	eventually(t, "it runs", func() bool { return g.Stats().Running == 1 })
	for range 5 {
		p = connect(t, g).greet(again(hello, 0))
	}
	close(stop)
	if r := p.results(1)[0]; string(r.Body) != p.conn.LocalAddr().String() {
		t.Errorf("peer is %q, want %v", r.Body, p.conn.LocalAddr())
	}
}

// A lane that was away long ago and has just been lost again is remembered for the whole time, though the sweep looks
// between the two steps of losing it.
func TestResumeSweepDoesNotTakeOldAbsence(t *testing.T) {
	g := startGateway(t, GatewayConfig{SessionTimeout: time.Hour})
	hello := sessionHello(1)
	p := connect(t, g).greet(hello)
	g.mu.Lock()
	h := g.sessions[sessionKey{session: hello.Session}]
	h.detachedAt = 1 // long ago
	g.mu.Unlock()
	h.exchange.mu.Lock() // the reader is between the two
	h.detach(h.current())
	now := monotonic() + int64(2*time.Hour)
	swept := make(chan struct{})
	go func() { g.sweepOnce(now); close(swept) }()
	select {
	case <-swept:
		t.Error("the sweep did not wait")
	case <-time.After(10 * time.Millisecond):
	}
	g.mu.Lock()
	h.detachedAt = now
	g.mu.Unlock()
	h.exchange.mu.Unlock()
	within(t, "the sweep ends", swept)
	_ = p.conn.Close()
	if p := connect(t, g).greet(again(hello, 0)); !p.welcome.Resumed {
		t.Error("the session was forgotten")
	}
}

// A lane that was full, and whose client has received everything, goes on when it comes back.
func TestResumeOfFullLane(t *testing.T) {
	g := startGateway(t, GatewayConfig{SendBuffer: 256 << 10, Workers: 2}) // more would have begun before it is full
	g.HandleCall("large", func(context.Context, []byte) ([]byte, error) { return make([]byte, 64<<10), nil })
	hello := sessionHello(1)
	p := connect(t, g).greet(hello)
	var tasks []rawTask
	for id := range uint32(40) {
		tasks = append(tasks, rawTask{id, ""})
	}
	p.tasks("large", tasks...)
	results := 0
	count := func(f proto.Frame) {
		for rest := f.Payload; f.Kind == proto.KindResults && len(rest) > 0; results++ {
			var err error
			if _, rest, err = proto.NextResult(rest); err != nil {
				t.Fatal(err)
			}
		}
	}
	paused := func() bool {
		return p.got > 0 && int(p.got) == most(g, func(h *handler) int {
			if h.full && h.out.Unsent() == 0 && !h.flushing {
				return int(h.out.End())
			}
			return 0
		})
	}
	for !paused() { // what comes until the lane is full is read, and not acknowledged
		_ = p.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if f, err := p.read(); err == nil {
			count(f)
		}
	}
	if results == len(tasks) {
		t.Fatal("the lane was never full")
	}
	received := p.got
	_ = p.conn.Close()
	p = connect(t, g).greet(again(hello, received))
	if !p.welcome.Resumed {
		t.Fatal("it is not resumed")
	}
	count(p.next())
}
