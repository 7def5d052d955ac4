package netio

import (
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"

	"shoal/proto"
)

// outgoingMetadata is the metadata of calls, as WithMetadata puts it into a context.
type outgoingMetadata struct {
	pairs  map[string]string
	fields string // of a frame, with the length before them
	err    error  // why the pairs cannot cross the wire
}

// WithMetadata returns a context whose calls, maps, streams and sends carry these pairs beside those that ctx has; of the same
// key, the new value counts. The subroutine gets them with Metadata; they are not passed on to what it calls itself. A key has
// 1 to 255 bytes and does not begin with "shoal.". All pairs of a call take at most 4096 bytes, with a few for each:
// more fails with ErrTooLarge, a key that cannot be with ErrBadConfig. Calls with the same metadata share frames.
func WithMetadata(ctx context.Context, pairs map[string]string) context.Context {
	m := &outgoingMetadata{pairs: map[string]string{}}
	if old, ok := ctx.Value(outgoingMetadataKey).(*outgoingMetadata); ok {
		maps.Copy(m.pairs, old.pairs)
	}
	maps.Copy(m.pairs, pairs)
	m.encode()
	return context.WithValue(ctx, outgoingMetadataKey, m)
}

// encode makes the fields of the pairs.
func (m *outgoingMetadata) encode() {
	var value []byte
	for _, key := range slices.Sorted(maps.Keys(m.pairs)) {
		if key == "" || len(key) > 255 || strings.HasPrefix(key, builtinPrefix) {
			m.err = fmt.Errorf("%w: key %.300q of metadata", ErrBadConfig, key)
			return
		}
		if len(value)+len(key)+len(m.pairs[key]) > proto.FieldsLimit {
			m.err = fmt.Errorf("metadata: %w of %d bytes", ErrTooLarge, proto.FieldsLimit)
			return
		}
		value = proto.AppendMetadata(value, key, m.pairs[key])
	}
	if len(value) == 0 {
		return
	}
	fields := proto.AppendFields(nil, proto.Extension{Type: proto.FieldMetadata, Value: value})
	if len(fields)-2 > proto.FieldsLimit {
		m.err = fmt.Errorf("metadata: %w of %d bytes", ErrTooLarge, proto.FieldsLimit)
		return
	}
	m.fields = string(fields)
}

// withKey returns fields, as fieldsOf gives them, and an idempotency key.
func withKey(fields string, key []byte) string {
	last := proto.AppendFields(nil, proto.Extension{Type: proto.FieldIdempotencyKey, Value: key})
	if fields == "" {
		return string(last)
	}
	all := append([]byte(fields), last[2:]...) // metadata comes before it
	binary.LittleEndian.PutUint16(all, uint16(len(all)-2))
	return string(all)
}

// fieldsOf returns the fields of the frames that a context's calls are sent in.
func fieldsOf(ctx context.Context) (string, error) {
	if fields, ok := ctx.Value(outgoingFieldsKey).(string); ok {
		return fields, nil
	}
	if m, ok := ctx.Value(outgoingMetadataKey).(*outgoingMetadata); ok {
		return m.fields, m.err
	}
	return "", nil
}

// Metadata returns the pairs that the caller of the subroutine gave with WithMetadata, a map of the caller's own; nil where
// there are none, or ctx is not that of a subroutine or an interceptor at a gateway.
func Metadata(ctx context.Context) map[string]string {
	value, _ := ctx.Value(metadataKey).(string)
	if value == "" {
		return nil
	}
	pairs := map[string]string{}
	_ = proto.EachMetadata([]byte(value), func(key, value []byte) { pairs[string(key)] = string(value) }) // it was checked when it came
	return pairs
}
