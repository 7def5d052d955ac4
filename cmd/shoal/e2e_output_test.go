package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"regexp"
	"sort"
	"strings"
	"testing"
	"time"
)

// A table whose later tasks finish first, one with a response that each format has to quote.
const (
	outputTable    = "h:slow:1:0.3\nh:quick:2:0\nh:odd:a,\"b\"\t\\\\x:0.15\n"
	outputCommands = "h:slow\nh:quick\nh:odd\nh:none\n"
)

func runOutput(t *testing.T, args ...string) outcome {
	t.Helper()
	args = append([]string{"client", "run", "--embedded", "--table", file(t, outputTable), file(t, outputCommands), "--batch", "1"}, args...)
	return shoal(t, "", args...).want(t, exitFailed)
}

func TestOutputFormats(t *testing.T) {
	t.Parallel()
	text := runOutput(t)
	if want := "h:slow\tok\t1\nh:quick\tok\t2\nh:odd\tok\ta,\"b\"\\t\\\\x\nh:none\tunknown_task\tunknown_task\n"; sorted(text.stdout) != sorted(want) {
		t.Errorf("text: %q", text.stdout)
	}
	if !strings.HasPrefix(text.stderr, "not ok: h:none: unknown_task\n4 tasks: 3 ok, 1 unknown_task; ") || strings.Contains(text.stderr, "sum") {
		t.Errorf("counts: %q", text.stderr)
	}

	jsonl := runOutput(t, "--output", "jsonl")
	for _, line := range jsonl.lines() {
		var r struct {
			Task, Status, Response, Error, Host, Command string
			ID, Attempt                                  int
			Elapsed                                      float64 `json:"elapsed_ms"`
			Start, End                                   time.Time
		}
		d := json.NewDecoder(strings.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&r); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		want := []string{"1", "2", "a,\"b\"\t\\x", ""}[r.ID]
		if r.Task != strings.Split(outputCommands, "\n")[r.ID] || r.Response != want || (r.Status == "ok") == (r.Error != "") {
			t.Errorf("jsonl: %s", line)
		}
		took := r.End.Sub(r.Start).Seconds()*1000 - r.Elapsed
		if r.Host+":"+r.Command != r.Task || r.Attempt != 1 || took > 1.5 || took < -1.5 || time.Since(r.End).Abs() > time.Hour {
			t.Errorf("jsonl: %s", line)
		}
		if r.ID == 0 && (r.Elapsed < 300 || r.Elapsed > 10_000) {
			t.Errorf("took %v ms", r.Elapsed)
		}
	}

	table := runOutput(t, "--output", "csv")
	rows, err := csv.NewReader(strings.NewReader(table.stdout)).ReadAll()
	if err != nil || len(rows) != 5 || fmt.Sprint(rows[0]) != "[task id status response error elapsed_ms host command attempt start end]" {
		t.Errorf("csv: %v, %q", err, table.stdout)
	}
}

func sorted(lines string) string {
	all := strings.Split(lines, "\n")
	sort.Strings(all)
	return strings.Join(all, "\n")
}

func TestKeepOrder(t *testing.T) {
	t.Parallel()
	if o := runOutput(t); !strings.HasSuffix(o.stdout, "h:slow\tok\t1\n") {
		t.Errorf("as finished: %q", o.stdout)
	}
	o := runOutput(t, "--keep-order")
	var tasks []string
	for _, line := range o.lines() {
		task, _, _ := strings.Cut(line, "\t")
		tasks = append(tasks, task)
	}
	if got := strings.Join(tasks, "\n") + "\n"; got != outputCommands {
		t.Errorf("in order: %q", got)
	}
}

// Results show as they come, not at the end.
func TestResultsAsTheyFinish(t *testing.T) {
	t.Parallel()
	r := start(t, nil, "client", "run", "--embedded", "--table", file(t, "h:now:1:0\nh:late:2:600\n"), file(t, "h:late\nh:now\n"))
	eventually(t, "the quick task is printed while the other runs", func() bool { return r.stdout.String() == "h:now\tok\t1\n" })
}

