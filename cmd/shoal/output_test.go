package main

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
	"unicode/utf8"
)

var sampleRecords = []record{
	{Task: "137.72.95.0:foo", ID: 1, Status: "ok", Response: []byte("1"), Elapsed: 1000123456 * time.Nanosecond, Host: "137.72.95.0",
		Command: "foo", Attempt: 2, Start: time.Unix(1e9, 1e6), End: time.Unix(1e9+1, 2e6)},
	{Task: `h:a\:b`, ID: 2, Status: "ok", Response: []byte("two\nlines\r\n\tand a \\, a \"quote\", é 世")},
	{Task: "h:\tx\xff", ID: 3, Status: "ok", Response: []byte("\x00\x1b[2J\x7f\xff\xe2\x82 \u0085 \u2028 \ufffd"), Elapsed: 999},
	{Task: "h:c", ID: 4, Status: "failed", Error: "no\nroute \\ \xfe", Elapsed: 1500 * time.Microsecond},
	{Task: "h:d", ID: 5, Status: "lost", Elapsed: -1},
	{Task: "h:e", ID: 6, Status: "ok"},
}

func TestResultWriterGolden(t *testing.T) {
	for format, want := range map[string]string{
		"text": "137.72.95.0:foo\tok\t1\n" +
			`h:a\:b` + "\tok\t" + `two\nlines\r\n\tand a \\, a "quote", é 世` + "\n" +
			`h:\tx\xff` + "\tok\t" + `\x00\x1b[2J\x7f\xff\xe2\x82 \xc2\x85 \xe2\x80\xa8 ` + "\ufffd\n" +
			"h:c\tfailed\t" + `no\nroute \\ \xfe` + "\n" +
			"h:d\tlost\t\n" +
			"h:e\tok\t\n",
		"jsonl": `{"task":"137.72.95.0:foo","id":1,"status":"ok","response":"1","error":"","elapsed_ms":1000.123,"host":"137.72.95.0","command":"foo","attempt":2,"start":"2001-09-09T01:46:40.001Z","end":"2001-09-09T01:46:41.002Z"}
{"task":"h:a\\:b","id":2,"status":"ok","response":"two\nlines\r\n\tand a \\, a \"quote\", é 世","error":"","elapsed_ms":0.000,"host":"","command":"","attempt":0,"start":"","end":""}
{"task_base64":"aDoJeP8=","id":3,"status":"ok","response_base64":"ABtbMkp//+KCIMKFIOKAqCDvv70=","error":"","elapsed_ms":0.001,"host":"","command":"","attempt":0,"start":"","end":""}
{"task":"h:c","id":4,"status":"failed","response":"","error":"no\nroute \\ ` + "\ufffd" + `","elapsed_ms":1.500,"host":"","command":"","attempt":0,"start":"","end":""}
{"task":"h:d","id":5,"status":"lost","response":"","error":"","elapsed_ms":0.000,"host":"","command":"","attempt":0,"start":"","end":""}
{"task":"h:e","id":6,"status":"ok","response":"","error":"","elapsed_ms":0.000,"host":"","command":"","attempt":0,"start":"","end":""}
`,
		"csv": csvHeader +
			"137.72.95.0:foo,1,ok,1,,1000.123,137.72.95.0,foo,2,2001-09-09T01:46:40.001Z,2001-09-09T01:46:41.002Z\r\n" +
			"h:a\\:b,2,ok,\"two\nlines\r\n\tand a \\, a \"\"quote\"\", é 世\",,0.000,,,0,,\r\n" +
			"h:\tx\\xff,3,ok,\x00\x1b[2J\x7f\\xff\\xe2\\x82 \u0085 \u2028 \ufffd,,0.001,,,0,,\r\n" +
			"h:c,4,failed,,\"no\nroute \\ \\xfe\",1.500,,,0,,\r\n" +
			"h:d,5,lost,,,0.000,,,0,,\r\n" +
			"h:e,6,ok,,,0.000,,,0,,\r\n",
	} {
		t.Run(format, func(t *testing.T) {
			var out bytes.Buffer
			w := newResultWriter(&out, format)
			for i := range sampleRecords {
				if err := w.Write(&sampleRecords[i]); err != nil {
					t.Fatal(err)
				}
			}
			if out.Len() != 0 {
				t.Error("written before it was flushed")
			}
			if err := w.Flush(); err != nil {
				t.Fatal(err)
			}
			if out.String() != want {
				t.Errorf("got\n%q\nwant\n%q", out.String(), want)
			}
		})
	}
}

