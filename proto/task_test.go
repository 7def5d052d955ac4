package proto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"strings"
	"testing"
)

func testTasks() tasks {
	return tasks{Deadline: 60000, Name: "table", Tasks: []task{
		{3, []byte("137.72.95.0:foo")}, {4, nil}, {1 << 31, []byte("last")},
	}}
}

func testResults() []Result {
	return []Result{
		{ID: 3, Status: StatusOK, Body: []byte("answer")},
		{ID: 4, Status: StatusFailed, Body: AppendError(nil, Error{Code: 1024, Text: "no", Details: []byte{1, 2}})},
		{ID: 1<<32 - 1, Status: StatusBusy},
	}
}

func TestTasksRoundTrip(t *testing.T) {
	for _, want := range []tasks{
		testTasks(),
		{Name: "x", Tasks: []task{{0, nil}}},
		{Deadline: MaxClock, Name: strings.Repeat("n", 255), Tasks: []task{{1<<32 - 1, bytes.Repeat([]byte{1}, 5000)}}},
	} {
		payload := checkAppend(t, want.append)
		got, err := parseTasks(payload)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v, error %v, want %+v", got, err, want)
		}
		size := TasksHeaderSize(want.Name)
		for _, each := range want.Tasks {
			size += TaskHeaderSize + len(each.Body)
		}
		if len(payload) != size {
			t.Errorf("payload of %d bytes, the sizes say %d", len(payload), size)
		}
	}
}

func TestTasksTruncations(t *testing.T) {
	x := testTasks()
	whole := boundaries(TasksHeaderSize(x.Name), TaskHeaderSize+15, TaskHeaderSize)
	checkTruncations(t, x.append(nil), whole, errOf(parseTasks))
}

func TestTasksMalformed(t *testing.T) {
	header := AppendTasksHeader(nil, 0, "table")
	checkMalformed(t, errOf(parseTasks), map[string][]byte{
		"no task":            header,
		"empty name":         append(make([]byte, 9), AppendTask(nil, 1, nil)...),
		"name beyond":        append(make([]byte, 8), 255, 'x'),
		"one byte of a task": append(own(header), 1),
		"task beyond":        append(own(header), 1, 0, 0, 0, 2, 0, 0, 0, 'x'),
		"second task beyond": append(own(header), 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0),
	})
	if _, _, _, err := ParseTasksHeader(header); !errors.Is(err, ErrMalformed) {
		t.Errorf("the header finds no task: got %v, want ErrMalformed", err)
	}
}

func TestResultsRoundTrip(t *testing.T) {
	want := testResults()
	for s := range Status(len(statusNames)) {
		if s != StatusLost {
			want = append(want, Result{ID: uint32(s), Status: s, Body: []byte{byte(s)}})
		}
	}
	payload := checkAppend(t, func(dst []byte) []byte { return appendResults(dst, want) })
	if got, err := parseResults(payload); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, error %v, want %+v", got, err, want)
	}
}

func TestResultsTruncations(t *testing.T) {
	all := testResults()
	whole := boundaries(0, ResultHeaderSize+len(all[0].Body), ResultHeaderSize+len(all[1].Body))
	checkTruncations(t, appendResults(nil, all), whole, errOf(parseResults))
}

func TestResultsMalformed(t *testing.T) {
	checkMalformed(t, errOf(parseResults), map[string][]byte{
		"nothing":                 nil,
		"lost":                    AppendResult(nil, 1, StatusLost, nil),
		"unknown status":          AppendResult(nil, 1, 11, nil),
		"status 255":              AppendResult(nil, 1, 255, []byte("x")),
		"body beyond":             {1, 0, 0, 0, 0, 1, 0, 0, 0},
		"second result malformed": AppendResult(AppendResult(nil, 1, StatusOK, nil), 2, StatusLost, nil),
	})
}

func TestCancelRoundTrip(t *testing.T) {
	want := []uint32{0, 7, 1<<32 - 1}
	payload := checkAppend(t, func(dst []byte) []byte { return appendCancel(dst, want) })
	if got, err := parseCancel(payload); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, error %v, want %v", got, err, want)
	}
	checkTruncations(t, payload, boundaries(0, 4, 4), errOf(parseCancel))
}

// Lengths that the input cannot hold are refused before anything is made for them, on machines of any word size.
func TestEntryHostileLengths(t *testing.T) {
	for _, length := range []uint32{100, 1 << 24, 1<<31 - 1, 1 << 31, 1<<32 - 9, 1<<32 - 1} {
		task, result, chunk := make([]byte, 40), make([]byte, 40), make([]byte, 40)
		binary.LittleEndian.PutUint32(task[4:], length)
		binary.LittleEndian.PutUint32(result[5:], length)
		binary.LittleEndian.PutUint32(chunk[12:], length)
		n := allocated(func() {
			checkMalformed(t, errOf(func(src []byte) (int, error) { _, _, _, err := NextTask(src); return 0, err }), map[string][]byte{"task": task})
			checkMalformed(t, errOf(func(src []byte) (int, error) { _, _, err := NextResult(src); return 0, err }), map[string][]byte{"result": result})
			checkMalformed(t, errOf(func(src []byte) (int, error) { _, _, err := NextChunk(src); return 0, err }), map[string][]byte{"chunk": chunk})
		})
		if n > 1<<16 {
			t.Errorf("length %d: %d bytes allocated", length, n)
		}
	}
}

// What is parsed aliases the input, and has no room over what follows it.
func TestEntriesAlias(t *testing.T) {
	src := AppendTask(AppendTask(nil, 1, []byte("one")), 2, []byte("two"))
	_, body, rest, err := NextTask(src)
	if err != nil || &body[0] != &src[TaskHeaderSize] || cap(body) != len(body) {
		t.Errorf("task: body %q with room for %d, error %v", body, cap(body), err)
	}
	if &rest[0] != &src[TaskHeaderSize+3] {
		t.Error("task: the rest is a copy")
	}
	src = AppendResult(AppendResult(nil, 1, StatusOK, []byte("one")), 2, StatusOK, nil)
	if r, _, err := NextResult(src); err != nil || &r.Body[0] != &src[ResultHeaderSize] || cap(r.Body) != 3 {
		t.Errorf("result: body %q with room for %d, error %v", r.Body, cap(r.Body), err)
	}
	src = AppendChunk(AppendChunk(nil, Chunk{Body: []byte("one")}), Chunk{})
	if c, _, err := NextChunk(src); err != nil || &c.Body[0] != &src[ChunkHeaderSize] || cap(c.Body) != 3 {
		t.Errorf("chunk: body %q with room for %d, error %v", c.Body, cap(c.Body), err)
	}
}

func TestTaskAllocs(t *testing.T) {
	dst, body := make([]byte, 0, 256), []byte("137.72.95.0:foo")
	payload := AppendTask(AppendTasksHeader(nil, 1, "table"), 1, body)
	results := AppendResult(nil, 1, StatusOK, body)
	checkAllocs(t, "append tasks", func() { AppendTask(AppendTasksHeader(dst, 1, "table"), 1, body) })
	checkAllocs(t, "parse tasks", func() {
		_, _, rest, _ := ParseTasksHeader(payload)
		NextTask(rest)
	})
	checkAllocs(t, "append results", func() { AppendResult(dst, 1, StatusOK, body) })
	checkAllocs(t, "parse results", func() { NextResult(results) })
	checkAllocs(t, "append cancel", func() { AppendCancel(dst, 1) })
	checkAllocs(t, "parse cancel", func() { NextCancel(body) })
}
