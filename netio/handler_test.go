package netio

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"shoal/proto"
)

func TestHandlerMalformedEndsThatConnectionAlone(t *testing.T) {
	g := startGateway(t, GatewayConfig{Window: 8, WindowBytes: 64, FrameLimit: 8192, Streams: 4, StreamCredit: 100})
	g.HandleStream("hold", func(ctx context.Context, _ []byte, _ *Stream) error { <-ctx.Done(); return ctx.Err() })
	g.HandleDuplex("duplex", func(ctx context.Context, _ []byte, _ *Stream) error { <-ctx.Done(); return ctx.Err() })
	g.HandleSend("send", func(ctx context.Context, _ []byte, _ io.Reader) ([]byte, error) { <-ctx.Done(); return nil, ctx.Err() })
	frame := func(kind proto.Kind, payload ...byte) []byte {
		return proto.AppendFrame(nil, proto.Frame{Kind: kind, Payload: payload})
	}
	header := func(b ...byte) []byte { return b }
	open := func(id uint32, shape proto.Shape, name string) []byte {
		return frame(proto.KindOpen, proto.AppendOpen(nil, proto.Open{Stream: id, Shape: shape, Name: []byte(name)})...)
	}
	chunk := func(id uint32, size int) []byte {
		return frame(proto.KindChunks, proto.AppendChunk(nil, proto.Chunk{Stream: id, Body: make([]byte, size)})...)
	}
	end := frame(proto.KindEnd, proto.AppendEnd(nil, proto.End{Stream: 0})...)
	join := func(frames ...[]byte) (all []byte) {
		for _, f := range frames {
			all = append(all, f...)
		}
		return all
	}
	skippable := func(frame []byte) []byte {
		frame[proto.FlagsOffset] |= proto.FlagSkippable
		return frame
	}
	part := proto.AppendFrame(nil, proto.Frame{Kind: proto.KindTasks, Flags: proto.FlagMore, Payload: append(make([]byte, 4096), 1)})
	frameWith := func(kind proto.Kind, payload ...byte) []byte {
		return proto.AppendFrame(nil, proto.Frame{Kind: kind, Flags: proto.FlagFields, Payload: payload})
	}
	healthy := connect(t, g).greet(helloFor())
	for _, c := range []struct {
		name string
		send []byte
		text string
	}{
		{"frame above the limit", header(1, 32, 0, 0, byte(proto.KindTasks), 0, 0, 0), "8193"},
		{"length of 4 GiB", header(255, 255, 255, 255, byte(proto.KindTasks), 0, 0, 0), "4294967295"},
		{"kind 0", header(0, 0, 0, 0, 0, 1, 0, 0), ""},
		{"unknown kind", frame(0x70), "0x70"},
		{"kind of a gateway", frame(proto.KindResults, 0), ""},
		{"reserved flag", header(0, 0, 0, 0, 0x70, 0x21, 0, 0), ""},
		{"part of a ping", header(1, 0, 0, 0, byte(proto.KindPing), proto.FlagMore, 0, 0, 'x'), ""},
		{"another frame among parts", join(part, frame(proto.KindCancel, 0, 0, 0, 0)), "parts"},
		{"parts above the limit", join(part, part), "8194"},
		{"fields of a cancel", frameWith(proto.KindCancel, 7, 0, 0, 0), ""},
		{"fields beyond their frame", frameWith(proto.KindTasks, 9, 0, 1, 2), "fields"},
		{"class 3", frameWith(proto.KindTasks, 5, 0, 18, 0, 1, 0, 3), "field 18"},
		{"two tasks with one idempotency key", fielded(tasksFrame(0, "echo", rawTask{0, ""}, rawTask{1, ""}), proto.Extension{Type: proto.FieldIdempotencyKey, Value: []byte("k")}), "idempotency"},
		{"deadline beyond reason", tasksFrame(proto.MaxClock+1, "echo", rawTask{0, ""}), "deadline"},
		{"deadline of a stream beyond reason", frame(proto.KindOpen, proto.AppendOpen(nil, proto.Open{Shape: proto.ShapeStream, Deadline: proto.MaxClock + 1, Name: []byte("hold")})...), "deadline"},
		{"pong too long", frame(proto.KindPong, make([]byte, 1025)...), "1025"},
		{"end twice", join(open(0, proto.ShapeDuplex, "duplex"), end, end), "end"},
		{"end of a stream of the other direction", join(open(0, proto.ShapeStream, "hold"), end), "end"},
		{"end with a status", join(open(0, proto.ShapeDuplex, "duplex"), frame(proto.KindEnd, 0, 0, 0, 0, 3)), "timeout"},
		{"end with bytes", join(open(0, proto.ShapeDuplex, "duplex"), frame(proto.KindEnd, 0, 0, 0, 0, 0, 'x')), "1 bytes"},
		{"end with bytes, of no stream", frame(proto.KindEnd, 3, 0, 0, 0, 0, 'x'), "1 bytes"},
		{"end with fields", join(open(0, proto.ShapeDuplex, "duplex"), fielded(end, proto.Extension{Type: 0x777})), "fields"},
		{"credit for the wrong direction", join(open(0, proto.ShapeSend, "send"), frame(proto.KindCredit, 0, 0, 0, 0, 9, 0, 0, 0)), "credit"},
		{"credit for the lane", frame(proto.KindCredit, 255, 255, 255, 255, 9, 0, 0, 0), "credit"},
		{"second hello, skippable", skippable(proto.AppendHello(nil, helloFor())), "0x01"},
		{"second hello", proto.AppendHello(nil, helloFor()), ""},
		{"compressed garbage", proto.AppendFrame(nil, proto.Frame{Kind: proto.KindTasks, Flags: 2, Payload: []byte{20, 0, 0, 0, 1, 2, 3}}), ""},
		{"expansion bomb", proto.AppendFrame(nil, proto.Frame{Kind: proto.KindTasks, Flags: 2, Payload: []byte{0, 0, 0, 64, 1, 2, 3}}), ""},
		{"tasks cut short", frame(proto.KindTasks, 0, 0, 0), ""},
		{"tasks without a task", frame(proto.KindTasks, append(make([]byte, 8), 1, 'x')...), ""},
		{"task beyond its frame", frame(proto.KindTasks, append(make([]byte, 8), 1, 'x', 0, 0, 0, 0, 9, 0, 0, 0)...), ""},
		{"id out of the window", tasksFrame(0, "echo", rawTask{8, ""}), "window 8"},
		{"id far out of the window", tasksFrame(0, "echo", rawTask{1<<32 - 1, ""}), "window 8"},
		{"id in use", join(tasksFrame(0, "wait", rawTask{3, ""}), tasksFrame(0, "wait", rawTask{3, ""})), "in use"},
		{"id twice in a frame", tasksFrame(0, "wait", rawTask{3, ""}, rawTask{3, ""}), "in use"},
		{"window bytes", tasksFrame(0, "wait", rawTask{0, strings.Repeat("x", 40)}, rawTask{1, strings.Repeat("x", 40)}), "window 64"},
		{"ack of what was not sent", proto.AppendAck(nil, 1), "ack"},
		{"ack of 2^64-1", proto.AppendAck(nil, 1<<64-1), "ack"},
		{"ack cut short", frame(proto.KindAck, 1), ""},
		{"ping too long", frame(proto.KindPing, make([]byte, 1025)...), "1025"},
		{"cancel cut short", frame(proto.KindCancel, 1, 0), ""},
		{"empty cancel", frame(proto.KindCancel), ""},
		{"stream id out of range", open(4, proto.ShapeStream, "hold"), "stream"},
		{"stream id in use", join(open(0, proto.ShapeStream, "hold"), open(0, proto.ShapeStream, "hold")), "in use"},
		{"shape 4", open(0, 4, "hold"), ""},
		{"chunk on a stream of the other direction", join(open(0, proto.ShapeStream, "hold"), chunk(0, 1)), "credit"},
		{"chunk without credit", join(open(0, proto.ShapeDuplex, "duplex"), chunk(0, 84), chunk(0, 1)), "credit"},
		{"chunk after the end", join(open(0, proto.ShapeDuplex, "duplex"), end, chunk(0, 1)), "end"},
		{"chunks without a chunk", frame(proto.KindChunks), ""},
		{"credit beyond reason", join(open(0, proto.ShapeDuplex, "duplex"), frame(proto.KindCredit, endlessCredit()...)), "credit"},
		{"abort with another status", join(open(0, proto.ShapeDuplex, "duplex"), frame(proto.KindAbort, 0, 0, 0, 0, 1)), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, connect := range []func(testing.TB, *Gateway) *raw{connect, connectPipe} {
				p := connect(t, g).greet(helloFor())
				go func() { _, _ = p.conn.Write(c.send) }()
				if text := p.goodbye(proto.GoodbyeMalformed); !strings.Contains(text, c.text) {
					t.Errorf("%q does not say %q", text, c.text)
				}
			}
			healthy.echo()
		})
	}
	eventually(t, "the handlers are free and their work cancelled", func() bool {
		s := g.Stats()
		return s.Handlers == 1 && s.Running == 0 && s.Streams == 0
	})
}

