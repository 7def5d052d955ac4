package proto

import (
	"bytes"
	"errors"
	"runtime"
	"slices"
	"testing"
)

// The payloads that are lists, as values to compare.
type (
	task struct {
		ID   uint32
		Body []byte
	}
	tasks struct {
		Deadline uint64
		Name     string
		Tasks    []task
	}
	credit struct{ Stream, Bytes uint32 }
	abort  struct {
		Stream uint32
		Status Status
	}
)

// entries reads a payload of one or more entries.
func entries[E any](src []byte, next func([]byte) (E, []byte, error)) ([]E, error) {
	var all []E
	for {
		e, rest, err := next(src)
		if err != nil {
			return all, err
		}
		all = append(all, e)
		if len(rest) == 0 {
			return all, nil
		}
		src = rest
	}
}

// own copies b; nothing is nil.
func own(b []byte) []byte { return append([]byte(nil), b...) }

func nextTask(src []byte) (task, []byte, error) {
	id, body, rest, err := NextTask(src)
	return task{id, own(body)}, rest, err
}

func nextResult(src []byte) (Result, []byte, error) {
	r, rest, err := NextResult(src)
	r.Body = own(r.Body)
	return r, rest, err
}

func nextChunk(src []byte) (Chunk, []byte, error) {
	c, rest, err := NextChunk(src)
	c.Body = own(c.Body)
	return c, rest, err
}

func nextCredit(src []byte) (credit, []byte, error) {
	stream, size, rest, err := NextCredit(src)
	return credit{stream, size}, rest, err
}

func parseTasks(src []byte) (tasks, error) {
	deadline, name, rest, err := ParseTasksHeader(src)
	if err != nil {
		return tasks{}, err
	}
	all, err := entries(rest, nextTask)
	return tasks{deadline, string(name), all}, err
}

func parseResults(src []byte) ([]Result, error) { return entries(src, nextResult) }
func parseCancel(src []byte) ([]uint32, error)  { return entries(src, NextCancel) }
func parseChunks(src []byte) ([]Chunk, error)   { return entries(src, nextChunk) }
func parseCredit(src []byte) ([]credit, error)  { return entries(src, nextCredit) }

func parseOpen(src []byte) (Open, error) {
	o, err := ParseOpen(src)
	o.Name, o.Argument = own(o.Name), own(o.Argument)
	return o, err
}

func parseEnd(src []byte) (End, error) {
	e, err := ParseEnd(src)
	e.Body = own(e.Body)
	return e, err
}

func parseAbort(src []byte) (abort, error) {
	stream, status, err := ParseAbort(src)
	return abort{stream, status}, err
}

func (x tasks) append(dst []byte) []byte {
	dst = AppendTasksHeader(dst, x.Deadline, x.Name)
	for _, each := range x.Tasks {
		dst = AppendTask(dst, each.ID, each.Body)
	}
	return dst
}

func appendResults(dst []byte, all []Result) []byte {
	for _, r := range all {
		dst = AppendResult(dst, r.ID, r.Status, r.Body)
	}
	return dst
}

func appendCancel(dst []byte, ids []uint32) []byte {
	for _, id := range ids {
		dst = AppendCancel(dst, id)
	}
	return dst
}

func appendChunks(dst []byte, all []Chunk) []byte {
	for _, c := range all {
		dst = AppendChunk(dst, c)
	}
	return dst
}

func appendCredits(dst []byte, all []credit) []byte {
	for _, c := range all {
		dst = AppendCredit(dst, c.Stream, c.Bytes)
	}
	return dst
}

// asFrame puts a payload into a frame.
func asFrame(kind Kind, payload []byte) []byte {
	return AppendFrame(nil, Frame{Kind: kind, Payload: payload})
}

// payloadOf strips the header of a whole frame, and checks it.
func payloadOf(t *testing.T, frame []byte, kind Kind) []byte {
	t.Helper()
	f, n, err := ParseFrame(frame, 1<<30)
	if err != nil || n != len(frame) || f.Kind != kind || f.Flags != 0 {
		t.Fatalf("frame of %d bytes: kind %#02x, flags %#02x, size %d, error %v", len(frame), f.Kind, f.Flags, n, err)
	}
	return f.Payload
}

// checkAppend returns what appendTo appends to nothing, and checks that it appends the same after bytes that stand
// there already, with and without room behind them.
func checkAppend(t *testing.T, appendTo func(dst []byte) []byte) []byte {
	t.Helper()
	want, prefix := appendTo(nil), []byte("before")
	room := bytes.Repeat([]byte{0xA5}, len(prefix)+2*len(want)+256)
	for _, dst := range [][]byte{slices.Clip(slices.Clone(prefix)), append(room[:0], prefix...)} {
		got := appendTo(dst)
		if !bytes.HasPrefix(got, prefix) {
			t.Errorf("append to %q gave %q: the prefix is lost", prefix, got)
		} else if !bytes.Equal(got[len(prefix):], want) {
			t.Errorf("append after a prefix: %x, to nothing: %x", got[len(prefix):], want)
		}
	}
	return want
}

// checkTruncations parses every proper prefix of a payload: those for which whole reports true must be accepted, all
// others malformed.
func checkTruncations(t *testing.T, payload []byte, whole func(n int) bool, parse func([]byte) error) {
	t.Helper()
	for n := range payload {
		switch err := parse(slices.Clip(payload[:n])); {
		case whole(n) && err != nil:
			t.Errorf("first %d of %d bytes: %v", n, len(payload), err)
		case !whole(n) && !errors.Is(err, ErrMalformed):
			t.Errorf("first %d of %d bytes: got %v, want ErrMalformed", n, len(payload), err)
		}
	}
}

// never is the whole of checkTruncations for payloads of which every byte counts.
func never(int) bool { return false }

// boundaries is the whole of checkTruncations for entries of the given sizes, the first of them after the offset.
func boundaries(offset int, sizes ...int) func(int) bool {
	var ends []int
	for _, size := range sizes {
		offset += size
		ends = append(ends, offset)
	}
	return func(n int) bool { return slices.Contains(ends, n) }
}

// checkMalformed runs parse on payloads that it must refuse.
func checkMalformed(t *testing.T, parse func([]byte) error, bad map[string][]byte) {
	t.Helper()
	for name, payload := range bad {
		err := parse(slices.Clip(payload))
		if !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: got %v, want ErrMalformed", name, err)
		}
		if errors.Is(err, ErrTooLarge) {
			t.Errorf("%s: %v is also ErrTooLarge", name, err)
		}
	}
}

// errOf makes a parser of which only the error matters.
func errOf[V any](parse func([]byte) (V, error)) func([]byte) error {
	return func(src []byte) error {
		_, err := parse(src)
		return err
	}
}

// allocated returns how many bytes f allocates, together with whatever else runs.
func allocated(f func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	f()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// checkAllocs fails when f allocates at all.
func checkAllocs(t *testing.T, name string, f func()) {
	t.Helper()
	if n := testing.AllocsPerRun(50, f); n != 0 {
		t.Errorf("%s: %v allocations, want none", name, n)
	}
}
