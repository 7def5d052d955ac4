package main

import (
	"encoding/base64"
	"fmt"
	"io"
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
//	                    not_allowed
//	response    string  what the task answered; "" when the status is not ok
//	error       string  what went wrong; "" when the status is ok
//	elapsed_ms  number  milliseconds from sending to the answer, with three decimals
//
// A task or response that is not valid UTF-8 stands in task_base64 or response_base64 instead (RFC 4648 section 4).
//
// csv has a header line `task,id,status,response,error,elapsed_ms`, then the same as RFC 4180 has it: CRLF line ends, and
// quotes around a field with a comma, quote, CR or LF. Fields hold the bytes as they are.
type resultWriter struct {
	w      io.Writer
	encode func(dst []byte, r *record) []byte
	buf    []byte
	err    error
}

const (
	outputBuffer = 64 << 10 // a write every so many bytes, when results come faster than they are flushed
	keptBuffer   = 1 << 20  // a buffer that one large response has grown beyond this is not kept
)

// newResultWriter writes to w in the format text, jsonl or csv. With any other, every call of the writer is an error.
func newResultWriter(w io.Writer, format string) *resultWriter {
	rw := &resultWriter{w: w}
	switch format {
	case "text":
		rw.encode = appendText
	case "jsonl":
		rw.encode = appendJSON
	case "csv":
		rw.encode = appendCSV
		rw.buf = append(rw.buf, "task,id,status,response,error,elapsed_ms\r\n"...)
	default:
		rw.err = fmt.Errorf("output format %q: give text, jsonl or csv", format)
	}
	return rw
}

// Write adds a record; it keeps nothing of it.
func (rw *resultWriter) Write(r *record) error {
	if rw.err != nil {
		return rw.err
	}
	rw.buf = rw.encode(rw.buf, r)
	if len(rw.buf) >= outputBuffer {
		return rw.Flush()
	}
	return nil
}

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
	return append(appendMillis(dst, r.Elapsed), '}', '\n')
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
func appendCSV(dst []byte, r *record) []byte {
	dst = append(appendCSVField(dst, r.Task), ',')
	dst = append(strconv.AppendInt(dst, int64(r.ID), 10), ',')
	dst = append(appendCSVField(dst, r.Status), ',')
	dst = append(appendCSVField(dst, r.Response), ',')
	dst = append(appendCSVField(dst, r.Error), ',')
	return append(appendMillis(dst, r.Elapsed), '\r', '\n')
}

func appendCSVField[T string | []byte](dst []byte, s T) []byte {
	start, quoted := len(dst), false
	for i := range len(s) {
		switch c := s[i]; c {
		case '"', ',', '\r', '\n':
			if !quoted {
				quoted = true
				dst = append(append(dst[:start], '"'), s[:i]...)
			}
			if c == '"' {
				dst = append(dst, '"')
			}
			dst = append(dst, c)
		default:
			dst = append(dst, c)
		}
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