// endlessCredit is credit of 4 GiB, often enough to be above what a stream may have.
func endlessCredit() (payload []byte) {
	for range 257 {
		payload = proto.AppendCredit(payload, 0, 1<<32-1)
	}
	return payload
}

func TestHandlerAllowed(t *testing.T) {
	g := startGateway(t, GatewayConfig{Window: 4})
	p := connectPipe(t, g).greet(helloFor())
	p.write(proto.AppendFrame(nil, proto.Frame{Kind: 0x70, Flags: proto.FlagSkippable, Payload: []byte("from the future")}))
	p.echoIn(3)
	p.send(proto.KindCancel, proto.AppendCancel(proto.AppendCancel(nil, 1), 1<<31)) // not in use
	p.send(proto.KindPing, []byte("ping"))
	if got := p.expect(proto.KindPong); string(got) != "ping" {
		t.Errorf("pong is %q", got)
	}
	p.write(proto.AppendAck(nil, 0))
	p.write(proto.AppendAck(nil, p.got))
	p.write(proto.AppendAck(nil, 0)) // late and twice
	p.chunk(3, 0, "of a stream that is over")
	p.send(proto.KindCredit, proto.AppendCredit(nil, 3, 100))
	p.send(proto.KindAbort, proto.AppendAbort(nil, 3, StatusCanceled))
	p.send(proto.KindEnd, proto.AppendEnd(nil, proto.End{Stream: 3}))
	p.send(proto.KindPong, make([]byte, proto.PingLimit)) // to no ping
	p.echoIn(3)
	later := proto.Extension{Type: 0x777, Value: []byte("later")}
	p.write(fielded(tasksFrame(0, "echo", rawTask{3, "x"}), later))
	if r := p.results(1)[3]; r.Status != StatusOK || string(r.Body) != "x" {
		t.Errorf("with a field of a later version: %v %q", r.Status, r.Body)
	}
	must := proto.Extension{Type: 0x8777}
	p.write(fielded(tasksFrame(0, "echo", rawTask{3, "x"}), must))
	if r := p.results(1)[3]; r.Status != StatusNotAllowed || codeOf(r.Body) != proto.CodeBadField {
		t.Errorf("with a critical field of a later version: %v %q", r.Status, r.Body)
	}
	open := proto.AppendFrame(nil, proto.Frame{Kind: proto.KindOpen, Payload: proto.AppendOpen(nil, proto.Open{Shape: proto.ShapeStream, Name: []byte("echo")})})
	p.write(fielded(open, later, must))
	if e, _ := p.end(0); e.Status != StatusNotAllowed || codeOf(e.Body) != proto.CodeBadField {
		t.Errorf("a stream with a critical field of a later version: %v %q", e.Status, e.Body)
	}
	parts, _ := proto.AppendParts(nil, tasksFrame(0, "echo", rawTask{3, "in parts of a byte"}), 1)
	p.write(parts)
	if r := p.results(1)[3]; string(r.Body) != "in parts of a byte" {
		t.Errorf("in parts: %v %q", r.Status, r.Body)
	}
	p.echoIn(3)
}

