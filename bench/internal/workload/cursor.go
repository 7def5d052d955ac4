package workload

import "encoding/binary"

// Cursor walks through keys, again and again. It has one user.
type Cursor struct {
	keys []byte
	at   int
}

// NewCursor returns a cursor over what Keys returned; each user starts elsewhere.
func NewCursor(keys []byte, user int) Cursor {
	return Cursor{keys, user * 7919 % Entries * KeySize}
}

// Next returns the next key, which must not be changed.
func (c *Cursor) Next() []byte {
	key := c.keys[c.at : c.at+KeySize : c.at+KeySize]
	if c.at += KeySize; c.at == len(c.keys) {
		c.at = 0
	}
	return key
}

// AppendMessage appends the next message, of so many tasks.
func (c *Cursor) AppendMessage(dst []byte, batch int) []byte {
	if batch == 1 {
		return append(dst, c.Next()...)
	}
	for range batch {
		dst = binary.LittleEndian.AppendUint32(dst, KeySize)
		dst = append(dst, c.Next()...)
	}
	return dst
}
