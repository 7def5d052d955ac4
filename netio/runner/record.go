package runner

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"time"
)

// Record is what a runner has to say about one request. A runner makes it with NewRecord, follows the stages with Enter,
// and finishes it with Fail or End; its reader owns everything in it.
type Record struct {
	Runner  string // exec, ssh, tcp, …
	Target  string
	Command string

	Stage  Stage  // the stage that was reached
	Reason Reason // why it went no further; empty where the command ran to its end
	Error  string // the same in one line, for a person; empty where Reason is

	Exited bool   // the command ended by itself, with the status Exit
	Exit   int    // the exit status, where Exited is set
	Signal string // the signal that ended the command, such as KILL

	Stdout, Stderr               []byte // what is kept
	StdoutGap, StderrGap         int    // where in it bytes are missing; -1: nowhere
	StdoutDropped, StderrDropped int64  // how many

	Attempt int
	Start   time.Time                 // when the runner began
	Elapsed time.Duration             // from then to the end
	Took    [stageCount]time.Duration // how long each stage took, by its number; 0: it was not entered
	Detail  json.RawMessage           // what one runner alone has to say

	entered time.Time // when Stage began
}

// NewRecord begins the record of a request. It holds nothing of the request but its strings.
func NewRecord(name string, req *Request) *Record {
	now := time.Now()
	return &Record{
		Runner: name, Target: req.Target, Command: req.CommandText(), StdoutGap: -1, StderrGap: -1,
		Attempt: max(1, req.Attempt), Start: now, entered: now,
	}
}

// Enter ends the stage that the record is in and begins s.
func (r *Record) Enter(s Stage) {
	now := time.Now()
	r.close(now)
	r.Stage, r.entered = s, now
}

// Went notes that the request has gone through a stage that something shared went through for it, such as a connection that
// several requests wait for.
func (r *Record) Went(s Stage, took time.Duration) {
	r.Took[s] += max(1, took)
	r.Stage, r.entered = s, time.Now()
}

// close counts the time of the stage that ends.
func (r *Record) close(now time.Time) {
	if r.Stage != StageNone {
		r.Took[r.Stage] += max(1, now.Sub(r.entered)) // at least something: 0 is a stage that was not entered
	}
}

// Fail ends the record in the stage that it is in. It returns the record.
func (r *Record) Fail(reason Reason, err error) *Record {
	r.Reason = reason
	r.Error = (&StageError{Target: r.Target, Stage: r.Stage, Reason: reason, Err: err}).Error()
	return r.finish()
}

// End ends the record of a command that ran to its end. It returns the record.
func (r *Record) End() *Record {
	r.Enter(StageDone)
	return r.finish()
}

func (r *Record) finish() *Record {
	now := time.Now()
	r.close(now)
	r.entered = now
	r.Elapsed = now.Sub(r.Start)
	return r
}

// OK reports whether the runner did what was asked, and the command, if there was one, ended with the status 0.
func (r *Record) OK() bool {
	return r.Stage == StageDone && r.Reason == "" && r.Signal == "" && r.Exit == 0
}

// Err returns nil for a record that is OK, and otherwise a *RecordError of one line.
func (r *Record) Err() error {
	switch {
	case r.OK():
		return nil
	case r.Error != "":
		return &RecordError{r.Error, r.Reason}
	case r.Signal != "":
		return &RecordError{r.line("ended by signal " + r.Signal), r.Reason}
	}
	return &RecordError{r.line(fmt.Sprintf("exit status %d", r.Exit)), r.Reason}
}

func (r *Record) line(what string) string {
	return (&StageError{Target: r.Target, Stage: r.Stage, Err: fmt.Errorf("%s", what)}).Error()
}

// recordForm is the JSON form.
type recordForm struct {
	V             int             `json:"v"`
	Runner        string          `json:"runner"`
	Target        *string         `json:"target,omitempty"`
	Target64      *string         `json:"target_base64,omitempty"`
	Command       *string         `json:"command,omitempty"`
	Command64     *string         `json:"command_base64,omitempty"`
	Stage         string          `json:"stage"`
	Reason        Reason          `json:"reason"`
	Error         string          `json:"error"`
	Exit          *int            `json:"exit,omitempty"`
	Signal        string          `json:"signal,omitempty"`
	Stdout        *string         `json:"stdout,omitempty"`
	Stdout64      *string         `json:"stdout_base64,omitempty"`
	Stderr        *string         `json:"stderr,omitempty"`
	Stderr64      *string         `json:"stderr_base64,omitempty"`
	StdoutDropped int64           `json:"stdout_dropped,omitempty"`
	StdoutGap     *int            `json:"stdout_gap,omitempty"`
	StderrDropped int64           `json:"stderr_dropped,omitempty"`
	StderrGap     *int            `json:"stderr_gap,omitempty"`
	Attempt       int             `json:"attempt"`
	Start         time.Time       `json:"start"`
	Elapsed       float64         `json:"elapsed_ms"`
	StageMs       stageTimes      `json:"stage_ms"`
	Detail        json.RawMessage `json:"detail,omitempty"`
}

