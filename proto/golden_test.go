package proto

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden frames anew")

const goldenDir = "../testdata/frames"

// field is one field of a golden frame, for its comment. A size of 0 runs to the end.
type field struct {
	size int
	form byte // 'u' number, 'i' signed number, 't' text, 'x' bytes
	name string
}

// golden is one frame in testdata/frames: its bytes as Append gives them, and what Parse must make of them.
type golden struct {
	name   string
	about  string
	kind   Kind
	frame  []byte
	fields []field // of the payload
	want   any
	parse  func(payload []byte) (any, error)
}

// anyOf makes a parser of any value.
func anyOf[V any](parse func([]byte) (V, error)) func([]byte) (any, error) {
	return func(src []byte) (any, error) { return parse(src) }
}

var plain = anyOf(func(src []byte) (string, error) { return string(src), nil })

// goldens is one frame of each kind.
func goldens() []golden {
	hello, welcome := testHello(), testWelcome()
	goodbye := Goodbye{Code: GoodbyeFull, Text: "no room"}
	open, end := testOpen(), End{Stream: 5, Status: StatusOK, Body: []byte("done")}
	credits, ids := []credit{{5, 65536}, {6, 20}}, []uint32{3, 4}
	taskFields := func(id string) []field {
		return []field{{4, 'u', id}, {4, 'u', "length"}}
	}
	return []golden{
		{"hello", "the client's first frame", KindHello, AppendHello(nil, hello), []field{
			{4, 't', "magic"}, {2, 'u', "lowest version"}, {2, 'u', "highest version"}, {4, 'u', "features: S2, zstd"},
			{4, 'u', "frame limit"}, {4, 'u', "stream credit"}, {16, 'x', "session id"}, {2, 'u', "lane"},
			{2, 'u', "flags: resume"}, {8, 'u', "received"}, {8, 'u', "clock"},
			{2, 'u', "extension type"}, {2, 'u', "extension length"}, {0, 't', "extension value"},
		}, hello, anyOf(ParseHello)},
		{"welcome", "the gateway's answer to hello", KindWelcome, AppendWelcome(nil, welcome), []field{
			{4, 't', "magic"}, {2, 'u', "version"}, {2, 'u', "flags: resumed, draining"}, {4, 'u', "features: S2"},
			{4, 'u', "frame limit"}, {4, 'u', "stream credit"}, {4, 'u', "window"}, {4, 'u', "streams"},
			{8, 'u', "window in bytes"}, {4, 'u', "idle timeout"}, {16, 'x', "life"}, {8, 'u', "received"},
			{2, 'u', "extension type"}, {2, 'u', "extension length"}, {0, 't', "extension value"},
		}, welcome, anyOf(ParseWelcome)},
		{"goodbye", "the last frame of a connection", KindGoodbye, AppendGoodbye(nil, goodbye), []field{
			{2, 'u', "code: full"}, {0, 't', "text"},
		}, goodbye, anyOf(ParseGoodbye)},
		{"ack", "so much of the lane has arrived", KindAck, AppendAck(nil, 123456), []field{
			{8, 'u', "received"},
		}, uint64(123456), anyOf(ParseAck)},
		{"ping", "to be answered", KindPing, asFrame(KindPing, []byte("12:34:56")), []field{
			{0, 't', "any bytes"},
		}, "12:34:56", plain},
		{"pong", "the answer to ping.hex", KindPong, asFrame(KindPong, []byte("12:34:56")), []field{
			{0, 't', "the bytes of the ping"},
		}, "12:34:56", plain},
		{"drain", "the gateway is about to stop", KindDrain, AppendDrain(nil, 30000), []field{
			{4, 'u', "milliseconds"},
		}, uint32(30000), anyOf(ParseDrain)},
		{"tasks", "three tasks, the second without bytes", KindTasks, asFrame(KindTasks, testTasks().append(nil)),
			slices.Concat([]field{{8, 'u', "deadline"}, {1, 'u', "length of the name"}, {5, 't', "name"}},
				taskFields("id"), []field{{15, 't', "bytes"}}, taskFields("id"), taskFields("id"), []field{{0, 't', "bytes"}}),
			testTasks(), anyOf(parseTasks)},
		{"results", "three results; the bytes of the second are an error", KindResults,
			asFrame(KindResults, appendResults(nil, testResults())), []field{
				{4, 'u', "id"}, {1, 'u', "status: ok"}, {4, 'u', "length"}, {6, 't', "bytes"},
				{4, 'u', "id"}, {1, 'u', "status: failed"}, {4, 'u', "length"},
				{2, 'u', "code"}, {2, 'u', "length of the text"}, {2, 't', "text"}, {2, 'x', "details"},
				{4, 'u', "id"}, {1, 'u', "status: busy"}, {4, 'u', "length"},
			}, testResults(), anyOf(parseResults)},
		{"cancel", "two tasks", KindCancel, asFrame(KindCancel, appendCancel(nil, ids)), []field{
			{4, 'u', "id"}, {4, 'u', "id"},
		}, ids, anyOf(parseCancel)},
		{"open", "a stream of the subroutine sensor", KindOpen, asFrame(KindOpen, AppendOpen(nil, open)), []field{
			{4, 'u', "stream"}, {8, 'u', "deadline"}, {1, 'u', "shape: stream"}, {1, 'u', "length of the name"},
			{6, 't', "name"}, {0, 't', "argument"},
		}, open, anyOf(parseOpen)},
		{"chunks", "three chunks of two streams, the second without bytes", KindChunks,
			asFrame(KindChunks, appendChunks(nil, testChunks())), []field{
				{4, 'u', "stream"}, {8, 'i', "ident"}, {4, 'u', "length"}, {4, 't', "bytes"},
				{4, 'u', "stream"}, {8, 'i', "ident"}, {4, 'u', "length"},
				{4, 'u', "stream"}, {8, 'i', "ident"}, {4, 'u', "length"}, {0, 't', "bytes"},
			}, testChunks(), anyOf(parseChunks)},
		{"credit", "for two streams", KindCredit, asFrame(KindCredit, appendCredits(nil, credits)), []field{
			{4, 'u', "stream"}, {4, 'u', "bytes"}, {4, 'u', "stream"}, {4, 'u', "bytes"},
		}, credits, anyOf(parseCredit)},
		{"end", "a stream ends well", KindEnd, asFrame(KindEnd, AppendEnd(nil, end)), []field{
			{4, 'u', "stream"}, {1, 'u', "status: ok"}, {0, 't', "bytes"},
		}, end, anyOf(parseEnd)},
		{"abort", "the client has seen enough", KindAbort, asFrame(KindAbort, AppendAbort(nil, 5, StatusCanceled)), []field{
			{4, 'u', "stream"}, {1, 'u', "status: canceled"},
		}, abort{5, StatusCanceled}, anyOf(parseAbort)},
	}
}

