package netio

import (
	"errors"
	"fmt"
	"net"

	"shoal/proto"
)

// saidGoodbye is the error of a handshake to which the peer has said goodbye.
type saidGoodbye struct{ *goodbyeError }

func (s saidGoodbye) Unwrap() error { return s.goodbyeError }

// heardGoodbye reports whether err is a goodbye that the peer has said in a handshake.
func heardGoodbye(err error) bool {
	var s saidGoodbye
	return errors.As(err, &s)
}

// parseHandshake parses the frame of a handshake at the start of src. Size is that of the frame, 0 if it is not all there:
// then it needs so many bytes to be judged further. What does not start like one is found out by its first bytes.
func parseHandshake(src []byte, want proto.Kind) (payload []byte, size, need int, err error) {
	const head = proto.HeaderSize + len(proto.Magic)
	if len(src) < proto.HeaderSize {
		return nil, 0, proto.HeaderSize, nil
	}
	size, err = proto.FrameSize(src, proto.HandshakeLimit)
	kind := proto.Kind(src[4])
	if err != nil || kind != want && kind != proto.KindGoodbye {
		return nil, 0, 0, fmt.Errorf("%w: it starts with %q", proto.ErrNotShoal, src[:min(len(src), 16)])
	}
	if len(src) < size {
		switch {
		case kind != want:
			return nil, 0, size, nil
		case len(src) < head:
			return nil, 0, min(size, head), nil
		case string(src[proto.HeaderSize:head]) != proto.Magic:
			return nil, 0, 0, fmt.Errorf("%w: no magic", proto.ErrNotShoal)
		}
		return nil, 0, size, nil
	}
	payload = src[proto.HeaderSize:size]
	if kind == proto.KindGoodbye {
		bye, err := proto.ParseGoodbye(payload)
		if err != nil {
			return nil, 0, 0, err
		}
		return nil, 0, 0, saidGoodbye{heard(bye)}
	}
	return payload, size, 0, nil
}

// readHandshake reads one frame of the handshake from a connection, no byte more.
func readHandshake(conn net.Conn, want proto.Kind) ([]byte, error) {
	var buf []byte
	for {
		payload, size, need, err := parseHandshake(buf, want)
		if err != nil || size > 0 {
			return payload, err
		}
		have := len(buf)
		buf = append(buf, make([]byte, need-have)...)
		n, err := conn.Read(buf[have:])
		buf = buf[:have+n]
		if err != nil && n == 0 {
			return nil, err
		}
	}
}
