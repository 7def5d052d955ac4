package main

import (
	"encoding/base64"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// record is what the output says of one task.
type record struct {
	Task     string // the line of the commands file, as written
	ID       int
	Status   string
	Response []byte // when the status is ok
	Error    string // when it is not
	Elapsed  time.Duration

	Host, Command string    // where tasks have them
	Attempt       int       // how often it was sent
	Start, End    time.Time // of the last attempt; zero where it was not sent
}

// resultWriter writes records in one of three formats. One goroutine owns it; records reach the writer below whole, many at
// once. After an error of that writer nothing more is written, and every call returns it.
//
// text is a line `task<TAB>status<TAB>response`, with the error in place of the response when the status is not ok.
// A line stays a line: control characters, line and paragraph separators, and bytes that are no UTF-8 are written \n, \r,
// \t or \xNN for each byte. In the third field a backslash is written \\, so that it can be read back; the task keeps those
// of the commands file, so that `cut -f1` gives its lines.
//
// jsonl is an object a line, always with these members in this order:
//
//	task        string  the line of the commands file, as written
//	id          number  the id of the task in this run
//	status      string  ok, failed, panicked, timeout, canceled, busy, draining, unknown_subroutine, unknown_task, lost,
//	                    not_allowed, unreachable (no gateway took it: it did not run)
//	response    string  what the task answered; "" when the status is not ok
//	error       string  what went wrong; "" when the status is ok
//	elapsed_ms  number  milliseconds from sending to the answer, with three decimals
//	host        string  of the task; "" where tasks have none, as those of map
//	command     string  likewise
//	attempt     number  how often the task was sent; 0: never
//	start       string  when it was sent last, RFC 3339 in UTC with milliseconds; "" if it was not
//	end         string  when its answer came
//
// A task or response that is not valid UTF-8 stands in task_base64 or response_base64 instead (RFC 4648 section 4).
//
// csv has a header line of these names, then the same as RFC 4180 has it: CRLF line ends, and quotes around a field with a
// comma, quote, CR or LF. Bytes that are no UTF-8 are written \xNN. What stands in a spreadsheet for a formula is defused
// where csv-safe is the format: such a field gets an apostrophe before it.
//
// Records that are small enough reach a pipe in writes that the system keeps whole, so that several processes may share it.
type resultWriter struct {
	w      io.Writer
	encode func(dst []byte, r *record) []byte
	buf    []byte
	most   int // bytes to a write, but for a record that is larger
	err    error
}

// csvHeader names the fields; a file that is continued has it already.
const csvHeader = "task,id,status,response,error,elapsed_ms,host,command,attempt,start,end\r\n"

const (
	outputBuffer = 64 << 10 // a write every so many bytes, when results come faster than they are flushed
	keptBuffer   = 1 << 20  // a buffer that one large response has grown beyond this is not kept
)

// newResultWriter writes to w in the format text, jsonl, csv or csv-safe. With any other, every call of the writer is an error.
func newResultWriter(w io.Writer, format string) *resultWriter {
	rw := &resultWriter{w: w, most: outputBuffer}
	switch format {
	case "text":
		rw.encode = appendText
	case "jsonl":
		rw.encode = appendJSON
	case "csv":
		rw.encode = func(dst []byte, r *record) []byte { return appendCSV(dst, r, false) }
		rw.buf = append(rw.buf, csvHeader...)
	case "csv-safe":
		rw.encode = func(dst []byte, r *record) []byte { return appendCSV(dst, r, true) }
		rw.buf = append(rw.buf, csvHeader...)
	default:
		rw.err = fmt.Errorf("output format %q: give text, jsonl, csv or csv-safe", format)
	}
	return rw
}

// Write adds a record; it keeps nothing of it.
func (rw *resultWriter) Write(r *record) error {
	if rw.err != nil {
		return rw.err
	}
	before := len(rw.buf)
	rw.buf = rw.encode(rw.buf, r)
	if before > 0 && len(rw.buf) > rw.most {
		record := rw.buf[before:]
		rw.buf = rw.buf[:before]
		if err := rw.Flush(); err != nil {
			return err
		}
		rw.buf = append(rw.buf, record...)
	}
	if len(rw.buf) >= rw.most {
		return rw.Flush()
	}
	return nil
}

// continues says that what is written goes on where another process has stopped: there is no header.
func (rw *resultWriter) continues() { rw.buf = rw.buf[:0] }

// Flush writes what is buffered. It is due whenever no further result is ready, so that results show as they come.
func (rw *resultWriter) Flush() error {
	if rw.err == nil && len(rw.buf) > 0 {
		_, rw.err = rw.w.Write(rw.buf)
		if cap(rw.buf) > keptBuffer {
			rw.buf = nil
		}
		rw.buf = rw.buf[:0]
	}
	return rw.err
}

func appendText(dst []byte, r *record) []byte {
	dst = appendTextField(dst, r.Task, false)
	dst = append(dst, '\t')
	dst = append(dst, r.Status...)
	dst = append(dst, '\t')
	if r.Status == statusOK {
		dst = appendTextField(dst, r.Response, true)
	} else {
		dst = appendTextField(dst, r.Error, true)
	}
	return append(dst, '\n')
}

const hexDigits = "0123456789abcdef"

func appendTextField[T string | []byte](dst []byte, s T, escapeBackslash bool) []byte {
	copied := 0 // s[:copied] is in dst
	for i := 0; i < len(s); {
		if c := s[i]; c >= ' ' && c < 0x7f && (c != '\\' || !escapeBackslash) {
			i++
			continue
		}
		size := 1
		if s[i] >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			// 0x9f ends the C1 controls: terminals obey them, and U+0085 is a line end to some readers.
			if size = n; !(r == utf8.RuneError && n == 1) && r > 0x9f && r != '\u2028' && r != '\u2029' {
				i += size
				continue
			}
		}
		dst = append(dst, s[copied:i]...)
		for end := i + size; i < end; i++ {
			switch c := s[i]; c {
			case '\n':
				dst = append(dst, `\n`...)
			case '\r':
				dst = append(dst, `\r`...)
			case '\t':
				dst = append(dst, `\t`...)
			case '\\':
				dst = append(dst, `\\`...)
			default:
				dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&0xf])
			}
		}
		copied = i
	}
	return append(dst, s[copied:]...)
}

