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
	"time"
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

// extensionOf are the fields of an extension with a value of a size and form.
func extensionOf(name string, size int, form byte) []field {
	return []field{{2, 'u', "type: " + name}, {2, 'u', "length"}, {size, form, "value"}}
}

func helloFields(flags string) []field {
	return []field{
		{4, 't', "magic"}, {2, 'u', "lowest version"}, {2, 'u', "highest version"}, {4, 'u', "features: S2, zstd"},
		{4, 'u', "frame limit"}, {4, 'u', "stream credit"}, {16, 'x', "session id"}, {2, 'u', "lane"},
		{2, 'u', flags}, {8, 'u', "received"}, {8, 'u', "clock"},
	}
}

func welcomeFields(flags string) []field {
	return []field{
		{4, 't', "magic"}, {2, 'u', "version"}, {2, 'u', flags}, {4, 'u', "features: S2"},
		{4, 'u', "frame limit"}, {4, 'u', "stream credit"}, {4, 'u', "window"}, {4, 'u', "streams"},
		{8, 'u', "window in bytes"}, {4, 'u', "idle timeout"}, {16, 'x', "life"}, {8, 'u', "received"},
	}
}

// goldens is one frame of each kind, and of each form that it takes.
func goldens() []golden {
	hello, resume, welcome, resumed := testHello(), testResume(), testWelcome(), testResumed()
	laneCredit := slices.Concat(extensionOf("credit of the lane", 4, 'u'), extensionOf("that has no name yet", 0, 't'))
	credential := slices.Concat(extensionOf("credential", 5, 't'), laneCredit)
	open, end := testOpen(), End{Stream: 5, Status: StatusOK, Body: []byte("done")}
	credits, ids := []credit{{5, 65536}, {6, 20}}, []uint32{3, 4}
	taskFields := func(id string) []field {
		return []field{{4, 'u', id}, {4, 'u', "length"}}
	}
	return []golden{
		{"hello", "the client's first frame, of a new lane, with a credential and a credit for the lane", KindHello, AppendHello(nil, hello), slices.Concat(
			helloFields("flags"), credential,
		), hello, anyOf(ParseHello)},
		{"hello-resume", "the hello after a lost connection; the key of the lane is that of welcome.hex", KindHello, AppendHello(nil, resume), slices.Concat(
			helloFields("flags: resume"), extensionOf("begun", 8, 'u'), extensionOf("proof", 32, 'x'), credential,
		), resume, anyOf(ParseHello)},
		{"welcome", "the gateway's answer to hello.hex", KindWelcome, AppendWelcome(nil, welcome), slices.Concat(
			welcomeFields("flags"), extensionOf("key", 32, 'x'), laneCredit,
		), welcome, anyOf(ParseWelcome)},
		{"welcome-resumed", "the answer to hello-resume.hex of a gateway that drains", KindWelcome, AppendWelcome(nil, resumed), slices.Concat(
			welcomeFields("flags: resumed, draining"), laneCredit,
		), resumed, anyOf(ParseWelcome)},
		{"goodbye", "the last frame of a connection", KindGoodbye, AppendGoodbye(nil, Goodbye{Code: GoodbyeIdle, Text: "too long"}), []field{
			{2, 'u', "code: idle"}, {2, 'u', "length of the text"}, {0, 't', "text"},
		}, Goodbye{Code: GoodbyeIdle, Text: "too long"}, anyOf(ParseGoodbye)},
		{"goodbye-full", "a gateway without room", KindGoodbye, AppendGoodbye(nil, testFull()), slices.Concat([]field{
			{2, 'u', "code: full"}, {2, 'u', "length of the text"}, {7, 't', "text"},
		}, extensionOf("retry after", 0, 'u')), testFull(), anyOf(ParseGoodbye)},
		{"goodbye-draining", "a gateway that has stopped, and names its successor", KindGoodbye, AppendGoodbye(nil, testDraining()), slices.Concat([]field{
			{2, 'u', "code: draining"}, {2, 'u', "length of the text"}, {13, 't', "text"},
		}, extensionOf("successor", 0, 't')), testDraining(), anyOf(ParseGoodbye)},
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
		{"credit-lane", "for the lane as a whole", KindCredit, asFrame(KindCredit, appendCredits(nil, []credit{{WholeLane, 65552}})), []field{
			{4, 'u', "the lane"}, {4, 'u', "bytes"},
		}, []credit{{WholeLane, 65552}}, anyOf(parseCredit)},
		{"end-error", "a stream ends with an error that has neither text nor details", KindEnd,
			asFrame(KindEnd, AppendEnd(nil, End{Stream: 5, Status: StatusFailed, Body: AppendError(nil, Error{Code: CodeTooLarge})})), []field{
				{4, 'u', "stream"}, {1, 'u', "status: failed"}, {2, 'u', "code"}, {2, 'u', "length of the text"},
			}, End{5, StatusFailed, []byte{1, 0, 0, 0}}, anyOf(parseEnd)},
	}
}

