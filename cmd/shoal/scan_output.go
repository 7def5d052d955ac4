package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"

	"shoal/netio/runner/probe"
)

// scanWriter writes the results of a scan in one of three formats. One goroutine owns it; after an error of the writer below
// nothing more is written.
//
// text is a line `target:port<TAB>answer<TAB>what else is known`, icmp standing for the port of an echo request; what the
// other side said is escaped as in the output of tasks. jsonl is an object a line, the JSON form of probe.Result. csv has a
// header line and the same members; what the other side said is escaped as in text.
type scanWriter struct {
	w      io.Writer
	append func(dst []byte, r *probe.Result) ([]byte, error)
	buf    []byte
	err    error
}

func newScanWriter(w io.Writer, format string, header bool) *scanWriter {
	sw := &scanWriter{w: w}
	switch format {
	case "text":
		sw.append = appendScanText
	case "jsonl":
		sw.append = appendScanJSON
	default:
		sw.append = appendScanCSV
		if header {
			sw.buf, sw.err = appendRow(nil, scanColumns)
		}
	}
	return sw
}

// Write adds a result; it keeps nothing of it.
func (sw *scanWriter) Write(r *probe.Result) error {
	if sw.err == nil {
		sw.buf, sw.err = sw.append(sw.buf, r)
	}
	if sw.err == nil && len(sw.buf) >= outputBuffer {
		return sw.Flush()
	}
	return sw.err
}

// Flush writes what is buffered.
func (sw *scanWriter) Flush() error {
	if sw.err == nil && len(sw.buf) > 0 {
		_, sw.err = sw.w.Write(sw.buf)
		sw.buf = sw.buf[:0]
	}
	return sw.err
}

func appendScanText(dst []byte, r *probe.Result) ([]byte, error) {
	port := string(r.Protocol)
	if r.Protocol == probe.TCP {
		port = strconv.Itoa(int(r.Port))
	}
	dst = append(append(dst, net.JoinHostPort(r.Target, port)...), '\t')
	dst = append(append(dst, r.Answer.String()...), '\t')
	dst = appendTextField(dst, scanRemarks(r), true)
	return append(dst, '\n'), nil
}

// scanRemarks is what is known of a result beside its answer.
func scanRemarks(r *probe.Result) string {
	var parts []string
	add := func(format string, args ...any) {
		if text := strings.TrimSpace(fmt.Sprintf(format, args...)); text != "" {
			parts = append(parts, text)
		}
	}
	add("%s", r.Reason)
	s := r.Service
	if s == nil {
		return strings.Join(parts, "; ")
	}
	add("%s", s.Banner)
	if t := s.TLS; t != nil && t.Error == "" {
		add("TLS %s %s until %s", t.Version, strings.Join(t.Names, ","), t.NotAfter.Format(time.DateOnly))
	} else if t != nil {
		add("TLS: %s", t.Error)
	}
	if h := s.HTTP; h != nil && h.Error == "" {
		add("HTTP %d %s %s", h.Status, h.Server, quotedUnlessEmpty(h.Title))
	} else if h != nil {
		add("HTTP: %s", h.Error)
	}
	add("%s", s.Error)
	return strings.Join(parts, "; ")
}

func quotedUnlessEmpty(s string) string {
	if s == "" {
		return ""
	}
	return strconv.Quote(s)
}

func appendScanJSON(dst []byte, r *probe.Result) ([]byte, error) {
	line, err := json.Marshal(r)
	return append(append(dst, line...), '\n'), err
}

var scanColumns = []string{"target", "address", "port", "protocol", "answer", "reason", "attempts", "elapsed_ms", "banner",
	"tls_version", "tls_names", "tls_issuer", "tls_not_after", "tls_error", "http_status", "http_server", "http_title", "http_error",
	"service_error"}

func appendScanCSV(dst []byte, r *probe.Result) ([]byte, error) {
	row := make([]string, len(scanColumns))
	copy(row, []string{r.Target, "", "", string(r.Protocol), r.Answer.String(), r.Reason, strconv.Itoa(r.Attempts),
		string(appendMillis(nil, r.Elapsed))})
	if r.Address.IsValid() {
		row[1] = r.Address.String()
	}
	if r.Protocol == probe.TCP {
		row[2] = strconv.Itoa(int(r.Port))
	}
	if s := r.Service; s != nil {
		row[8], row[18] = string(s.Banner), s.Error
		if t := s.TLS; t != nil {
			copy(row[9:], []string{t.Version, strings.Join(t.Names, " "), t.Issuer, "", t.Error})
			if !t.NotAfter.IsZero() {
				row[12] = t.NotAfter.Format(time.RFC3339)
			}
		}
		if h := s.HTTP; h != nil {
			copy(row[14:], []string{"", h.Server, h.Title, h.Error})
			if h.Status != 0 {
				row[14] = strconv.Itoa(h.Status)
			}
		}
	}
	for i := range row {
		row[i] = string(appendTextField(nil, row[i], true))
	}
	return appendRow(dst, row)
}

func appendRow(dst []byte, row []string) ([]byte, error) {
	var line strings.Builder
	w := csv.NewWriter(&line)
	w.UseCRLF = true
	_ = w.Write(row) // a strings.Builder takes everything
	w.Flush()
	return append(dst, line.String()...), w.Error()
}
