package proto

import (
	"encoding/binary"
	"fmt"
)

// ChunkHeaderSize is what stands before the bytes of a chunk, and what a chunk costs in credit beside its bytes.
const ChunkHeaderSize = 16

// Shape says what a subroutine takes and gives. Streams of the other shapes than a call are opened with it on the wire.
type Shape uint8

// The shapes of subroutines.
const (
	ShapeCall   Shape = 0 // bytes in, bytes out: it has no stream
	ShapeStream Shape = 1 // chunks to the client
	ShapeSend   Shape = 2 // chunks to the gateway
	ShapeDuplex Shape = 3 // chunks both ways
)

// MarshalText makes the name of a shape its form in JSON.
func (s Shape) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads the name of a shape.
func (s *Shape) UnmarshalText(text []byte) error {
	for known := ShapeCall; known <= ShapeDuplex; known++ {
		if known.String() == string(text) {
			*s = known
			return nil
		}
	}
	return fmt.Errorf("%q is no shape of a subroutine", text)
}

func (s Shape) String() string {
	switch s {
	case ShapeCall:
		return "call"
	case ShapeStream:
		return "stream"
	case ShapeSend:
		return "send"
	case ShapeDuplex:
		return "duplex"
	}
	return fmt.Sprintf("shape %d", uint8(s))
}

// Open opens a stream; Name and Argument alias the input when parsed.
type Open struct {
	Stream   uint32
	Deadline uint64
	Shape    Shape
	Name     []byte
	Argument []byte
}

// AppendOpen appends the payload of an open frame.
func AppendOpen(dst []byte, o Open) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, o.Stream)
	dst = binary.LittleEndian.AppendUint64(dst, o.Deadline)
	dst = append(dst, byte(o.Shape), byte(len(o.Name)))
	dst = append(dst, o.Name...)
	return append(dst, o.Argument...)
}

// OpenSize returns the size of the payload of an open frame.
func OpenSize(name string, argument []byte) int { return 14 + len(name) + len(argument) }

// ParseOpen reads the payload of an open.
func ParseOpen(src []byte) (Open, error) {
	if len(src) < 14 {
		return Open{}, malformed("open of %d bytes", len(src))
	}
	o := Open{Stream: binary.LittleEndian.Uint32(src), Deadline: binary.LittleEndian.Uint64(src[4:]), Shape: Shape(src[12])}
	if o.Shape < ShapeStream || o.Shape > ShapeDuplex {
		return Open{}, malformed("open with %v", o.Shape)
	}
	if o.Deadline > MaxClock {
		return Open{}, malformed("deadline %d", o.Deadline)
	}
	var err error
	o.Name, o.Argument, err = parseName(src[13:])
	return o, err
}

// Chunk is a piece of a stream; Body aliases the input when parsed.
type Chunk struct {
	Stream uint32
	Ident  int64
	Body   []byte
}

// AppendChunk appends one chunk to the payload of a chunks frame.
func AppendChunk(dst []byte, c Chunk) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, c.Stream)
	dst = binary.LittleEndian.AppendUint64(dst, uint64(c.Ident))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(c.Body)))
	return append(dst, c.Body...)
}

// NextChunk reads the chunk at the start of src, which is not empty. Rest aliases src.
func NextChunk(src []byte) (c Chunk, rest []byte, err error) {
	if len(src) < ChunkHeaderSize {
		return Chunk{}, nil, malformed("chunk header of %d bytes", len(src))
	}
	size := uint64(binary.LittleEndian.Uint32(src[12:]))
	if uint64(len(src)-ChunkHeaderSize) < size {
		return Chunk{}, nil, malformed("chunk of %d bytes, %d left", size, len(src)-ChunkHeaderSize)
	}
	end := ChunkHeaderSize + int(size)
	return Chunk{
		Stream: binary.LittleEndian.Uint32(src),
		Ident:  int64(binary.LittleEndian.Uint64(src[4:])),
		Body:   src[ChunkHeaderSize:end:end],
	}, src[end:], nil
}

// AppendCredit appends to the payload of a credit frame: so many more bytes for that stream.
func AppendCredit(dst []byte, stream, bytes uint32) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, stream)
	return binary.LittleEndian.AppendUint32(dst, bytes)
}

// WholeLane stands in a credit frame in place of a stream: the credit is that of the lane.
const WholeLane = 1<<32 - 1

// NextCredit reads the entry at the start of src, which is not empty.
func NextCredit(src []byte) (stream, bytes uint32, rest []byte, err error) {
	if len(src) < 8 {
		return 0, 0, nil, malformed("credit with %d bytes left", len(src))
	}
	return binary.LittleEndian.Uint32(src), binary.LittleEndian.Uint32(src[4:]), src[8:], nil
}

// End is the end of one direction of a stream; Body aliases the input when parsed.
type End struct {
	Stream uint32
	Status Status
	Body   []byte
}

// endHeaderSize is what stands before the bytes of an end.
const endHeaderSize = 5

// AppendEnd appends the payload of an end frame.
func AppendEnd(dst []byte, e End) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, e.Stream)
	dst = append(dst, byte(e.Status))
	return append(dst, e.Body...)
}

// ParseEnd reads the payload of an end.
func ParseEnd(src []byte) (End, error) {
	if len(src) < endHeaderSize {
		return End{}, malformed("end of %d bytes", len(src))
	}
	e := End{Stream: binary.LittleEndian.Uint32(src), Status: Status(src[4]), Body: src[endHeaderSize:]}
	if !e.Status.onWire() {
		return End{}, malformed("end with %v", e.Status)
	}
	return e, nil
}

// AppendAbort appends the payload of an abort frame.
func AppendAbort(dst []byte, stream uint32, status Status) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, stream)
	return append(dst, byte(status))
}

// ParseAbort reads the payload of an abort.
func ParseAbort(src []byte) (stream uint32, status Status, err error) {
	if len(src) != 5 {
		return 0, 0, malformed("abort of %d bytes", len(src))
	}
	status = Status(src[4])
	if status != StatusTimeout && status != StatusCanceled {
		return 0, 0, malformed("abort with %v", status)
	}
	return binary.LittleEndian.Uint32(src), status, nil
}
