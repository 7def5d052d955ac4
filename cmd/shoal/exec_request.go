package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"shoal/netio"
	"shoal/netio/rollout"
	"shoal/netio/runner"
)

// requestFlags say how a command is run.
type requestFlags struct {
	Shell          bool          `help:"With --via exec: have /bin/sh read the command. A device's shell reads it anyway."`
	Env            []string      `short:"e" help:"An environment variable for the command; over ssh the device has to accept it." placeholder:"NAME=VALUE" sep:"none"`
	Dir            string        `help:"With --via exec: the folder to run in." placeholder:"DIR"`
	Input          string        `short:"i" help:"What the command reads on its standard input, the same for each task. Default: nothing." placeholder:"FILE"`
	ConnectTimeout time.Duration `help:"How long each step before the command may take: resolve, connect, host key, authentication; 0s: the gateway's default." default:"0s"`
	Silence        time.Duration `help:"End a command that writes nothing for so long; 0s: never." default:"0s"`
	Grace          time.Duration `help:"From the polite signal to the kill; 0s: the gateway's default." default:"0s"`
	MaxOutput      int           `help:"Bytes kept of each of standard output and standard error; what is between the first and the last is dropped and counted." default:"262144" placeholder:"BYTES"`
}

// maxInput bounds what --input reads: it crosses the wire with each task.
const maxInput = 1 << 20

// template makes the request that all tasks have in common.
func (f *requestFlags) template(via string, timeout time.Duration) (runner.Request, error) {
	r := runner.Request{
		Shell: f.Shell, Env: f.Env, Dir: f.Dir, Timeout: timeout, ConnectTimeout: f.ConnectTimeout, Silence: f.Silence,
		Grace: f.Grace, Output: f.MaxOutput,
	}
	for _, flag := range []struct {
		name string
		d    time.Duration
	}{{"--timeout", timeout}, {"--connect-timeout", f.ConnectTimeout}, {"--silence", f.Silence}, {"--grace", f.Grace}} {
		if flag.d < 0 {
			return r, usage("%s %v: it cannot be negative", flag.name, flag.d)
		}
	}
	switch {
	case via != "exec" && f.Shell:
		return r, usage("--shell goes with --via exec: over ssh the device's shell reads the command")
	case via != "exec" && f.Dir != "":
		return r, usage("--dir goes with --via exec")
	case f.MaxOutput < 1 || f.MaxOutput > runner.MaxOutput:
		return r, usage("--max-output %d: it has to be from 1 to %d", f.MaxOutput, runner.MaxOutput)
	}
	for _, e := range f.Env {
		if name, _, ok := strings.Cut(e, "="); !ok || name == "" {
			return r, usage("--env: write NAME=VALUE")
		}
	}
	if f.Input == "" {
		return r, nil
	}
	file, err := openInput(f.Input)
	if err != nil {
		return r, err
	}
	defer file.Close()
	if r.Stdin, err = io.ReadAll(io.LimitReader(file, maxInput+1)); err != nil {
		return r, &inputError{file.Name(), "cannot be read: " + rootCause(err), err}
	}
	if len(r.Stdin) > maxInput {
		return r, usage("--input %s: it has more than %d bytes", f.Input, maxInput)
	}
	return r, nil
}

// setCommand puts the words of a command line into a request. One word is a command line for the shell, several are program and
// arguments, which no shell splits again.
func setCommand(r *runner.Request, via string, words []string) {
	switch {
	case r.Shell:
		r.Command = strings.Join(words, " ")
	case via == "ssh" && len(words) == 1:
		r.Command = words[0]
	default:
		r.Argv = words
	}
}

// requestTask makes a task of a request; encode is cheap beside what the task does.
func requestTask(r runner.Request) rollout.Task {
	return rollout.Task{Target: r.Target, Body: func(attempt int) []byte {
		r.Attempt = attempt
		body, err := r.MarshalJSON()
		if err != nil {
			panic(err) // strings and numbers always have a form
		}
		return body
	}}
}