// metadataFields are those of testMetadata.
var metadataFields = []field{
	{2, 'u', "type: metadata"}, {2, 'u', "length"}, {1, 'u', "length of the key"}, {5, 't', "key"}, {2, 'u', "length of the value"},
	{3, 't', "value"}, {1, 'u', "length of the key"}, {4, 't', "key"}, {2, 'u', "length of the value"},
}

func testMetadata() Extension {
	return Extension{FieldMetadata, AppendMetadata(AppendMetadata(nil, "trace", "abc"), "user", "")}
}

// fielded is a frame with fields, and what is in it beside them.
type fielded struct {
	Fields []Extension
	Rest   any
}

// parseFielded makes a parser of a frame of a kind with fields.
func parseFielded[V any](kind Kind, parse func([]byte) (V, error)) func([]byte) (any, error) {
	return func(src []byte) (any, error) {
		fields, payload, unknown, err := CutFields(Frame{Kind: kind, Flags: FlagFields, Payload: src})
		if err != nil || unknown != 0 {
			return nil, malformed("%v, unknown field %d", err, unknown)
		}
		var all []Extension
		for last := -1; len(fields) > 0; {
			var e Extension
			if e, fields, err = nextExtension(fields, &last); err != nil {
				return nil, err
			}
			all = append(all, e)
		}
		v, err := parse(payload)
		return fielded{all, v}, err
	}
}

// fieldGoldens are frames with fields, with parts, and of no kind.
func fieldGoldens() []golden {
	withFields := func(kind Kind, fields []Extension, payload []byte) []byte {
		return AppendFrame(nil, Frame{kind, FlagFields, append(AppendFields(nil, fields...), payload...)})
	}
	head := []field{{2, 'u', "length of the fields"}}
	retry := extensionOf("retry after", 4, 'u')
	one := tasks{0, "table", []task{{3, []byte("137.72.95.0:foo")}}}
	taskFields := []field{{8, 'u', "deadline"}, {1, 'u', "length of the name"}, {5, 't', "name"}, {4, 'u', "id"}, {4, 'u', "length"}, {0, 't', "bytes"}}
	asked := []Extension{testMetadata(), {FieldIdempotencyKey, []byte("once")}, {FieldClass, []byte{byte(ClassUrgent)}}}
	askedFields := slices.Concat(head, metadataFields, extensionOf("idempotency key", 4, 't'), extensionOf("class: urgent", 1, 'u'))
	later := []Extension{RetryAfterField(250 * time.Millisecond), {0x0777, []byte("later")}}
	busy := []Result{{4, StatusBusy, nil}}
	open, end := testOpen(), End{5, StatusBusy, nil}
	parts, _ := AppendParts(nil, asFrame(KindTasks, one.append(nil)), 20)
	first := HeaderSize + 20
	return []golden{
		{"tasks-fields", "a task with metadata, an idempotency key and a class", KindTasks, withFields(KindTasks, asked, one.append(nil)),
			slices.Concat(askedFields, taskFields), fielded{asked, one}, parseFielded(KindTasks, parseTasks)},
		{"results-fields", "a refusal that says when to come back, and a field of a later version", KindResults, withFields(KindResults, later, appendResults(nil, busy)),
			slices.Concat(head, retry, extensionOf("that has no name yet", 5, 't'), []field{{4, 'u', "id"}, {1, 'u', "status: busy"}, {4, 'u', "length"}}),
			fielded{later, busy}, parseFielded(KindResults, parseResults)},
		{"open-fields", "a stream with metadata", KindOpen, withFields(KindOpen, asked[:1], AppendOpen(nil, open)),
			slices.Concat(head, metadataFields, []field{{4, 'u', "stream"}, {8, 'u', "deadline"}, {1, 'u', "shape: stream"},
				{1, 'u', "length of the name"}, {6, 't', "name"}, {0, 't', "argument"}}),
			fielded{asked[:1], open}, parseFielded(KindOpen, parseOpen)},
		{"end-fields", "a refused stream that says when to come back", KindEnd, withFields(KindEnd, later[:1], AppendEnd(nil, end)),
			slices.Concat(head, retry, []field{{4, 'u', "stream"}, {1, 'u', "status: busy"}}),
			fielded{later[:1], end}, parseFielded(KindEnd, parseEnd)},
		{"tasks-part", "the first part of a frame that tasks-rest.hex ends", KindTasks, parts[:first], []field{
			{8, 'u', "deadline"}, {1, 'u', "length of the name"}, {5, 't', "name"}, {4, 'u', "id"}, {2, 'x', "half of a length"},
		}, string(parts[HeaderSize:first]), plain},
		{"tasks-rest", "the other part of a frame that tasks-part.hex begins", KindTasks, parts[first:], []field{
			{2, 'x', "the other half of the length"}, {0, 't', "bytes"},
		}, string(parts[first+HeaderSize:]), plain},
		{"skippable", "a sequenced frame of a kind that has no name yet: it is skipped", 0x40, AppendFrame(nil, Frame{0x40, FlagSkippable, []byte("later")}), []field{
			{0, 't', "bytes"},
		}, "later", plain},
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
	exact := append(goldens(), fieldGoldens()...)
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