func TestStandardInput(t *testing.T) {
	t.Parallel()
	table := file(t, "h:a:1:0\n[::1]:a:2:0\nx\\:y:a:3:0\n")
	o := shoal(t, "# one\n\nh:a\r\n[::1]:a\nx\\:y:a", "client", "run", "--embedded", "--table", table, "-", "--keep-order").want(t, 0)
	if o.stdout != "h:a\tok\t1\n[::1]:a\tok\t2\nx\\:y:a\tok\t3\n" {
		t.Errorf("%q", o.stdout)
	}
}

func TestSkipInvalid(t *testing.T) {
	t.Parallel()
	o := shoal(t, "h:a\nbad\n:b\nh:a\n", "client", "run", "--embedded", "--table", file(t, "h:a:1:0\n"), "-", "--skip-invalid").want(t, 0)
	if o.stdout != "h:a\tok\t1\nh:a\tok\t1\n" || !strings.HasSuffix(o.stderr, "; sum 2; 2 malformed lines skipped\n") {
		t.Errorf("%q, %q", o.stdout, o.stderr)
	}
}

func TestTimeout(t *testing.T) {
	t.Parallel()
	o := shoal(t, "h:slow\nh:now\n", "client", "run", "--embedded", "--table", file(t, "h:slow:1:600\nh:now:2:0\n"), "-", "--timeout", "1s").want(t, exitUnknown)
	if o.stdout != "h:now\tok\t2\nh:slow\ttimeout\ttimeout\n" || !strings.HasPrefix(o.stderr, "not ok: h:slow: timeout\n2 tasks: 1 ok, 1 timeout; ") {
		t.Errorf("%q, %q", o.stdout, o.stderr)
	}
}

// A batch of unknown tasks only is answered too, one by one.
func TestUnknown(t *testing.T) {
	t.Parallel()
	g := serve(t, "--table", file(t, "h:a:1:0\n"))
	o := g.client(t, "u:1\nu:2\nu:3\n", "run", "-", "--keep-order").want(t, exitFailed)
	if o.stdout != "u:1\tunknown_task\tunknown_task\nu:2\tunknown_task\tunknown_task\nu:3\tunknown_task\tunknown_task\n" {
		t.Errorf("%q", o.stdout)
	}
	o = g.client(t, "h:a\n", "run", "-", "--subroutine", "nope").want(t, exitFailed)
	if !strings.HasPrefix(o.stdout, "h:a\tunknown_subroutine\t") {
		t.Errorf("%q", o.stdout)
	}
}

func TestQuiet(t *testing.T) {
	t.Parallel()
	if o := shoal(t, "h:a\n", "client", "-q", "run", "--embedded", "--table", file(t, "h:a:1:0\n"), "-").want(t, 0); o.stderr != "" {
		t.Errorf("%q", o.stderr)
	}
}

// More tasks than a window holds, and than are kept in memory at once.
func TestManyTasks(t *testing.T) {
	t.Parallel()
	const tasks = 300_000
	var commands strings.Builder
	for n := range tasks {
		fmt.Fprintf(&commands, "h:%d\n", n%1000)
	}
	var table strings.Builder
	for n := range 1000 {
		fmt.Fprintf(&table, "h:%d:1:0\n", n)
	}
	o := shoal(t, commands.String(), "client", "run", "--embedded", "--table", file(t, table.String()), "-", "--batch", "100", "--keep-order").want(t, 0)
	if !regexp.MustCompile(`^300000 tasks: 300000 ok; .*; sum 300000\n$`).MatchString(o.stderr) {
		t.Error(o.stderr)
	}
	if strings.ReplaceAll(o.stdout, "\tok\t1\n", "\n") != commands.String() {
		t.Error("not the tasks in their order")
	}
}
