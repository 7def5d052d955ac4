package netio

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"shoal/proto"
)

// raw is a client that speaks the protocol by hand, as right or wrong as a test wants it.
type raw struct {
	t       testing.TB
	conn    net.Conn
	in      []byte
	welcome proto.Welcome
	got     uint64       // bytes of sequenced frames received
	fields  proto.Fields // of the frame that was read last
}

// helloFor returns the hello of a simple client without a session.
func helloFor() proto.Hello {
	return proto.Hello{MinVersion: 1, MaxVersion: 1, FrameLimit: 1 << 20, StreamCredit: 64 << 10, Clock: clockMillis()}
}

// connect opens a connection to the gateway and says nothing yet.
func connect(t testing.TB, g *Gateway) *raw {
	t.Helper()
	network, address, err := splitURL(g.URLs()[0])
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	return newRaw(t, conn)
}

// connectPipe is connect over an in-memory pair, without a socket.
func connectPipe(t testing.TB, g *Gateway) *raw {
	ours, theirs := net.Pipe()
	g.take(theirs, false)
	return newRaw(t, ours)
}

func newRaw(t testing.TB, conn net.Conn) *raw {
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &raw{t: t, conn: conn}
}

// greet does the handshake and returns the peer.
func (p *raw) greet(h proto.Hello) *raw {
	p.t.Helper()
	p.write(proto.AppendHello(nil, h))
	f := p.next()
	if f.Kind == proto.KindGoodbye {
		g, _ := proto.ParseGoodbye(f.Payload)
		p.t.Fatalf("goodbye %v: %s", g.Code, g.Text)
	}
	if f.Kind != proto.KindWelcome {
		p.t.Fatalf("kind %#02x in place of a welcome", f.Kind)
	}
	var err error
	if p.welcome, err = proto.ParseWelcome(f.Payload); err != nil {
		p.t.Fatal(err)
	}
	remember(h, p.welcome)
	return p
}