func appendJSON(dst []byte, r *record) []byte {
	if utf8.ValidString(r.Task) {
		dst = append(dst, `{"task":`...)
		dst = appendJSONString(dst, r.Task)
	} else {
		dst = append(dst, `{"task_base64":"`...)
		dst = append(base64.StdEncoding.AppendEncode(dst, []byte(r.Task)), '"')
	}
	dst = append(dst, `,"id":`...)
	dst = strconv.AppendInt(dst, int64(r.ID), 10)
	dst = append(dst, `,"status":`...)
	dst = appendJSONString(dst, r.Status)
	if utf8.Valid(r.Response) {
		dst = append(dst, `,"response":`...)
		dst = appendJSONString(dst, r.Response)
	} else {
		dst = append(dst, `,"response_base64":"`...)
		dst = append(base64.StdEncoding.AppendEncode(dst, r.Response), '"')
	}
	dst = append(dst, `,"error":`...)
	dst = appendJSONString(dst, strings.ToValidUTF8(r.Error, "\ufffd"))
	dst = append(dst, `,"elapsed_ms":`...)
	dst = appendMillis(dst, r.Elapsed)
	return append(appendRunJSON(dst, r), '}', '\n')
}

// appendRunJSON appends the members that say where and when a task ran.
func appendRunJSON(dst []byte, r *record) []byte {
	dst = appendJSONString(append(dst, `,"host":`...), strings.ToValidUTF8(r.Host, "\ufffd"))
	dst = appendJSONString(append(dst, `,"command":`...), strings.ToValidUTF8(r.Command, "\ufffd"))
	dst = strconv.AppendInt(append(dst, `,"attempt":`...), int64(r.Attempt), 10)
	dst = append(appendTime(append(dst, `,"start":"`...), r.Start), '"')
	return append(appendTime(append(dst, `,"end":"`...), r.End), '"')
}

// appendTime appends a time in UTC with milliseconds, nothing for none.
func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return dst
	}
	return t.UTC().AppendFormat(dst, "2006-01-02T15:04:05.000Z07:00")
}

// appendJSONString takes valid UTF-8.
func appendJSONString[T string | []byte](dst []byte, s T) []byte {
	dst = append(dst, '"')
	copied := 0
	for i := range len(s) {
		c := s[i]
		if c >= ' ' && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[copied:i]...)
		copied = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, `\n`...)
		case '\r':
			dst = append(dst, `\r`...)
		case '\t':
			dst = append(dst, `\t`...)
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
		}
	}
	return append(append(dst, s[copied:]...), '"')
}

// appendCSV does without encoding/csv, which drops the CR and doubles the line end of a field when it writes CRLF.
func appendCSV(dst []byte, r *record, safe bool) []byte {
	dst = append(appendCSVField(dst, r.Task, safe), ',')
	dst = append(strconv.AppendInt(dst, int64(r.ID), 10), ',')
	dst = append(appendCSVField(dst, r.Status, safe), ',')
	dst = append(appendCSVField(dst, r.Response, safe), ',')
	dst = append(appendCSVField(dst, r.Error, safe), ',')
	dst = append(appendMillis(dst, r.Elapsed), ',')
	dst = append(appendCSVField(dst, r.Host, safe), ',')
	dst = append(appendCSVField(dst, r.Command, safe), ',')
	dst = append(strconv.AppendInt(dst, int64(r.Attempt), 10), ',')
	dst = append(appendTime(dst, r.Start), ',')
	return append(appendTime(dst, r.End), '\r', '\n')
}

// appendCSVField quotes a field if need be. Safe: one that a spreadsheet would take for a formula becomes text.
func appendCSVField[T string | []byte](dst []byte, s T, safe bool) []byte {
	start, quoted := len(dst), false
	if safe && len(s) > 0 && strings.IndexByte("=+-@\t\r", s[0]) >= 0 {
		dst = append(dst, '\'')
	}
	for i := 0; i < len(s); {
		switch c := s[i]; {
		case c >= utf8.RuneSelf:
			r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
			if r == utf8.RuneError && size == 1 {
				dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&0xf])
			} else {
				dst = append(dst, s[i:i+size]...)
			}
			i += size
			continue
		case c == '"' || c == ',' || c == '\r' || c == '\n':
			if !quoted {
				quoted = true
				dst = slices.Insert(dst, start, '"')
			}
			if c == '"' {
				dst = append(dst, '"')
			}
		}
		dst = append(dst, s[i])
		i++
	}
	if quoted {
		dst = append(dst, '"')
	}
	return dst
}

// appendMillis appends milliseconds with three decimals.
func appendMillis(dst []byte, d time.Duration) []byte {
	micros := max(0, d.Round(time.Microsecond).Microseconds())
	dst = append(strconv.AppendInt(dst, micros/1000, 10), '.')
	rest := micros % 1000
	return append(dst, byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
}