// codeOf returns the code of the error in a result.
func codeOf(body []byte) uint16 {
	e, err := proto.ParseError(body)
	if err != nil {
		return 0
	}
	return e.Code
}

// echoIn is echo in a slot of the caller's choosing.
func (p *raw) echoIn(id uint32) {
	p.t.Helper()
	p.tasks("echo", rawTask{id, "x"})
	if r := p.results(1)[id]; r.Status != StatusOK {
		p.t.Fatalf("echo is answered with %v", r.Status)
	}
}

func TestHandlerStatuses(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	table := emulation{"known": {[]byte("1"), 0}, "slow": {[]byte("2"), time.Millisecond}}
	g.HandleTask("table as task", table.run)
	g.HandleBatch("table", table.runBatch)
	g.HandleStream("stream", func(context.Context, []byte, *Stream) error { return nil })
	g.HandleCall("own", func(context.Context, []byte) ([]byte, error) {
		return nil, fmt.Errorf("wrapped: %w", &StatusError{Status: StatusNotAllowed, Code: 4711, Text: "not you", Details: []byte("why")})
	})
	g.HandleCall("large", func(context.Context, []byte) ([]byte, error) { return make([]byte, 2<<20), nil })
	g.HandleTask("panicking task", func(Task) { panic("oh no") })
	for _, c := range []struct {
		name, body string
		status     Status
		answer     string // of ok; otherwise a part of the text
		code       uint16
	}{
		{"echo", "", StatusOK, "", 0},
		{"table", "known", StatusOK, "1", 0},
		{"table", "slow", StatusOK, "2", 0},
		{"table", "strange", StatusUnknownTask, "", 0},
		{"table as task", "known", StatusOK, "1", 0},
		{"table as task", "slow", StatusOK, "2", 0},
		{"table as task", "strange", StatusUnknownTask, "", 0},
		{"nobody", "", StatusUnknownSubroutine, "nobody", 0},
		{"fail", "coffee", StatusFailed, "no coffee today", 0},
		{"panic", "", StatusPanicked, "oh no", 0},
		{"panicking task", "", StatusPanicked, "oh no", 0},
		{"goexit", "", StatusPanicked, "Goexit", 0},
		{"stream", "", StatusFailed, "stream", proto.CodeWrongShape},
		{"own", "", StatusNotAllowed, "not you", 4711},
		{"large", "", StatusFailed, "2097152", proto.CodeTooLarge},
	} {
		t.Run(c.name+" "+c.body, func(t *testing.T) {
			p := connectPipe(t, g).greet(helloFor())
			for range 2 { // the connection goes on
				p.tasks(c.name, rawTask{0, c.body}, rawTask{1, c.body})
				for _, r := range p.results(2) {
					if r.Status != c.status {
						t.Fatalf("status is %v, want %v", r.Status, c.status)
					}
					if c.status == StatusOK {
						if string(r.Body) != c.answer {
							t.Errorf("answer is %q, want %q", r.Body, c.answer)
						}
						continue
					}
					e, err := proto.ParseError(r.Body)
					if err != nil || e.Code != c.code || !strings.Contains(e.Text, c.answer) {
						t.Errorf("error is %+v, %v; want code %d and %q", e, err, c.code, c.answer)
					}
				}
			}
			p.echo()
		})
	}
}

