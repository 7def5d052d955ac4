package proto

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// HeaderSize is the size in bytes of a frame's header.
const HeaderSize = 8

// HandshakeLimit bounds the payload of hello, welcome and goodbye; MinFrameLimit is the smallest frame limit that a
// side may name, PingLimit the largest payload of a ping.
const (
	HandshakeLimit = 4096
	MinFrameLimit  = 4096
	PingLimit      = 1024
)

// Version is the protocol version that this package describes.
const Version = 1

// Kind says what a frame's payload is.
type Kind uint8

// The kinds of frames. Those from 0x10 up are sequenced.
const (
	KindHello   Kind = 0x01
	KindWelcome Kind = 0x02
	KindGoodbye Kind = 0x03
	KindAck     Kind = 0x04
	KindPing    Kind = 0x05
	KindPong    Kind = 0x06
	KindDrain   Kind = 0x07

	KindTasks   Kind = 0x10
	KindResults Kind = 0x11
	KindCancel  Kind = 0x12
	KindOpen    Kind = 0x13
	KindChunks  Kind = 0x14
	KindCredit  Kind = 0x15
	KindEnd     Kind = 0x16
	KindAbort   Kind = 0x17
)

// Sequenced reports whether frames of this kind count in the lane's byte sequence.
func (k Kind) Sequenced() bool { return k >= 0x10 }

// Flags of a frame.
const (
	FlagSkippable = 1 << 0 // whoever does not know the kind skips the frame
	FlagFields    = 1 << 3 // the payload begins with fields: see CutFields
	FlagMore      = 1 << 4 // the frame goes on in the next sequenced one: see AppendParts

	flagCompression = 3 << 1
	flagReserved    = ^uint8(FlagSkippable | FlagFields | FlagMore | flagCompression)
)

// Errors of malformed input. ErrMalformed covers all of them but ErrTooLarge.
var (
	// ErrMalformed says that bytes break the specification.
	ErrMalformed = errors.New("malformed frame")
	// ErrTooLarge says that a frame, or what it would expand to, is above the limit.
	ErrTooLarge = errors.New("frame above the limit")
	// ErrNotShoal says that the first bytes of a connection are no shoal handshake.
	ErrNotShoal = malformed("not a shoal peer")
)

// malformed returns an error that wraps ErrMalformed and says what is wrong.
func malformed(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, args...))
}

// FlagsOffset is where in the header of a frame its flags are.
const FlagsOffset = 5

// Frame is one frame as it came: Payload aliases the parsed bytes and may be compressed.
type Frame struct {
	Kind    Kind
	Flags   uint8
	Payload []byte
}

// Compression returns how the payload is compressed.
func (f Frame) Compression() Compression { return Compression(f.Flags & flagCompression >> 1) }

// More reports whether the frame is a part that is not the last.
func (f Frame) More() bool { return f.Flags&FlagMore != 0 }

// Skippable reports whether a receiver that does not know the kind skips the frame.
func (f Frame) Skippable() bool { return f.Flags&FlagSkippable != 0 }

// ParseFrame reads the frame at the start of src. It returns the frame and its size on the wire; a size of 0 with no
// error means that src does not hold all of it yet (FrameSize says how much is needed). The limit is that of the
// payload, and is checked as soon as the header is there.
func ParseFrame(src []byte, limit int) (Frame, int, error) {
	size, err := FrameSize(src, limit)
	if err != nil || size == 0 || len(src) < size {
		return Frame{}, 0, err
	}
	return Frame{Kind: Kind(src[4]), Flags: src[5], Payload: src[HeaderSize:size:size]}, size, nil
}

// FrameSize returns the size on the wire of the frame that starts src, 0 if the header is not complete.
func FrameSize(src []byte, limit int) (int, error) {
	if len(src) < HeaderSize {
		return 0, nil
	}
	length := binary.LittleEndian.Uint32(src)
	if uint64(length) > uint64(limit) {
		return 0, fmt.Errorf("%w: kind %#02x with %d bytes, limit %d", ErrTooLarge, src[4], length, limit)
	}
	flags := src[5]
	switch {
	case src[4] == 0:
		return 0, malformed("kind 0")
	case flags&flagReserved != 0:
		return 0, malformed("reserved flags %#02x", flags)
	case src[6] != 0 || src[7] != 0:
		return 0, malformed("reserved bytes not zero")
	case flags&flagCompression == flagCompression:
		return 0, malformed("reserved compression")
	case flags&^FlagSkippable != 0 && !Kind(src[4]).Sequenced():
		return 0, malformed("control frame with flags %#02x", flags)
	case flags&FlagFields != 0 && !Kind(src[4]).takesFields():
		return 0, malformed("fields in a frame of kind %#02x", src[4])
	case flags&FlagMore != 0 && length == 0:
		return 0, malformed("part without a byte")
	}
	return HeaderSize + int(length), nil
}

// BeginFrame appends the header of a frame whose payload follows; EndFrame completes it.
func BeginFrame(dst []byte, kind Kind) []byte {
	return append(dst, 0, 0, 0, 0, byte(kind), 0, 0, 0)
}

// EndFrame writes the length of the frame whose header starts at dst[start] and whose payload runs to the end of dst.
func EndFrame(dst []byte, start int) {
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start-HeaderSize))
}

// AppendFrame appends a whole frame with the given payload.
func AppendFrame(dst []byte, f Frame) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(f.Payload)))
	dst = append(dst, byte(f.Kind), f.Flags, 0, 0)
	return append(dst, f.Payload...)
}
