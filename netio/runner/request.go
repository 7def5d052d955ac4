package runner

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// formVersion is the version of the JSON form of requests and records.
const formVersion = 1

// Request is what a runner is asked to do. Runners keep nothing of it, and change nothing in it.
type Request struct {
	Target  string   // the device: [user@]host[:port]; for exec a name for the record
	Command string   // a command line for a shell
	Argv    []string // in place of Command: program and arguments
	Shell   bool     // exec: run Command with /bin/sh -c
	Env     []string // NAME=value each
	Dir     string   // exec: the working folder
	Stdin   []byte   // what the command reads

	Timeout        time.Duration // for all stages together; 0: the runner's default
	ConnectTimeout time.Duration // for each stage before the command, and for each hop; 0: the runner's default
	Silence        time.Duration // the command is ended when it writes nothing for longer; 0: never
	Grace          time.Duration // from the polite signal to the kill; 0: the runner's default
	Output         int           // bytes kept of each of stdout and stderr; 0: DefaultOutput

	Attempt int             // which try this is, from 1; 0: 1
	Detail  json.RawMessage // what one runner alone understands
}

// requestForm is the JSON form.
type requestForm struct {
	V              int             `json:"v"`
	Target         *string         `json:"target,omitempty"`
	Target64       *string         `json:"target_base64,omitempty"`
	Command        *string         `json:"command,omitempty"`
	Command64      *string         `json:"command_base64,omitempty"`
	Argv           []string        `json:"argv,omitempty"`
	Argv64         []string        `json:"argv_base64,omitempty"`
	Shell          bool            `json:"shell,omitempty"`
	Env            []string        `json:"env,omitempty"`
	Env64          []string        `json:"env_base64,omitempty"`
	Dir            *string         `json:"dir,omitempty"`
	Dir64          *string         `json:"dir_base64,omitempty"`
	Stdin          *string         `json:"stdin,omitempty"`
	Stdin64        *string         `json:"stdin_base64,omitempty"`
	TimeoutMs      int64           `json:"timeout_ms,omitempty"`
	ConnectTimeout int64           `json:"connect_timeout_ms,omitempty"`
	SilenceMs      int64           `json:"silence_ms,omitempty"`
	GraceMs        int64           `json:"grace_ms,omitempty"`
	Output         int             `json:"max_output,omitempty"`
	Attempt        int             `json:"attempt,omitempty"`
	Detail         json.RawMessage `json:"detail,omitempty"`
}

// MarshalJSON returns the JSON form. Times are rounded up to milliseconds, so that one that is set never becomes none.
func (r *Request) MarshalJSON() ([]byte, error) {
	f := requestForm{
		V: formVersion, Shell: r.Shell, Output: r.Output, Attempt: r.Attempt, Detail: r.Detail,
		TimeoutMs: millis(r.Timeout), ConnectTimeout: millis(r.ConnectTimeout), SilenceMs: millis(r.Silence), GraceMs: millis(r.Grace),
	}
	f.Target, f.Target64 = asTextOrNothing(r.Target)
	f.Command, f.Command64 = asTextOrNothing(r.Command)
	f.Dir, f.Dir64 = asTextOrNothing(r.Dir)
	f.Stdin, f.Stdin64 = asTextOrNothing(string(r.Stdin))
	f.Argv, f.Argv64 = asTexts(r.Argv)
	f.Env, f.Env64 = asTexts(r.Env)
	return encode(&f)
}

// maxMillis is the longest time that a request may ask for, in milliseconds: 30 days.
const maxMillis = int64(30 * 24 * time.Hour / time.Millisecond)

// maxText bounds the text of a request, beside its stdin.
const maxText = 1 << 20

// UnmarshalJSON reads the JSON form, and refuses numbers out of their range.
func (r *Request) UnmarshalJSON(data []byte) error {
	var f requestForm
	if err := json.Unmarshal(data, &f); err != nil {
		return err
	}
	if f.V != formVersion {
		return fmt.Errorf("request has version %d, this runner understands %d", f.V, formVersion)
	}
	for _, ms := range []int64{f.TimeoutMs, f.ConnectTimeout, f.SilenceMs, f.GraceMs} {
		if ms < 0 || ms > maxMillis {
			return fmt.Errorf("a time of %d ms: it has to be from 0 to %d", ms, maxMillis)
		}
	}
	if f.Output < 0 || f.Output > MaxOutput {
		return fmt.Errorf("max_output %d: it has to be from 0 to %d", f.Output, MaxOutput)
	}
	if f.Attempt < 0 {
		return fmt.Errorf("attempt %d: it counts from 1", f.Attempt)
	}
	parsed := Request{
		Shell: f.Shell, Output: f.Output, Attempt: f.Attempt, Detail: f.Detail,
		Timeout: fromMillis(f.TimeoutMs), ConnectTimeout: fromMillis(f.ConnectTimeout),
		Silence: fromMillis(f.SilenceMs), Grace: fromMillis(f.GraceMs),
	}
	var stdin string
	for _, t := range []struct {
		to            *string
		member        string
		text, encoded *string
	}{
		{&parsed.Target, "target", f.Target, f.Target64},
		{&parsed.Command, "command", f.Command, f.Command64},
		{&parsed.Dir, "dir", f.Dir, f.Dir64},
		{&stdin, "stdin", f.Stdin, f.Stdin64},
	} {
		var err error
		if *t.to, err = fromText(t.member, t.text, t.encoded); err != nil {
			return err
		}
	}
	var err error
	if parsed.Argv, err = fromTexts("argv", f.Argv, f.Argv64); err != nil {
		return err
	}
	if parsed.Env, err = fromTexts("env", f.Env, f.Env64); err != nil {
		return err
	}
	if stdin != "" {
		parsed.Stdin = []byte(stdin)
	}
	*r = parsed
	return r.check()
}

// check refuses what no runner can do.
func (r *Request) check() error {
	size := len(r.Target) + len(r.Command) + len(r.Dir)
	for _, list := range [][]string{r.Argv, r.Env} {
		for _, s := range list {
			size += len(s) + 1
		}
	}
	if size > maxText {
		return fmt.Errorf("command and environment have %d bytes, the limit is %d", size, maxText)
	}
	if r.Command != "" && len(r.Argv) > 0 {
		return fmt.Errorf("both command and argv are given")
	}
	for _, s := range append([]string{r.Target, r.Command, r.Dir}, r.Argv...) {
		if strings.IndexByte(s, 0) >= 0 {
			return fmt.Errorf("target, command and folder cannot have a zero byte")
		}
	}
	for _, e := range r.Env {
		if i := strings.IndexByte(e, '='); i < 1 || strings.IndexByte(e, 0) >= 0 {
			return fmt.Errorf("env %q: it has to be NAME=value", shorten(e))
		}
	}
	return nil
}

// CommandText returns the command as records name it and as patterns are matched with it: Command, or Argv joined by
// ShellJoin.
func (r *Request) CommandText() string {
	if len(r.Argv) > 0 {
		return ShellJoin(r.Argv)
	}
	return r.Command
}

// shorten returns the name of an environment entry: its value may be a secret.
func shorten(e string) string {
	if i := strings.IndexByte(e, '='); i >= 0 {
		e = e[:i] + "=…"
	}
	return e[:min(len(e), 64)]
}

func millis(d time.Duration) int64      { return int64((d + time.Millisecond - 1) / time.Millisecond) }
func fromMillis(ms int64) time.Duration { return time.Duration(ms) * time.Millisecond }