func (p *raw) write(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// send writes one frame.
func (p *raw) send(kind proto.Kind, payload []byte) {
	p.t.Helper()
	p.write(proto.AppendFrame(nil, proto.Frame{Kind: kind, Payload: payload}))
}

// rawTask is one task of a frame.
type rawTask struct {
	id   uint32
	body string
}

func tasksFrame(deadline uint64, name string, tasks ...rawTask) []byte {
	b := proto.BeginFrame(nil, proto.KindTasks)
	b = proto.AppendTasksHeader(b, deadline, name)
	for _, t := range tasks {
		b = proto.AppendTask(b, t.id, []byte(t.body))
	}
	proto.EndFrame(b, 0)
	return b
}

// fielded returns a frame with fields before its payload.
func fielded(frame []byte, fields ...proto.Extension) []byte {
	return proto.AppendFrame(nil, proto.Frame{Kind: proto.Kind(frame[4]), Flags: frame[proto.FlagsOffset] | proto.FlagFields,
		Payload: append(proto.AppendFields(nil, fields...), frame[proto.HeaderSize:]...)})
}

func (p *raw) tasks(name string, tasks ...rawTask) {
	p.t.Helper()
	p.write(tasksFrame(0, name, tasks...))
}

func (p *raw) open(id uint32, shape proto.Shape, name, argument string) {
	p.t.Helper()
	p.send(proto.KindOpen, proto.AppendOpen(nil, proto.Open{Stream: id, Shape: shape, Name: []byte(name), Argument: []byte(argument)}))
}

func (p *raw) chunk(id uint32, ident int64, body string) {
	p.t.Helper()
	p.send(proto.KindChunks, proto.AppendChunk(nil, proto.Chunk{Stream: id, Ident: ident, Body: []byte(body)}))
}

// read returns the next frame whatever it is, with its parts put together and without its fields; its payload stays valid.
func (p *raw) read() (proto.Frame, error) {
	var parts []byte
	for {
		f, size, err := proto.ParseFrame(p.in, 1<<30)
		if err != nil {
			return f, err
		}
		if size > 0 {
			p.in = p.in[size:]
			if f.Kind.Sequenced() {
				p.got += uint64(size)
			}
			if parts = append(parts, f.Payload...); f.More() {
				continue
			}
			if f.Payload = parts; f.Compression() == proto.CompressNone {
				p.fields, f.Payload, _, err = proto.CutFields(f)
			}
			return f, err
		}
		buf := make([]byte, 64<<10)
		n, err := p.conn.Read(buf)
		p.in = append(p.in[:len(p.in):len(p.in)], buf[:n]...)
		if err != nil && n == 0 {
			return proto.Frame{}, err
		}
	}
}

// next returns the next frame that is no ack.
func (p *raw) next() proto.Frame {
	p.t.Helper()
	for {
		f, err := p.read()
		if err != nil {
			p.t.Fatalf("in place of a frame: %v", err)
		}
		if f.Kind != proto.KindAck {
			return f
		}
	}
}

// expect returns the payload of the next frame, which must be of this kind.
func (p *raw) expect(kind proto.Kind) []byte {
	p.t.Helper()
	f := p.next()
	if f.Kind == proto.KindGoodbye && kind != f.Kind {
		g, _ := proto.ParseGoodbye(f.Payload)
		p.t.Fatalf("goodbye %v (%s) in place of kind %#02x", g.Code, g.Text, kind)
	}
	if f.Kind != kind {
		p.t.Fatalf("kind %#02x in place of %#02x", f.Kind, kind)
	}
	if f.Compression() == proto.CompressNone {
		return f.Payload
	}
	size, err := proto.ExpandedSize(f, 1<<30)
	payload := make([]byte, size)
	if err == nil {
		err = proto.Expand(payload, f)
	}
	if err != nil {
		p.t.Fatal(err)
	}
	return payload
}

// results reads until n results have come and returns them by id; each id may come once.
func (p *raw) results(n int) map[uint32]proto.Result {
	p.t.Helper()
	all := map[uint32]proto.Result{}
	for len(all) < n {
		rest := p.expect(proto.KindResults)
		for len(rest) > 0 {
			var r proto.Result
			var err error
			if r, rest, err = proto.NextResult(rest); err != nil {
				p.t.Fatal(err)
			}
			if _, twice := all[r.ID]; twice {
				p.t.Fatalf("task %d was answered twice", r.ID)
			}
			all[r.ID] = r
		}
	}
	return all
}

// echo shows that the connection works.
func (p *raw) echo() {
	p.t.Helper()
	p.tasks("echo", rawTask{7, "still here"})
	if r := p.results(1)[7]; r.Status != StatusOK || string(r.Body) != "still here" {
		p.t.Fatalf("echo is answered with %v %q", r.Status, r.Body)
	}
}

// end reads the end of a stream; the chunks before it are counted.
func (p *raw) end(id uint32) (e proto.End, chunks int) {
	p.t.Helper()
	for {
		f := p.next()
		switch f.Kind {
		case proto.KindChunks:
			chunks++
		case proto.KindCredit:
		case proto.KindEnd:
			e, err := proto.ParseEnd(f.Payload)
			if err != nil || e.Stream != id {
				p.t.Fatalf("end of stream %d, want %d: %v", e.Stream, id, err)
			}
			return e, chunks
		default:
			p.t.Fatalf("kind %#02x in place of an end", f.Kind)
		}
	}
}

// goodbye reads until the goodbye, checks its code, and that nothing follows it but the end of the connection.
func (p *raw) goodbye(code proto.GoodbyeCode) string {
	p.t.Helper()
	for {
		f, err := p.read()
		if err != nil {
			p.t.Fatalf("in place of goodbye %v: %v", code, err)
		}
		if f.Kind != proto.KindGoodbye {
			continue
		}
		g, err := proto.ParseGoodbye(f.Payload)
		if err != nil || g.Code != code {
			p.t.Fatalf("goodbye %v (%s), want %v: %v", g.Code, g.Text, code, err)
		}
		if f, err := p.read(); err == nil {
			p.t.Fatalf("kind %#02x follows the goodbye", f.Kind)
		} else {
			p.wantClosed(err)
		}
		return g.Text
	}
}

// closed reads until the connection ends.
func (p *raw) closed() {
	p.t.Helper()
	for {
		if _, err := p.read(); err != nil {
			p.wantClosed(err)
			return
		}
	}
}

func (p *raw) wantClosed(err error) {
	p.t.Helper()
	var ne net.Error
	if errors.As(err, &ne) && ne.Timeout() {
		p.t.Fatal("the connection does not end")
	}
	if len(p.in) > 0 && errors.Is(err, io.EOF) {
		p.t.Fatalf("%d bytes of a frame before the end", len(p.in))
	}
}
