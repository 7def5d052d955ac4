package demo

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"shoal/netio"
)

// serve gives a swarm to a gateway with everything registered.
func serve(t *testing.T) *netio.Swarm {
	t.Helper()
	var remove func() error
	s, stop, err := Connect(t.Context(), "", func(gw *netio.Gateway) {
		var err error
		if remove, err = Register(gw); err != nil {
			t.Fatal(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		if err := remove(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestEcho(t *testing.T) {
	s := serve(t)
	stream, err := s.Duplex(t.Context(), "echo", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer stream.Abort()
	for ident := range int64(100) {
		body := bytes.Repeat([]byte{byte(ident)}, int(ident*ident))
		if err := stream.Send(ident, body); err != nil {
			t.Fatal(err)
		}
		got, back, err := stream.Recv()
		if err != nil || got != ident || !bytes.Equal(back, body) {
			t.Fatalf("chunk %d came back as %d, %d bytes, %v", ident, got, len(back), err)
		}
	}
	stream.CloseSend()
	if _, _, err := stream.Recv(); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
}

func TestSquareRefuses(t *testing.T) {
	s := serve(t)
	for _, in := range []string{`"12"`, "1.5", "1e30", "x"} {
		if _, err := s.Call(t.Context(), "square", []byte(in)); !errors.Is(err, netio.ErrBadArgument) {
			t.Errorf("%s: %v", in, err)
		}
	}
	if n, err := netio.CallJSON[int64](t.Context(), s, "square", 3037000499); err != nil || n != 3037000499*3037000499 {
		t.Errorf("%d, %v", n, err)
	}
	if _, err := s.Call(t.Context(), "square", []byte("3037000500")); !errors.Is(err, netio.ErrFailed) {
		t.Errorf("a square that does not fit: %v", err)
	}
}

func TestLogsStayInTheirFolder(t *testing.T) {
	s := serve(t)
	for _, name := range []string{"../x", "/etc/passwd", "a/b", "..", "."} {
		if _, err := netio.CallJSON[int](t.Context(), s, "remove_logs", []string{"app-1.log", name}); err == nil {
			t.Errorf("removed %q", name)
		}
	}
	if err := s.StreamFunc(t.Context(), "logs", []byte("../*"), func(netio.Chunk) bool { return true }); err != nil {
		t.Error(err) // a pattern with a slash matches no name: an empty archive
	}
}

func TestCarRefuses(t *testing.T) {
	s := serve(t)
	if _, err := netio.CallJSON[Applied](t.Context(), s, "car_control", Control{Steer: 2}); !errors.Is(err, netio.ErrBadArgument) {
		t.Errorf("%v", err)
	}
}