// judge says what a result amounts to: whether another try may mend it.
func judge(body []byte, err error) rollout.Outcome {
	if err != nil {
		return rollout.JudgeStatus(body, err)
	}
	rec, err := runner.ParseRecord(body)
	switch {
	case err != nil:
		return rollout.Final
	case rec.OK():
		return rollout.OK
	}
	switch rec.Reason {
	case runner.ReasonCanceled, runner.ReasonBadRequest, runner.ReasonNotAllowed,
		runner.ReasonKeyUnknown, runner.ReasonKeyChanged, runner.ReasonKeyRevoked, runner.ReasonAuth:
		return rollout.Final
	}
	return rollout.Failed
}

// execResult is what is said of one task.
type execResult struct {
	Host, Command string
	Text          string // the task as it was given: what can be run again
	Status        string
	Error         string         // one line; empty where the status is ok
	Record        *runner.Record // never nil
	Start         time.Time      // of the last attempt, as the client has it; zero where it never started
	Elapsed       time.Duration
}

// statusNotStarted is what became of a task that the roll-out has not let start.
const statusNotStarted = "not_started"

// newExecResult reads a result.
func newExecResult(via, host, command, text string, result *rollout.Result, err error) *execResult {
	r := &execResult{Host: host, Command: command, Text: text, Start: result.Start, Elapsed: result.Elapsed}
	if err == nil {
		r.Record, err = runner.ParseRecord(result.Body)
	} else {
		r.Record = runner.RecordOf(err)
	}
	if r.Record == nil {
		r.Record = &runner.Record{Target: host, StdoutGap: -1, StderrGap: -1}
	}
	switch {
	case errors.Is(err, rollout.ErrNotStarted):
		r.Status, r.Error = statusNotStarted, err.Error()
	case errors.Is(err, netio.ErrUnknownSubroutine):
		r.Status, r.Error = netio.StatusOf(err).String(), fmt.Sprintf("the gateway does not offer %s: start it with --%s", via, via)
	case err != nil:
		r.Status, r.Error = netio.StatusOf(err).String(), errorText(err)
	default:
		r.Status = recordStatus(r.Record)
		r.Error = recordError(r.Record)
	}
	// The target stands beside the text everywhere.
	r.Error = strings.TrimPrefix(r.Error, host+": ")
	r.Record.Attempt = result.Attempt
	return r
}

// logged is what a job log says of a result.
func (r *execResult) logged() *record {
	rec := &record{Status: r.Status, Host: r.Host, Command: r.Command, Attempt: r.Record.Attempt, Start: r.Start}
	if !r.Start.IsZero() {
		rec.End = r.Start.Add(r.Elapsed)
	}
	return rec
}

// recordError is what a record has to say that is not ok.
func recordError(rec *runner.Record) string {
	switch {
	case rec.OK():
		return ""
	case rec.Error != "":
		return rec.Error
	case rec.Signal != "":
		return "ended by signal " + rec.Signal
	}
	return fmt.Sprintf("exit status %d", rec.Exit)
}

// recordStatus is the word for how a record ended.
func recordStatus(rec *runner.Record) string {
	if rec.OK() {
		return statusOK
	}
	switch rec.Reason {
	case runner.ReasonTimeout, runner.ReasonSilence:
		return netio.StatusTimeout.String()
	case runner.ReasonLost:
		return netio.StatusLost.String()
	case runner.ReasonCanceled:
		return netio.StatusCanceled.String()
	}
	return netio.StatusFailed.String()
}

// largestExit is what -S counts: the remote exit status, 128 and the signal's number being left to the remote side; 255, as
// ssh has it, where there is none.
func (r *execResult) largestExit() int {
	switch {
	case r.Status == statusOK:
		return exitOK
	case r.Record.Exited && r.Record.Reason == "":
		return min(r.Record.Exit, 255)
	}
	return 255
}
