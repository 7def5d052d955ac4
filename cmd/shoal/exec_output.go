package main

import (
	"bytes"
	"encoding/base64"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"shoal/netio/runner"
)

// execWriter writes results of commands in one of three formats.
//
// text is a line `host: line` for each line of a command's output, on standard output or standard error as the command wrote
// it. Nothing of a device reaches a terminal that it would obey: control characters but tabs, and bytes that are no UTF-8,
// are written \r or \xNN.
//
// jsonl is an object a line, always with these members in this order:
//
//	v               number  1
//	host, command   string  the target and what ran there
//	status          string  ok, failed, timeout, lost, canceled, not_started, busy, not_allowed, …
//	stage           string  the stage that was reached: none, resolve, connect, hostkey, auth, start, run, read, done
//	reason          string  why it went no further; "" where it did not
//	error           string  the same for a person; "" where the status is ok
//	exit            number  the exit status, or null
//	signal          string  that ended the command, or ""
//	stdout, stderr  string  in stdout_base64, stderr_base64 where they are no UTF-8
//	stdout_dropped, stderr_dropped  number  bytes that were dropped between the first and the last
//	attempt         number  how often it has started
//	start           string  of the last attempt, RFC 3339 in UTC, or null
//	elapsed_ms      number  from then to the answer, with three decimals
//	times           object  milliseconds that each stage took that was entered, by its name
//
// csv has a header line and the columns host, command, status, stage, reason, error, exit, signal, stdout, stderr, attempt,
// start, elapsed_ms, and one for the milliseconds of each stage. In csv-safe no field is a formula to a spreadsheet.
type execWriter struct {
	out, err io.Writer
	format   string
	live     bool   // text has been shown when it came
	buf      []byte // for out
	errBuf   []byte // for err
	failed   error  // of out: nothing more is written
}

// execStages are the stages that have times.
var execStages = []runner.Stage{runner.StageResolve, runner.StageConnect, runner.StageHostKey, runner.StageAuth,
	runner.StageStart, runner.StageRun, runner.StageRead}

func newExecWriter(out, err io.Writer, format string) *execWriter {
	w := &execWriter{out: out, err: err, format: format}
	if strings.HasPrefix(format, "csv") {
		w.buf = append(w.buf, "host,command,status,stage,reason,error,exit,signal,stdout,stderr,attempt,start,elapsed_ms"...)
		for _, stage := range execStages {
			w.buf = append(append(append(w.buf, ','), stage.String()...), "_ms"...)
		}
		w.buf = append(w.buf, "\r\n"...)
	}
	return w
}

// write adds a result; it keeps nothing of it.
func (w *execWriter) write(r *execResult) error {
	switch w.format {
	case "jsonl":
		w.buf = appendExecJSON(w.buf, r)
	case "csv":
		w.buf = appendExecCSV(w.buf, r, false)
	case "csv-safe":
		w.buf = appendExecCSV(w.buf, r, true)
	default:
		if w.live {
			break
		}
		w.buf = appendHostLines(w.buf, r.Host, r.Record.Stdout, r.Record.StdoutGap, r.Record.StdoutDropped)
		w.errBuf = appendHostLines(w.errBuf, r.Host, r.Record.Stderr, r.Record.StderrGap, r.Record.StderrDropped)
	}
	if len(w.buf)+len(w.errBuf) >= outputBuffer {
		return w.flush()
	}
	return w.failed
}

// flush writes what is buffered, whole lines at a time.
func (w *execWriter) flush() error {
	if w.failed == nil && len(w.buf) > 0 {
		_, w.failed = w.out.Write(w.buf)
	}
	if len(w.errBuf) > 0 {
		_, _ = w.err.Write(w.errBuf) // as with progress, nobody can be told
	}
	w.buf, w.errBuf = emptied(w.buf), emptied(w.errBuf)
	return w.failed
}

// emptied keeps a buffer's memory, unless one large output has grown it.
func emptied(buf []byte) []byte {
	if cap(buf) > keptBuffer {
		return nil
	}
	return buf[:0]
}

// appendHostLines writes each line of an output after the name of its host.
func appendHostLines(dst []byte, host string, output []byte, gap int, dropped int64) []byte {
	if dropped == 0 {
		return appendLines(dst, host, output)
	}
	dst = appendLines(dst, host, output[:gap])
	dst = append(appendTextField(dst, host, false), ": … "...)
	dst = append(strconv.AppendInt(dst, dropped, 10), " bytes were dropped here …\n"...)
	return appendLines(dst, host, output[gap:])
}

