package proto

import (
	"bytes"
	"testing"
	"time"
)

func TestFieldsMalformed(t *testing.T) {
	cut := func(kind Kind) func([]byte) error {
		return func(src []byte) error {
			_, _, _, err := CutFields(Frame{Kind: kind, Flags: FlagFields, Payload: src})
			return err
		}
	}
	made := func(fields ...Extension) []byte { return append(AppendFields(nil, fields...), "payload"...) }
	metadata := func(value ...byte) []byte { return made(Extension{FieldMetadata, value}) }
	checkMalformed(t, cut(KindTasks), map[string][]byte{
		"nothing":                    nil,
		"a byte":                     {1},
		"no fields":                  {0, 0, 1, 2, 3},
		"beyond the payload":         {5, 0, 16, 0, 0, 0},
		"above the limit":            append([]byte{1, 16}, make([]byte, 4097)...),
		"half a header":              {3, 0, 16, 0, 0, 'p'},
		"value beyond the fields":    {4, 0, 16, 0, 1, 0, 'p'},
		"twice":                      made(Extension{FieldClass, []byte{1}}, Extension{FieldClass, []byte{1}}),
		"the wrong way":              made(Extension{FieldClass, []byte{1}}, testMetadata()),
		"class 3":                    made(Extension{FieldClass, []byte{3}}),
		"class of two bytes":         made(Extension{FieldClass, []byte{1, 0}}),
		"empty idempotency key":      made(Extension{FieldIdempotencyKey, nil}),
		"long idempotency key":       made(Extension{FieldIdempotencyKey, make([]byte, 65)}),
		"empty metadata":             metadata(),
		"empty key":                  metadata(0, 0, 0),
		"key without a length":       metadata(1, 'a', 0),
		"key beyond the field":       metadata(9, 'a', 0, 0),
		"value beyond the field":     metadata(1, 'a', 1, 0),
		"keys the wrong way":         metadata(1, 'b', 0, 0, 1, 'a', 0, 0),
		"key twice":                  metadata(1, 'a', 0, 0, 1, 'a', 0, 0),
		"bytes behind the last pair": metadata(1, 'a', 0, 0, 1),
	})
	checkMalformed(t, cut(KindResults), map[string][]byte{
		"retry after of a byte": made(Extension{FieldRetryAfter, []byte{1}}),
	})
	// What the table does not name for a kind is not looked at.
	for _, fields := range [][]byte{made(Extension{FieldRetryAfter, []byte{1}}), made(Extension{0x777, nil})} {
		if err := cut(KindTasks)(fields); err != nil {
			t.Errorf("%x: %v", fields, err)
		}
	}
}

func TestFieldsUnknown(t *testing.T) {
	for _, c := range []struct {
		kind   Kind
		fields []Extension
		want   uint16
	}{
		{KindTasks, []Extension{{0x777, nil}, testMetadataAt(0x7FFF)}, 0},
		{KindTasks, []Extension{{0x8001, nil}, {0x8002, nil}}, 0x8001},
		{KindResults, []Extension{{FieldClass, []byte{77}}}, 0},
	} {
		_, _, unknown, err := CutFields(Frame{Kind: c.kind, Flags: FlagFields, Payload: AppendFields(nil, c.fields...)})
		if err != nil || unknown != c.want {
			t.Errorf("%v: unknown %#x, want %#x, error %v", c.fields, unknown, c.want, err)
		}
	}
}

func testMetadataAt(t uint16) Extension { return Extension{t, testMetadata().Value} }

func TestFieldsAbsent(t *testing.T) {
	f := Frame{Kind: KindTasks, Payload: []byte("payload")}
	fields, payload, unknown, err := CutFields(f)
	if fields != nil || !bytes.Equal(payload, f.Payload) || unknown != 0 || err != nil {
		t.Errorf("fields %x, payload %q, unknown %d, error %v", fields, payload, unknown, err)
	}
	if fields.RetryAfter() != 0 || fields.Class() != ClassNormal || fields.Get(FieldMetadata) != nil {
		t.Error("fields that are not there have values")
	}
	checkAllocs(t, "CutFields", func() { _, _, _, _ = CutFields(f) })
	f = Frame{Kind: KindTasks, Flags: FlagFields, Payload: AppendFields(nil, testMetadata(), Extension{FieldClass, []byte{0}})}
	checkAllocs(t, "CutFields with some", func() { _, _, _, _ = CutFields(f) })
	if fields, _, _, _ := CutFields(f); fields.Class() != ClassBulk {
		t.Errorf("class %d", fields.Class())
	}
}

func TestRetryAfterField(t *testing.T) {
	for d, want := range map[time.Duration]time.Duration{
		0: 0, -time.Second: 0, 1: time.Millisecond, 250 * time.Millisecond: 250 * time.Millisecond,
		1 << 62: (1<<32 - 1) * time.Millisecond,
	} {
		if got := millis(RetryAfterField(d).Value); got != want {
			t.Errorf("%v is sent as %v, want %v", d, got, want)
		}
	}
}

// checkParts parts whole frames, and checks that the parts put together are what they were.
func checkParts(t *testing.T, frames []byte, size int) {
	t.Helper()
	got, parted := AppendParts([]byte("before"), frames, size)
	got, ok := bytes.CutPrefix(got, []byte("before"))
	if !ok || len(got) != PartsSize(frames, size) || parted == bytes.Equal(got, frames) {
		t.Fatalf("%d bytes in parts of %d: %d bytes, PartsSize says %d, parted %v", len(frames), size, len(got), PartsSize(frames, size), parted)
	}
	var whole, payload []byte
	for len(got) > 0 {
		f, n, err := ParseFrame(got, size)
		if err != nil || n == 0 {
			t.Fatalf("a part of %x: %v", got, err)
		}
		payload = append(payload, f.Payload...)
		if !f.More() {
			whole = AppendFrame(whole, Frame{f.Kind, f.Flags, payload})
			payload = nil
		}
		got = got[n:]
	}
	if !bytes.Equal(whole, frames) {
		t.Fatalf("%x came back as %x", frames, whole)
	}
}

func TestParts(t *testing.T) {
	frames := append(asFrame(KindTasks, testTasks().append(nil)), asFrame(KindCancel, appendCancel(nil, []uint32{1}))...)
	frames = AppendFrame(frames, Frame{KindResults, FlagFields | FlagSkippable, AppendFields(nil, testMetadata())})
	for size := 1; size < 100; size++ {
		checkParts(t, frames, size)
		half, _ := AppendParts(nil, frames, 40)
		again, _ := AppendParts(nil, half, size)
		if direct, _ := AppendParts(nil, frames, size); size <= 20 && 40%size == 0 && !bytes.Equal(again, direct) {
			t.Errorf("parts of 40 parted at %d are not those of %d", size, size)
		}
	}
}
