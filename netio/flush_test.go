package netio

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"testing"

	"shoal/netio/internal/session"
	"shoal/proto"
)

// bareLane is a lane of neither end; what comes goes to handle.
type bareLane struct {
	lane
	handle func(f *proto.Frame) error
}

func newBareLane(frameLimit int, handle func(f *proto.Frame) error) *bareLane {
	l := &bareLane{handle: handle}
	l.init(l, frameLimit, 1<<20, false)
	return l
}

func (l *bareLane) receive(k *link, src []byte) (consumed, need int, err error) {
	consumed, need, err = l.each(k, src, l)
	l.acknowledgeRead()
	return consumed, need, err
}

func (l *bareLane) frame(f *proto.Frame) error { return l.handle(f) }

func (*bareLane) space(bool)     {}
func (*bareLane) detached(*link) {}

// hearGoodbye ends with the goodbye of a peer.
func hearGoodbye(f *proto.Frame) error {
	g, err := proto.ParseGoodbye(f.Payload)
	if err != nil {
		return err
	}
	return &goodbyeError{Code: g.Code, Text: g.Text}
}

// connected returns both ends of a connection.
func connected(t *testing.T) (ours, theirs *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return c.(*net.TCPConn), peer.(*net.TCPConn)
}

// What a peer said before it went is read, also where a write has found out first that it is gone.
func TestLastWordsAfterFailedWrite(t *testing.T) {
	checkLeaks(t)
	ours, theirs := connected(t)
	if _, err := theirs.Write(proto.AppendGoodbye(nil, proto.Goodbye{Code: proto.GoodbyeDraining})); err != nil {
		t.Fatal(err)
	}
	_ = theirs.SetLinger(0) // a reset, as a close with bytes unread makes it
	_ = theirs.Close()

	l := newBareLane(proto.MinFrameLimit, hearGoodbye)
	k := newConnLink(ours)
	if !l.attach(k, 0, nil) {
		t.Fatal("the lane does not take the connection")
	}
	writes := func() bool { // and reports whether they still succeed
		l.mu.Lock()
		defer l.mu.Unlock()
		b := l.out.Whole(proto.KindCancel, "", 4)
		b.B = proto.AppendCancel(b.B, 1)
		l.appended()
		for l.flushing {
			l.flushed.Wait()
		}
		return l.out.Unsent() == 0
	}
	eventually(t, "a write fails", func() bool { return !writes() })
	if err := k.readLoop(l); !errors.Is(err, ErrDraining) {
		t.Errorf("read after that: %v", err)
	}
	l.detach(k)
	l.awaitDetached(k)
}

// hookedConn calls after once a write that does not wait has been tried.
type hookedConn struct {
	*net.TCPConn
	after func()
}

type hookedRaw struct {
	syscall.RawConn
	after func()
}

func (c hookedConn) SyscallConn() (syscall.RawConn, error) {
	raw, err := c.TCPConn.SyscallConn()
	return hookedRaw{raw, c.after}, err
}

func (r hookedRaw) Write(f func(fd uintptr) bool) error {
	err := r.RawConn.Write(f)
	r.after()
	return err
}

// An ack that becomes due while somebody else writes leaves all the same.
func TestAckDueDuringWrite(t *testing.T) {
	checkLeaks(t)
	ours, theirs := connected(t)
	defer theirs.Close()
	l := newBareLane(1<<20, func(*proto.Frame) error { return nil })
	frame := proto.AppendFrame(nil, proto.Frame{Kind: proto.KindTasks, Payload: make([]byte, session.AckEvery)})
	var k *link
	var once sync.Once
	k = newConnLink(hookedConn{ours, func() {
		once.Do(func() {
			if _, _, err := l.receive(k, frame); err != nil {
				t.Error(err)
			}
		})
	}})
	if !l.attach(k, 0, nil) {
		t.Fatal("the lane does not take the connection")
	}
	eventually(t, "it is idle", func() bool { l.mu.Lock(); defer l.mu.Unlock(); return !l.flushing })
	l.mu.Lock()
	b := l.out.Whole(proto.KindCancel, "", 4)
	b.B = proto.AppendCancel(b.B, 1)
	if !l.claimFlush() {
		t.Fatal("somebody flushes")
	}
	l.mu.Unlock()
	l.flushHere()
	eventually(t, "the peer is told", func() bool { return l.out.Told() == uint64(len(frame)) })
	l.detach(k)
	l.awaitDetached(k)
}
