package netio

import (
	"errors"
	"net"
	"testing"

	"shoal/proto"
)

// listener is a laneOwner that hears goodbyes.
type listener struct{}

func (listener) frame(f proto.Frame) error {
	g, err := proto.ParseGoodbye(f.Payload)
	if err != nil {
		return err
	}
	return &GoodbyeError{Code: g.Code, Text: g.Text}
}
func (listener) burst()     {}
func (listener) space(bool) {}

// What a peer said before it went is read, also where a write has found out first that it is gone.
func TestLastWordsAfterFailedWrite(t *testing.T) {
	checkLeaks(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	ours, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := theirs.Write(proto.AppendGoodbye(nil, proto.Goodbye{Code: proto.GoodbyeDraining})); err != nil {
		t.Fatal(err)
	}
	_ = theirs.(*net.TCPConn).SetLinger(0) // a reset, as a close with bytes unread makes it
	_ = theirs.Close()

	var l lane
	l.init(listener{}, proto.MinFrameLimit, 1<<20)
	k := newLink(ours)
	if !l.attach(k, 0) {
		t.Fatal("the lane does not take the connection")
	}
	writes := func() bool { // and reports whether they still succeed
		l.mu.Lock()
		defer l.mu.Unlock()
		b := l.out.whole(proto.KindCancel, 4)
		b.b = proto.AppendCancel(b.b, 1)
		l.appended()
		for l.flushing {
			l.flushed.Wait()
		}
		return l.out.unsent() == 0
	}
	eventually(t, "a write fails", func() bool { return !writes() })
	if err := k.readLoop(&l); !errors.Is(err, ErrDraining) {
		t.Errorf("read after that: %v", err)
	}
	l.detach()
}