func TestHandlerPanicIsLoggedWithItsStack(t *testing.T) {
	var log logBuffer
	g := startGateway(t, GatewayConfig{Logger: log.logger(), Workers: 32})
	held := newGate(t)
	g.HandleCall("panic together", func(ctx context.Context, in []byte) ([]byte, error) {
		_, _ = held.pass(ctx, in)
		panic("oh no")
	})
	p := connectPipe(t, g).greet(helloFor())
	var tasks []rawTask
	for id := range uint32(16) {
		tasks = append(tasks, rawTask{id, ""})
	}
	p.tasks("panic together", tasks...)
	for range tasks {
		within(t, "all tasks run", held.arrived)
	}
	held.release()
	for id, r := range p.results(16) {
		if r.Status != StatusPanicked {
			t.Errorf("task %d: %v", id, r.Status)
		}
	}
	text := log.String()
	for _, want := range []string{"oh no", "TestHandlerPanicIsLoggedWithItsStack", " task=0 ", " task=15 ", " lane=0 ", " remote="} {
		if !strings.Contains(text, want) {
			t.Errorf("log does not have %q:\n%.2000s", want, text)
		}
	}
	eventually(t, "panics are counted", func() bool { return g.Stats().Panics == 16 })
	p.echo()
}

func TestHandlerUnreadAnswersPauseTheirClientAlone(t *testing.T) {
	g := startGateway(t, GatewayConfig{SendBuffer: 1 << 20, Workers: 4})
	answer := make([]byte, 64<<10)
	g.HandleCall("big", func(context.Context, []byte) ([]byte, error) { return answer, nil })
	slow := connect(t, g).greet(helloFor())
	healthy := connect(t, g).greet(helloFor())
	before := heapInUse()
	const tasks = 2000 // 125 MiB of answers
	for id := range uint32(tasks) {
		slow.tasks("big", rawTask{id, ""})
	}
	eventually(t, "its queue pauses", func() bool {
		s := g.Stats()
		return s.Tasks >= tasks && s.Queued > 0 && s.Running == 0
	})
	for range 100 {
		healthy.echo()
	}
	if run := tasks - g.Stats().Queued; run > tasks/4 { // what fits into its outbox and the sockets
		t.Errorf("%d tasks ran though nobody reads their answers", run)
	}
	if grown := heapInUse() - before; grown > 16<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	for id, r := range slow.results(tasks) {
		if r.Status != StatusOK || len(r.Body) != len(answer) {
			t.Fatalf("task %d: %v, %d bytes", id, r.Status, len(r.Body))
		}
	}
}