// A CSV file of no results still says what its columns are; the other formats have nothing to say.
func TestResultWriterWithoutResults(t *testing.T) {
	for format, want := range map[string]string{"text": "", "jsonl": "", "csv": csvHeader} {
		var out bytes.Buffer
		if err := newResultWriter(&out, format).Flush(); err != nil || out.String() != want {
			t.Errorf("%s: %q, %v", format, out.String(), err)
		}
	}
}

func TestResultWriterUnknownFormat(t *testing.T) {
	w := newResultWriter(io.Discard, "xml")
	if w.Write(&record{}) == nil || w.Flush() == nil {
		t.Error("xml was accepted")
	}
}

// wholeRecords fails on a write that does not end at the end of a record.
type wholeRecords struct {
	t      *testing.T
	writes int
}

func (w *wholeRecords) Write(p []byte) (int, error) {
	w.writes++
	if p[len(p)-1] != '\n' {
		w.t.Errorf("a write ends in %q", p[len(p)-1])
	}
	return len(p), nil
}

func TestResultWriterWritesRecordsWhole(t *testing.T) {
	out := &wholeRecords{t: t}
	w := newResultWriter(out, "text")
	large := bytes.Repeat([]byte("x"), 3*keptBuffer)
	for n := range 10_000 {
		r := record{Task: "h:c", Status: "ok", Response: large[:n%100]}
		if n == 5000 {
			r.Response = large
		}
		if err := w.Write(&r); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil || w.Flush() != nil {
		t.Fatal(err)
	}
	if out.writes < 5 || out.writes > 30 || cap(w.buf) > keptBuffer {
		t.Errorf("%d writes, buffer of %d", out.writes, cap(w.buf))
	}
}

func TestResultWriterKeepsTheError(t *testing.T) {
	// A notified SIGPIPE does not end the process, as it otherwise would for standard output.
	pipeSignals := make(chan os.Signal, 1)
	signal.Notify(pipeSignals, syscall.SIGPIPE)
	defer signal.Stop(pipeSignals)
	r, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer out.Close()
	w := newResultWriter(out, "text")
	if err := w.Write(&record{Task: "h:c"}); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{w.Flush(), w.Flush(), w.Write(&record{Task: "h:c"})} {
		if !errors.Is(err, syscall.EPIPE) {
			t.Errorf("got %v", err)
		}
	}
}

func randomText(rng *rand.Rand) string {
	pieces := []string{"a", "é", "世", "\n", "\r", "\r\n", "\t", `\`, `"`, ",", "\x00", "\xff", "\xe2\x82", "\u0085", "\u2028", "x41", "n"}
	var b strings.Builder
	for range rng.IntN(8) {
		b.WriteString(pieces[rng.IntN(len(pieces))])
	}
	return b.String()
}

// Standard readers must find in each format what was written.
func TestResultWriterReadsBack(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		r := record{Task: randomText(rng), ID: rng.Int(), Status: "ok", Response: []byte(randomText(rng)), Error: randomText(rng),
			Elapsed: time.Duration(rng.Int64N(1e12))}
		checkText(t, &r)
		checkJSON(t, &r)
		checkCSV(t, &r)
	}
}

func checkText(t *testing.T, r *record) {
	line := string(appendText(nil, r))
	fields := strings.Split(line, "\t")
	if len(fields) != 3 || strings.ContainsAny(line[:len(line)-1], "\n\r\u0085\u2028\x00") || !utf8.ValidString(line) {
		t.Fatalf("not a line of three fields: %q", line)
	}
	quoted := strings.ReplaceAll(strings.TrimSuffix(fields[2], "\n"), `"`, `\"`)
	if got, err := strconv.Unquote(`"` + quoted + `"`); err != nil || got != string(r.Response) {
		t.Fatalf("%q reads as %q, %v", fields[2], got, err)
	}
}

func checkJSON(t *testing.T, r *record) {
	line := appendJSON(nil, r)
	var got struct {
		Task, Status, Response, Error string
		ID                            int
		TaskBase64                    *string     `json:"task_base64"`
		ResponseBase64                *string     `json:"response_base64"`
		Elapsed                       json.Number `json:"elapsed_ms"`
	}
	if err := json.Unmarshal(line, &got); err != nil || bytes.Count(line, []byte("\n")) != 1 {
		t.Fatalf("%q: %v", line, err)
	}
	for text, encoded := range map[*string]*string{&got.Task: got.TaskBase64, &got.Response: got.ResponseBase64} {
		if encoded != nil {
			b, err := base64.StdEncoding.DecodeString(*encoded)
			if err != nil || *text != "" || utf8.Valid(b) {
				t.Fatalf("%q: %v", line, err)
			}
			*text = string(b)
		}
	}
	if got.Task != r.Task || got.Response != string(r.Response) || got.ID != r.ID || !utf8.ValidString(got.Error) ||
		got.Elapsed.String() != fmt.Sprintf("%.3f", r.Elapsed.Round(time.Microsecond).Seconds()*1000) {
		t.Fatalf("%q reads as %+v", line, got)
	}
}

func checkCSV(t *testing.T, r *record) {
	line := appendCSV(nil, r, false)
	if !utf8.Valid(line) {
		t.Fatalf("not UTF-8: %q", line)
	}
	fields, err := csv.NewReader(bytes.NewReader(line)).Read()
	// encoding/csv reads CRLF in quotes as LF; the bytes written are right.
	lf := func(s string) string {
		s = strings.ReplaceAll(s, "\r\n", "\n")
		return strings.NewReplacer("\xff", `\xff`, "\xe2\x82", `\xe2\x82`).Replace(s)
	}
	if err != nil || fields[0] != lf(r.Task) || fields[3] != lf(string(r.Response)) || fields[4] != lf(r.Error) {
		t.Fatalf("%q reads as %q, %v", line, fields, err)
	}
}

// What a spreadsheet takes for a formula is text where that was asked for.
func TestCSVSafe(t *testing.T) {
	var out bytes.Buffer
	w := newResultWriter(&out, "csv-safe")
	for _, response := range []string{"=1+1", "+1", "-1", "@x", "\tx", "x=1", "", "=\"a\",b"} {
		if err := w.Write(&record{Task: "h:c", Status: "ok", Response: []byte(response)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	rows, err := csv.NewReader(&out).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, row := range rows[1:] {
		got = append(got, row[3])
	}
	if want := []string{"'=1+1", "'+1", "'-1", "'@x", "'\tx", "x=1", "", "'=\"a\",b"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
}

// Records reach a pipe in writes of a size that the system keeps whole.
func TestResultWriterSmallWrites(t *testing.T) {
	var sizes []int
	w := newResultWriter(writerFunc(func(b []byte) (int, error) {
		sizes = append(sizes, len(b))
		if b[len(b)-1] != '\n' {
			t.Errorf("a write ends in %q", b[len(b)-1])
		}
		return len(b), nil
	}), "text")
	w.most = 4096
	for n := range 3000 {
		if err := w.Write(&record{Task: "h:c", Status: "ok", Response: bytes.Repeat([]byte("x"), n%300)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil || slices.Max(sizes) > w.most || len(sizes) > 200 {
		t.Errorf("writes of %v bytes, %v", sizes, err)
	}
}

func TestSummary(t *testing.T) {
	for _, c := range []struct {
		name, results string // status or status=response, with how often
		elapsed       time.Duration
		want          string
		exit          int
	}{
		{"the main job", "512 ok=1", 1004 * time.Millisecond, "512 tasks: 512 ok; 1.004 s, 510 tasks/s; sum 512", 0},
		{"one", "1 ok=x", time.Second, "1 task: 1 ok; 1.000 s, 1.0 tasks/s", 0},
		{"nothing", "", 0, "0 tasks: 0 ok; 0.000 s", 0},
		{"failed", "2 ok=1.5|1 failed", time.Second, "3 tasks: 2 ok, 1 failed; 1.000 s, 3.0 tasks/s; sum 3", 3},
		{"refused", "1 busy|2 draining|3 unknown_task|4 unknown_subroutine", 2 * time.Second,
			"10 tasks: 0 ok, 1 busy, 2 draining, 4 unknown_subroutine, 3 unknown_task; 2.000 s, 5.0 tasks/s", 3},
		{"canceled", "1 canceled|1 ok=", time.Second, "2 tasks: 1 ok, 1 canceled; 1.000 s, 2.0 tasks/s", 3},
		{"lost wins", "1 failed|1 lost|1 ok=7", time.Second, "3 tasks: 1 ok, 1 failed, 1 lost; 1.000 s, 3.0 tasks/s; sum 7", 4},
		{"timeout wins", "1 panicked|1 timeout", time.Second, "2 tasks: 0 ok, 1 panicked, 1 timeout; 1.000 s, 2.0 tasks/s", 4},
		{"of a later release", "1 status_77|1 not_allowed", time.Second, "2 tasks: 0 ok, 1 not_allowed, 1 other; 1.000 s, 2.0 tasks/s", 3},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := summary{elapsed: c.elapsed}
			for group := range strings.SplitSeq(c.results, "|") {
				count, status, _ := strings.Cut(group, " ")
				status, response, _ := strings.Cut(status, "=")
				n, _ := strconv.Atoi(count)
				for range n {
					s.add(&record{Status: status, Response: []byte(response)})
				}
			}
			var out strings.Builder
			if err := s.write(&out); err != nil || out.String() != c.want+"\n" {
				t.Errorf("got  %swant %s", out.String(), c.want)
			}
			if got := s.exitCode(); got != c.exit {
				t.Errorf("exit status %d, want %d", got, c.exit)
			}
		})
	}
	if got := (&summary{total: 1, counts: [len(statusOrder)]int{1}, noSum: true, skipped: 2}).String(); got !=
		"1 task: 1 ok; 0.000 s; 2 malformed lines skipped" {
		t.Error(got)
	}
}

func TestDecimalSum(t *testing.T) {
	for _, c := range []struct{ numbers, want string }{
		{"1 2 3", "6"},
		{"-1 +1", "0"},
		{"007 -0", "7"},
		{"0.1 0.2", "0.3"},
		{"0.5 .5 1.", "2"},
		{"1.5 -2.75", "-1.25"},
		{"1.10", "1.1"},
		{"9223372036854775807 1", "9223372036854775808"},
		{"999999999999999999 " + strings.Repeat("999999999999999999 ", 20), "20999999999999999979"},
		{strings.Repeat("-999999999999999999 ", 21), "-20999999999999999979"},
		{"0." + strings.Repeat("9", 18) + " 0.000000000000000001", "1"},
		{strings.Repeat("9", 40) + " 1", "1" + strings.Repeat("0", 40)},
		{"1e3 2.5E-1 1e+1", "1010.25"},
		{"1e-300", "1e-300"},
		{"1e400 -1e400 4", "4"},
	} {
		var s decimalSum
		for _, n := range strings.Fields(c.numbers) {
			if !s.add([]byte(" " + n + "\n")) {
				t.Errorf("%s is no number", n)
			}
		}
		if got := s.String(); got != c.want {
			t.Errorf("%s: got %s, want %s", c.numbers, got, c.want)
		}
	}
	for _, text := range []string{"", " ", "x", "-", ".", "+.", "1x", "1 2", "1,5", "1/2", "0x10", "1_000", "NaN", "inf", "--1", "1.2.3",
		"1e", "1e1.5", "e5", "1e401", "1e-401", "1e999999999999", "1p3", "1e5x", strings.Repeat("9", 1001)} {
		if new(decimalSum).add([]byte(text)) {
			t.Errorf("%q is a number", text)
		}
	}
}

func FuzzDecimalSum(f *testing.F) {
	f.Add([]byte("-12.50"))
	f.Add([]byte("1e-3"))
	f.Fuzz(func(t *testing.T, text []byte) {
		var s decimalSum
		if !s.add(text) {
			return
		}
		want, err := strconv.ParseFloat(string(bytes.TrimSpace(text)), 64)
		got, gotErr := strconv.ParseFloat(s.String(), 64)
		if err == nil && (gotErr != nil || got != want) {
			t.Errorf("%q sums to %s", text, s.String())
		}
	})
}

func TestOutputAllocations(t *testing.T) {
	r := sampleRecords[2]
	for _, format := range []string{"text", "jsonl", "csv"} {
		w := newResultWriter(io.Discard, format)
		w.buf = make([]byte, 0, 2*outputBuffer)
		if n := testing.AllocsPerRun(1000, func() { _ = w.Write(&r) }); n > 0 {
			t.Errorf("%s: %v allocations a record", format, n)
		}
	}
	var s summary
	if n := testing.AllocsPerRun(1000, func() { s.add(&sampleRecords[0]) }); n > 0 {
		t.Errorf("summary: %v allocations a record", n)
	}
}

func BenchmarkOutput(b *testing.B) {
	r := record{Task: "137.72.95.0:foo", ID: 1 << 20, Status: "ok", Response: bytes.Repeat([]byte("a response "), 6), Elapsed: time.Second}
	for _, format := range []string{"text", "jsonl", "csv"} {
		b.Run(format, func(b *testing.B) {
			w := newResultWriter(io.Discard, format)
			b.ReportAllocs()
			for b.Loop() {
				_ = w.Write(&r)
			}
		})
	}
	b.Run("summary", func(b *testing.B) {
		var s summary
		for b.Loop() {
			s.add(&sampleRecords[0])
		}
	})
}
