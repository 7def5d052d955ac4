package proto

import "encoding/binary"

// AckSize is the size on the wire of an ack frame.
const AckSize = HeaderSize + 8

// AppendAck appends an ack frame: so many bytes of the lane's sequence have been received.
func AppendAck(dst []byte, received uint64) []byte {
	dst = append(dst, 8, 0, 0, 0, byte(KindAck), 0, 0, 0)
	return binary.LittleEndian.AppendUint64(dst, received)
}

// ParseAck reads the payload of an ack.
func ParseAck(src []byte) (received uint64, err error) {
	if len(src) != 8 {
		return 0, malformed("ack of %d bytes", len(src))
	}
	return binary.LittleEndian.Uint64(src), nil
}

// ParsePing checks the payload of a ping or a pong, which is any few bytes.
func ParsePing(src []byte) error {
	if len(src) > PingLimit {
		return malformed("ping or pong of %d bytes", len(src))
	}
	return nil
}

// AppendDrain appends a drain frame: the gateway closes within so many milliseconds.
func AppendDrain(dst []byte, millis uint32) []byte {
	dst = append(dst, 4, 0, 0, 0, byte(KindDrain), 0, 0, 0)
	return binary.LittleEndian.AppendUint32(dst, millis)
}

// ParseDrain reads the payload of a drain.
func ParseDrain(src []byte) (millis uint32, err error) {
	if len(src) != 4 {
		return 0, malformed("drain of %d bytes", len(src))
	}
	return binary.LittleEndian.Uint32(src), nil
}