func TestHandlerThatNobodyReadsIsCutOff(t *testing.T) {
	g := startGateway(t, GatewayConfig{WriteTimeout: 50 * time.Millisecond, SendBuffer: 1 << 20})
	answer := make([]byte, 1<<20-100)
	g.HandleCall("big", func(context.Context, []byte) ([]byte, error) { return answer, nil })
	p := connect(t, g).greet(helloFor())
	for id := range uint32(50) {
		p.tasks("big", rawTask{id, ""})
	}
	eventually(t, "the client is cut off", func() bool { return g.Stats().Handlers == 0 })
}

// A client that never reads and reuses ids as soon as the gateway has answered gets the gateway to answer without end.
func TestHandlerFloodOfRefusalsIsBounded(t *testing.T) {
	for _, c := range []struct {
		name string
		send func(id uint32) []byte
	}{
		{"unknown subroutine", func(id uint32) []byte { return tasksFrame(0, strings.Repeat("n", 200), rawTask{id, ""}) }},
		{"unknown stream", func(id uint32) []byte {
			payload := proto.AppendOpen(nil, proto.Open{Stream: id, Shape: proto.ShapeStream, Name: []byte(strings.Repeat("n", 200))})
			return proto.AppendFrame(nil, proto.Frame{Kind: proto.KindOpen, Payload: payload})
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := startGateway(t, GatewayConfig{SendBuffer: 256 << 10, Window: 16, Streams: 16})
			p := connect(t, g).greet(helloFor())
			before := heapInUse()
			var flood []byte
			for id := range uint32(4096) {
				flood = append(flood, c.send(id%16)...)
			}
			for range 64 {
				if _, err := p.conn.Write(flood); err != nil {
					break // cut off
				}
			}
			if grown := heapInUse() - before; grown > 16<<20 {
				t.Errorf("the heap has grown by %d bytes", grown)
			}
		})
	}
}

func TestHandlerSuperseded(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	hello := helloFor()
	binary.LittleEndian.PutUint64(hello.Session[:], 4711)
	first := connect(t, g).greet(hello)
	first.tasks("wait", rawTask{0, ""})
	eventually(t, "the task runs", func() bool { return g.Stats().Running == 1 })
	anew := again(hello, 0)
	anew.Resume = false // the lane begins anew
	second := connect(t, g).greet(anew)
	first.goodbye(proto.GoodbyeSuperseded)
	if second.welcome.Resumed {
		t.Error("resumed without being asked to")
	}
	second.echo()
	eventually(t, "the old lane's task is cancelled", func() bool { return g.Stats().Running == 0 })
	if n := g.Stats().Handlers; n != 1 {
		t.Errorf("%d handlers", n)
	}
}

// A frame that breaks the window behind a task of an unknown subroutine ends its connection, and nothing else.
func TestHandlerMalformedBehindUnknown(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	for _, bad := range []rawTask{{1 << 30, ""}, {0, "the same id"}} {
		p := connect(t, g).greet(helloFor())
		p.tasks("no such", rawTask{0, ""}, bad)
		p.goodbye(proto.GoodbyeMalformed)
	}
	eventually(t, "the lanes end", func() bool { return g.Stats().Handlers == 0 })
	connect(t, g).greet(helloFor()).echo()
}
