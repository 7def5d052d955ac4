package proto

import (
	"bytes"
	"encoding/binary"
	"time"
)

// Limits of the fields of a frame, in bytes.
const (
	FieldsLimit         = 4096 // all of them, without the length before them
	IdempotencyKeyLimit = 64
)

// The types of fields. FieldRetryAfter is also an extension of a goodbye.
const (
	FieldRetryAfter     = ExtensionRetryAfter
	FieldMetadata       = 16
	FieldIdempotencyKey = 17
	FieldClass          = 18
)

// Class is what a client wishes of the order in which a gateway serves what it asks for.
type Class uint8

// The classes. ClassNormal is that of frames without the field.
const (
	ClassBulk   Class = 0
	ClassNormal Class = 1
	ClassUrgent Class = 2
)

// Fields are the fields of one frame as they stand in it, without the length before them. Nil: there are none.
type Fields []byte

// takesFields reports whether frames of this kind may have fields. A kind that this version does not know may.
func (k Kind) takesFields() bool {
	switch k {
	case KindTasks, KindResults, KindOpen, KindEnd:
		return true
	}
	return k > KindAbort
}

// knowsField reports whether the table of fields names a type for a kind.
func (k Kind) knowsField(t uint16) bool {
	switch t {
	case FieldRetryAfter:
		return k == KindResults || k == KindEnd
	case FieldMetadata:
		return true
	case FieldIdempotencyKey, FieldClass:
		return k == KindTasks || k == KindOpen
	}
	return false
}

// CutFields takes the fields off the payload of a frame, which is whole and expanded. Both alias the frame's payload. The
// fields are well formed. Unknown is the first type that the kind does not know and that is critical, if there is one.
func CutFields(f Frame) (fields Fields, payload []byte, unknown uint16, err error) {
	if f.Flags&FlagFields == 0 {
		return nil, f.Payload, 0, nil
	}
	if len(f.Payload) < 2 {
		return nil, nil, 0, malformed("%d bytes of fields", len(f.Payload))
	}
	size := int(binary.LittleEndian.Uint16(f.Payload))
	if size == 0 || size > FieldsLimit || size > len(f.Payload)-2 {
		return nil, nil, 0, malformed("fields of %d bytes, %d left", size, len(f.Payload)-2)
	}
	fields, payload = f.Payload[2:2+size:2+size], f.Payload[2+size:]
	unknown, err = fields.check(f.Kind)
	return fields, payload, unknown, err
}

// check says what is wrong with the fields of a frame of this kind, or which critical one is not known.
func (x Fields) check(k Kind) (unknown uint16, err error) {
	last := -1
	for len(x) > 0 {
		e, rest, err := nextExtension(x, &last)
		if err != nil {
			return 0, err
		}
		x = rest
		switch {
		case k.knowsField(e.Type):
			if !validField(e) {
				return 0, malformed("field %d of %d bytes", e.Type, len(e.Value))
			}
		case e.Critical() && unknown == 0:
			unknown = e.Type
		}
	}
	return unknown, nil
}

func validField(e Extension) bool {
	switch e.Type {
	case FieldRetryAfter:
		return len(e.Value) == 4
	case FieldMetadata:
		return EachMetadata(e.Value, func(_, _ []byte) {}) == nil
	case FieldIdempotencyKey:
		return len(e.Value) >= 1 && len(e.Value) <= IdempotencyKeyLimit
	case FieldClass:
		return len(e.Value) == 1 && Class(e.Value[0]) <= ClassUrgent
	}
	return true
}

// Get returns the value of the field of a type, nil if there is none. It aliases the fields.
func (x Fields) Get(t uint16) []byte {
	last := -1
	for len(x) > 0 {
		e, rest, err := nextExtension(x, &last)
		if err != nil || e.Type > t {
			return nil
		}
		if e.Type == t {
			return e.Value
		}
		x = rest
	}
	return nil
}

// RetryAfter returns the time that the field of that name says; 0: it is not there. Class is ClassNormal where it is not.
func (x Fields) RetryAfter() time.Duration { return millis(x.Get(FieldRetryAfter)) }

// Class returns what the field of that name says.
func (x Fields) Class() Class {
	if v := x.Get(FieldClass); len(v) == 1 {
		return Class(v[0])
	}
	return ClassNormal
}

// AppendFields appends the length of the fields, and the fields, which stand at the front of a frame with FlagFields. They are
// given in ascending order of their types, and take at most FieldsLimit bytes.
func AppendFields(dst []byte, fields ...Extension) []byte {
	start := len(dst)
	dst = appendExtensions(append(dst, 0, 0), fields)
	binary.LittleEndian.PutUint16(dst[start:], uint16(len(dst)-start-2))
	return dst
}

// RetryAfterField makes the field or extension that says how long to wait; above what it can say it is cut.
func RetryAfterField(d time.Duration) Extension {
	ms := min(max(0, (d+time.Millisecond-1)/time.Millisecond), 1<<32-1)
	return Extension{Type: FieldRetryAfter, Value: binary.LittleEndian.AppendUint32(nil, uint32(ms))}
}

// AppendMetadata appends one pair to the value of a field of metadata: a key of 1 to 255 bytes above those before it, and a
// value of at most 65535 bytes.
func AppendMetadata(dst []byte, key, value string) []byte {
	dst = append(append(dst, byte(len(key))), key...)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(value)))
	return append(dst, value...)
}

// EachMetadata calls each with the pairs of a field of metadata in their order. They alias src.
func EachMetadata(src []byte, each func(key, value []byte)) error {
	if len(src) == 0 {
		return malformed("metadata without a pair")
	}
	var last []byte
	for len(src) > 0 {
		n := int(src[0])
		if n == 0 || len(src) < 1+n+2 {
			return malformed("key of metadata of %d bytes, %d left", n, len(src)-1)
		}
		key, rest := src[1:1+n:1+n], src[1+n:]
		size := int(binary.LittleEndian.Uint16(rest))
		if len(rest)-2 < size {
			return malformed("value of metadata of %d bytes, %d left", size, len(rest)-2)
		}
		if bytes.Compare(key, last) <= 0 {
			return malformed("keys of metadata are not in order")
		}
		each(key, rest[2:2+size:2+size])
		last, src = key, rest[2+size:]
	}
	return nil
}

// millis reads a u32 of milliseconds; anything else is 0.
func millis(src []byte) time.Duration {
	if len(src) != 4 {
		return 0
	}
	return time.Duration(binary.LittleEndian.Uint32(src)) * time.Millisecond
}
