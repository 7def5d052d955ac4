package proto

import "encoding/binary"

// AppendParts appends the frames at the start of src, which are whole, with each payload of more than size bytes sent in parts
// of at most as many. Parts are parted further. It reports whether any was.
func AppendParts(dst, src []byte, size int) ([]byte, bool) {
	parted := false
	for len(src) > 0 {
		length := int(binary.LittleEndian.Uint32(src))
		header, payload := src[:HeaderSize], src[HeaderSize:HeaderSize+length]
		src = src[HeaderSize+length:]
		for ; len(payload) > size; payload = payload[size:] {
			parted = true
			dst = appendPart(dst, header, header[5]|FlagMore, payload[:size])
		}
		dst = appendPart(dst, header, header[5], payload)
	}
	return dst, parted
}

// appendPart appends a frame with the kind of a header, flags and a payload.
func appendPart(dst, header []byte, flags uint8, payload []byte) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(payload)))
	dst = append(dst, header[4], flags, 0, 0)
	return append(dst, payload...)
}

// PartsSize returns the bytes of the frames at the start of src, which are whole, when they are sent in parts.
func PartsSize(src []byte, size int) int {
	total := len(src)
	for len(src) > 0 {
		length := int(binary.LittleEndian.Uint32(src))
		if length > size {
			total += (length - 1) / size * HeaderSize
		}
		src = src[HeaderSize+length:]
	}
	return total
}