// compressedGoldens are frames that a receiver must be able to expand. Another encoder may give other bytes, so only
// the way back is tested.
func compressedGoldens(t *testing.T) []golden {
	var all []golden
	want := tasks{Name: "table"}
	for id := range uint32(8) {
		want.Tasks = append(want.Tasks, task{id, fmt.Appendf(nil, "137.72.95.%d:foo", id)})
	}
	payload := want.append(nil)
	for _, c := range compressions {
		frame, ok := AppendCompressed(nil, asFrame(KindTasks, payload), c)
		if !ok {
			t.Fatalf("%v: the golden tasks do not shrink", c)
		}
		all = append(all, golden{"tasks-" + c.String(), "eight tasks of the subroutine table, 137.72.95.0:foo to 137.72.95.7:foo, compressed",
			KindTasks, frame, []field{{4, 'u', "size once expanded"}, {0, 'x', "compressed bytes"}}, want, anyOf(parseTasks)})
	}
	return all
}

// text returns the golden file: a line of hex for each field, with a comment.
func (g golden) text() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s: %s\n", g.name, g.about)
	fields := slices.Concat([]field{
		{4, 'u', "length of the payload"}, {1, 'u', "kind: " + strings.Split(g.name, "-")[0]}, {1, 'u', "flags"}, {2, 'u', "reserved"},
	}, g.fields)
	rest := g.frame
	for i, f := range fields {
		size := f.size
		if size == 0 {
			size = len(rest)
		}
		comment := f.name + f.value(rest[:size])
		for row := range slices.Chunk(rest[:size], 16) {
			fmt.Fprintf(&b, "%-47s  # %s\n", strings.TrimSpace(fmt.Sprintf("% x", row)), comment)
			comment = "  more of it"
		}
		if rest = rest[size:]; i == 3 {
			b.WriteString("\n")
		}
	}
	if len(rest) > 0 {
		panic(fmt.Sprintf("%s: %d bytes without a field", g.name, len(rest)))
	}
	return b.String()
}

// value returns the value of a field as a person reads it.
func (f field) value(src []byte) string {
	number := binary.LittleEndian.Uint64(append(own(src), make([]byte, 8)...))
	switch f.form {
	case 'u':
		return fmt.Sprintf(" = %d", number)
	case 'i':
		return fmt.Sprintf(" = %d", int64(number))
	case 't':
		return fmt.Sprintf(" = %q", src)
	}
	return ""
}

// readGolden returns the bytes of a golden file.
func readGolden(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var digits strings.Builder
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	frame, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return frame
}

func TestGolden(t *testing.T) {
	exact := goldens()
	all := slices.Concat(exact, compressedGoldens(t))
	if *update {
		for _, g := range all {
			if err := os.WriteFile(filepath.Join(goldenDir, g.name+".hex"), []byte(g.text()), 0o666); err != nil {
				t.Fatal(err)
			}
		}
	}
	var names []string
	for i, g := range all {
		path := filepath.Join(goldenDir, g.name+".hex")
		names = append(names, path)
		frame := readGolden(t, path)
		if i < len(exact) && !bytes.Equal(g.frame, frame) {
			t.Errorf("%s: append gives\n%x, want\n%x", g.name, g.frame, frame)
		}
		f, n, err := ParseFrame(frame, testLimit)
		if err != nil || n != len(frame) || f.Kind != g.kind {
			t.Fatalf("%s: kind %#02x, size %d of %d, error %v", g.name, f.Kind, n, len(frame), err)
		}
		payload := f.Payload
		if f.Compression() != CompressNone {
			if payload, err = expand(t, f, testLimit); err != nil {
				t.Fatalf("%s: %v", g.name, err)
			}
		}
		if got, err := g.parse(payload); err != nil || !reflect.DeepEqual(got, g.want) {
			t.Errorf("%s: parse gives\n%+v, error %v, want\n%+v", g.name, got, err, g.want)
		}
	}
	files, err := filepath.Glob(filepath.Join(goldenDir, "*.hex"))
	if err != nil {
		t.Fatal(err)
	}
	if slices.Sort(names); !slices.Equal(files, names) {
		t.Errorf("files %v, want %v", files, names)
	}
}

// There is a golden frame of each kind.
func TestGoldenEveryKind(t *testing.T) {
	kinds := map[string]bool{}
	for _, g := range goldens() {
		kinds["Kind"+strings.ToUpper(g.name[:1])+g.name[1:]] = true
	}
	for _, c := range frozen {
		if strings.HasPrefix(c.name, "Kind") && !kinds[c.name] {
			t.Errorf("no golden frame of %s", c.name)
		}
	}
}