// stageTimes is an object in the order of the stages.
type stageTimes [stageCount]time.Duration

func (t stageTimes) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for s, took := range t {
		if took > 0 {
			if len(out) > 1 {
				out = append(out, ',')
			}
			ms, err := json.Marshal(toMillis(took))
			if err != nil {
				return nil, err
			}
			out = append(append(append(append(out, '"'), stageNames[s]...), `":`...), ms...)
		}
	}
	return append(out, '}'), nil
}

func (t *stageTimes) UnmarshalJSON(data []byte) error {
	var times map[string]float64
	if err := json.Unmarshal(data, &times); err != nil {
		return err
	}
	*t = stageTimes{}
	for name, ms := range times {
		if s, err := parseStage(name); err == nil { // a reader skips what it does not know
			t[s] = fromFloat(ms)
		}
	}
	return nil
}

// toMillis returns milliseconds with three decimals, and more than nothing for more than nothing.
func toMillis(d time.Duration) float64 {
	return float64((d+time.Microsecond-1)/time.Microsecond) / 1000
}

func fromFloat(ms float64) time.Duration {
	return time.Duration(math.Round(ms*1000)) * time.Microsecond
}

// MarshalJSON returns the JSON form.
func (r *Record) MarshalJSON() ([]byte, error) {
	f := recordForm{
		V: formVersion, Runner: r.Runner, Stage: r.Stage.String(), Reason: r.Reason, Error: r.Error, Signal: r.Signal,
		StdoutDropped: r.StdoutDropped, StderrDropped: r.StderrDropped, Attempt: r.Attempt, Start: r.Start.UTC(),
		Elapsed: toMillis(r.Elapsed), StageMs: r.Took, Detail: r.Detail,
	}
	f.Target, f.Target64 = asText(r.Target)
	f.Command, f.Command64 = asText(r.Command)
	f.Stdout, f.Stdout64 = asText(string(r.Stdout))
	f.Stderr, f.Stderr64 = asText(string(r.Stderr))
	if r.Exited {
		f.Exit = &r.Exit
	}
	if r.StdoutDropped > 0 {
		f.StdoutGap = &r.StdoutGap
	}
	if r.StderrDropped > 0 {
		f.StderrGap = &r.StderrGap
	}
	return encode(&f)
}

// UnmarshalJSON reads the JSON form.
func (r *Record) UnmarshalJSON(data []byte) error {
	var f recordForm
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	if f.V != formVersion {
		return fmt.Errorf("record has version %d, this reader understands %d", f.V, formVersion)
	}
	stage, err := parseStage(f.Stage)
	if err != nil {
		return err
	}
	parsed := Record{
		Runner: f.Runner, Stage: stage, Reason: f.Reason, Error: f.Error, Signal: f.Signal,
		StdoutDropped: f.StdoutDropped, StderrDropped: f.StderrDropped, StdoutGap: -1, StderrGap: -1,
		Attempt: f.Attempt, Start: f.Start, Elapsed: fromFloat(f.Elapsed), Took: f.StageMs, Detail: f.Detail,
	}
	if f.Exit != nil {
		parsed.Exited, parsed.Exit = true, *f.Exit
	}
	var stdout, stderr string
	for _, t := range []struct {
		to            *string
		member        string
		text, encoded *string
	}{
		{&parsed.Target, "target", f.Target, f.Target64},
		{&parsed.Command, "command", f.Command, f.Command64},
		{&stdout, "stdout", f.Stdout, f.Stdout64},
		{&stderr, "stderr", f.Stderr, f.Stderr64},
	} {
		if *t.to, err = fromText(t.member, t.text, t.encoded); err != nil {
			return err
		}
	}
	parsed.Stdout, parsed.Stderr = []byte(stdout), []byte(stderr)
	for _, gap := range []struct {
		to   *int
		from *int
		size int
	}{{&parsed.StdoutGap, f.StdoutGap, len(stdout)}, {&parsed.StderrGap, f.StderrGap, len(stderr)}} {
		if gap.from == nil {
			continue
		}
		if *gap.from < 0 || *gap.from > gap.size {
			return fmt.Errorf("a gap at %d of %d bytes", *gap.from, gap.size)
		}
		*gap.to = *gap.from
	}
	*r = parsed
	return nil
}

// encode is json.Marshal without the escapes that only HTML needs.
func encode(v any) ([]byte, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// RecordError is a record that is not OK, as an error. Its text is one line that names target and stage.
type RecordError struct {
	Text   string
	Reason Reason // empty where the command ran to its end
}

func (e *RecordError) Error() string { return e.Text }
