package netio

import (
	"strings"
	"testing"

	"shoal/proto"
)

// When handlers are full, lanes that are away make room: first those that have carried nothing, never one that owes its
// client something.
func TestAwayLanesMakeRoom(t *testing.T) {
	g := startGateway(t, GatewayConfig{MaxHandlers: 3})
	away := func() (n int) {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.away.empty.Len() + g.away.used.Len()
	}
	leave := func(p *raw) {
		n := away()
		_ = p.conn.Close()
		eventually(t, "the lane is away", func() bool { return away() == n+1 })
	}
	used, owing, empty := sessionHello(1), sessionHello(2), sessionHello(3)
	p := connect(t, g).greet(owing)
	p.tasks("wait", rawTask{0, ""})
	p.send(proto.KindPing, nil)
	p.expect(proto.KindPong)
	leave(p)
	p = connect(t, g).greet(used)
	p.echo()
	p.write(proto.AppendAck(nil, p.got))
	p.send(proto.KindPing, nil)
	p.expect(proto.KindPong)
	received := p.got
	leave(p)
	leave(connect(t, g).greet(empty))

	knows := func(h proto.Hello) bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.sessions[sessionKey{session: h.Session}] != nil
	}
	first := connect(t, g).greet(helloFor())
	if knows(empty) || !knows(used) || !knows(owing) {
		t.Errorf("known are: empty %v, used %v, owing %v", knows(empty), knows(used), knows(owing))
	}
	connect(t, g).greet(helloFor()).echo()
	if knows(used) || !knows(owing) {
		t.Errorf("known are: used %v, owing %v", knows(used), knows(owing))
	}
	full := connect(t, g)
	full.write(proto.AppendHello(nil, helloFor()))
	full.goodbye(proto.GoodbyeFull)
	_ = first.conn.Close()
	eventually(t, "a place is free", func() bool { return g.Stats().Handlers == 2 })
	if p := connect(t, g).greet(again(used, received)); p.welcome.Resumed {
		t.Error("a lane was resumed that had made room")
	}
}

// Connections that say nothing keep nobody out: the oldest of them goes.
func TestSilentConnectionsMakeRoom(t *testing.T) {
	g := startGateway(t, GatewayConfig{})
	var silent []*raw
	for range greetings {
		silent = append(silent, connectPipe(t, g))
	}
	connect(t, g).greet(helloFor()).echo()
	silent[0].closed()
	silent[greetings-1].greet(helloFor()).echo()
}

// Refusals are logged, and so many of them only once in a while.
func TestRefusalsAreLoggedSparingly(t *testing.T) {
	var logs logBuffer
	g := startGateway(t, GatewayConfig{MaxHandlers: 1, Logger: logs.logger()})
	connect(t, g).greet(helloFor())
	for range 200 {
		p := connect(t, g)
		p.write(proto.AppendHello(nil, helloFor()))
		p.goodbye(proto.GoodbyeFull)
	}
	if n := strings.Count(logs.String(), "connection refused"); n == 0 {
		t.Error("no line tells of refusals")
	}
	var l logLimit
	for i := range 100 {
		if ok, _ := l.allow(1); ok != (i < loggedEach) {
			t.Fatalf("line %d is logged: %v", i, ok)
		}
	}
	if ok, skipped := l.allow(2e9); !ok || skipped != 100-loggedEach {
		t.Errorf("after a second: %v, %d skipped", ok, skipped)
	}
}