func appendLines(dst []byte, host string, output []byte) []byte {
	for line := range bytes.Lines(output) {
		dst = append(appendTextField(dst, host, false), ": "...)
		dst = append(appendOutputLine(dst, line), '\n')
	}
	return dst
}

// appendOutputLine writes a line of a device, without its end, so that a terminal obeys nothing in it.
func appendOutputLine(dst, line []byte) []byte {
	line = bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r"))
	for i, part := range bytes.Split(line, []byte("\t")) {
		if i > 0 {
			dst = append(dst, '\t')
		}
		dst = appendTextField(dst, part, false)
	}
	return dst
}

func appendExecJSON(dst []byte, r *execResult) []byte {
	dst = append(dst, `{"v":1,`...)
	dst = appendMember(dst, "host", r.Host)
	dst = appendMember(append(dst, ','), "command", r.Command)
	dst = appendMember(append(dst, ','), "status", r.Status)
	dst = appendMember(append(dst, ','), "stage", r.Record.Stage.String())
	dst = appendMember(append(dst, ','), "reason", string(r.Record.Reason))
	dst = append(dst, `,"error":`...)
	dst = appendJSONString(dst, strings.ToValidUTF8(r.Error, "\ufffd"))
	dst = append(dst, `,"exit":`...)
	if r.Record.Exited {
		dst = strconv.AppendInt(dst, int64(r.Record.Exit), 10)
	} else {
		dst = append(dst, "null"...)
	}
	dst = appendMember(append(dst, ','), "signal", r.Record.Signal)
	dst = appendMember(append(dst, ','), "stdout", r.Record.Stdout)
	dst = appendMember(append(dst, ','), "stderr", r.Record.Stderr)
	dst = strconv.AppendInt(append(dst, `,"stdout_dropped":`...), r.Record.StdoutDropped, 10)
	dst = strconv.AppendInt(append(dst, `,"stderr_dropped":`...), r.Record.StderrDropped, 10)
	dst = strconv.AppendInt(append(dst, `,"attempt":`...), int64(r.Record.Attempt), 10)
	dst = append(dst, `,"start":`...)
	if r.Start.IsZero() {
		dst = append(dst, "null"...)
	} else {
		dst = append(appendStart(append(dst, '"'), r.Start), '"')
	}
	dst = appendMillis(append(dst, `,"elapsed_ms":`...), r.Elapsed)
	dst = append(dst, `,"times":{`...)
	first := true
	for _, stage := range execStages {
		if took := r.Record.Took[stage]; took > 0 {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			dst = append(append(append(dst, '"'), stage.String()...), `":`...)
			dst = appendMillis(dst, took)
		}
	}
	return append(dst, "}}\n"...)
}

// appendMember writes a member that is text, under its name with _base64 appended where it is no UTF-8.
func appendMember[T string | []byte](dst []byte, name string, value T) []byte {
	dst = append(append(dst, '"'), name...)
	if utf8.Valid([]byte(value)) {
		return appendJSONString(append(dst, `":`...), value)
	}
	dst = append(dst, `_base64":"`...)
	return append(base64.StdEncoding.AppendEncode(dst, []byte(value)), '"')
}

func appendStart(dst []byte, start time.Time) []byte {
	return start.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z07:00")
}

func appendExecCSV(dst []byte, r *execResult, safe bool) []byte {
	for _, field := range []string{r.Host, r.Command, r.Status, r.Record.Stage.String(), string(r.Record.Reason), r.Error} {
		dst = append(appendCSVField(dst, field, safe), ',')
	}
	if r.Record.Exited {
		dst = strconv.AppendInt(dst, int64(r.Record.Exit), 10)
	}
	dst = append(appendCSVField(append(dst, ','), r.Record.Signal, safe), ',')
	dst = append(appendCSVField(dst, r.Record.Stdout, safe), ',')
	dst = append(appendCSVField(dst, r.Record.Stderr, safe), ',')
	dst = append(strconv.AppendInt(dst, int64(r.Record.Attempt), 10), ',')
	if !r.Start.IsZero() {
		dst = appendStart(dst, r.Start)
	}
	dst = appendMillis(append(dst, ','), r.Elapsed)
	for _, stage := range execStages {
		dst = append(dst, ',')
		if took := r.Record.Took[stage]; took > 0 {
			dst = appendMillis(dst, took)
		}
	}
	return append(dst, "\r\n"...)
}

// appendPlainLines writes an output as it is, but for what a terminal would obey.
func appendPlainLines(dst, output []byte) []byte {
	for line := range bytes.Lines(output) {
		dst = append(appendOutputLine(dst, line), '\n')
	}
	return dst
}
