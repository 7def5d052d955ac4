package table

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"shoal/netio/lines"
)

// A commands file has lines `host:command`, a table file lines `host:command:response:seconds`. In both
//
//   - a colon inside a field is written `\:` and a backslash `\\`; a backslash before anything else stands for itself;
//   - a line that begins with `[` begins with an IPv6 address in brackets, taken as it is, without escapes;
//   - lines are as a lines.Scanner reads them: blanks around a line are trimmed, blank lines and lines that start with `#` are
//     skipped, lines end in LF or CRLF, and a leading BOM is no text;
//   - of a host, the case of its letters and the spelling of an IPv6 address do not matter;
//   - nothing else is trimmed or folded: a field may hold any bytes but a line feed, and a # after a task is part of it.

// maxWait bounds the seconds of a table entry: longer than a day is a mistake of units.
const maxWait = 24 * time.Hour

var (
	errNoColon      = errors.New("no colon: write host:command")
	errExtraColon   = errors.New(`a colon too many: inside a field it is written \:, and an IPv6 host in brackets`)
	errEmptyHost    = errors.New("the host is empty")
	errEmptyCommand = errors.New("the command is empty")
	errBracket      = errors.New("no ] after [: an IPv6 host is written [address]:command")
	errAfterBracket = errors.New("a colon must follow the ] of an IPv6 host")
	errNotIPv6      = errors.New("what stands in brackets is no IPv6 address")
)

// Entry is what the table answers to one task, and how long it waits before.
type Entry struct {
	Response []byte // shared by all readers of the table: not to be changed
	Wait     time.Duration
}

// Options say how strictly a table file is read; the zero value is strict.
type Options struct {
	AllowDuplicates bool // the later of two lines for one task wins, instead of being an error
}

// Parse reads a table file. The keys of the map are as Key makes them: what a client sends for that task.
// If any line is malformed, or the file has no entry, the error is a *lines.FileError that names all of them and there is no map;
// name stands for the file there. The map belongs to the caller.
func Parse(name string, r io.Reader, opts Options) (map[string]Entry, error) {
	table := make(map[string]Entry)
	firstLine := make(map[string]int)
	var key []byte
	problems, err := lines.Scan(r, func(line int, text []byte) error {
		entry, err := Entry{}, error(nil)
		if key, entry, err = parseTableLine(key[:0], text); err != nil {
			return err
		}
		first, again := firstLine[string(key)]
		if again && !opts.AllowDuplicates {
			return fmt.Errorf("the same task as in line %d", first)
		}
		if !again {
			firstLine[string(key)] = line
		}
		table[string(key)] = entry
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	if len(problems) == 0 && len(table) == 0 {
		problems = []lines.Problem{{Reason: "no entries: write host:command:response:seconds, one a line"}}
	}
	if len(problems) > 0 {
		return nil, &lines.FileError{Name: name, Problems: problems}
	}
	return table, nil
}

func parseTableLine(dst, line []byte) (key []byte, entry Entry, err error) {
	f, err := splitLine(line)
	if err != nil {
		return dst, entry, err
	}
	if f.n < 4 {
		return dst, entry, fmt.Errorf("%d of the 4 fields host:command:response:seconds", f.n)
	}
	if f.n > 4 {
		return dst, entry, errExtraColon
	}
	if err := f.checkTask(); err != nil {
		return dst, entry, err
	}
	if entry.Wait, err = parseWait(f.raw[3]); err != nil {
		return dst, entry, err
	}
	entry.Response = appendUnescaped(make([]byte, 0, len(f.raw[2])), f.raw[2])
	return f.appendKey(dst), entry, nil
}

func parseWait(field []byte) (time.Duration, error) {
	if len(field) == 0 {
		return 0, errors.New("the seconds are missing")
	}
	seconds, err := strconv.ParseFloat(string(bytes.TrimSpace(field)), 64)
	if err != nil && !errors.Is(err, strconv.ErrRange) {
		return 0, fmt.Errorf("the seconds %s are not a number", quoteShort(field))
	}
	switch {
	case math.IsNaN(seconds), math.IsInf(seconds, 0) && err == nil:
		return 0, fmt.Errorf("the seconds %s are not a finite number", quoteShort(field))
	case seconds < 0:
		return 0, fmt.Errorf("the seconds %s are negative", quoteShort(field))
	case seconds > maxWait.Seconds():
		return 0, fmt.Errorf("the seconds %s are more than %.0f, a day", quoteShort(field), maxWait.Seconds())
	}
	return time.Duration(math.Round(seconds * float64(time.Second))), nil
}

// quoteShort keeps a reason on one line and of a length that can be read, whatever the file holds.
func quoteShort(field []byte) string {
	const longest = 40
	if len(field) > longest {
		return strconv.Quote(string(field[:longest])) + "…"
	}
	return strconv.Quote(string(field))
}

// Key is the canonical text of a task: what a client sends and a table is keyed by. It is the line of a commands file
// that means host and command, with an IPv6 host in brackets and every other colon and backslash of a field escaped, so
// that no two different tasks share a key. One host has one key: its letters are lower case, an IPv6 address is spelled as
// RFC 5952 has it. The caller owns it.
func Key(host, command string) []byte {
	key := make([]byte, 0, len(host)+len(command)+len("[]:"))
	if bracketed(host) {
		key = appendBracketed(key, host)
	} else {
		key = appendEscaped(key, host)
		lower(key)
	}
	return appendEscaped(append(key, ':'), command)
}

// SplitKey returns the host and the command of a Key, without escapes and brackets; false means that key is none.
func SplitKey(key []byte) (host, command string, ok bool) {
	f, err := splitLine(key)
	if err != nil || f.n != 2 || f.checkTask() != nil {
		return "", "", false
	}
	host, command = string(f.raw[0]), string(f.raw[1])
	if !f.bracketed && strings.IndexByte(host, '\\') >= 0 {
		host = string(appendUnescaped(nil, f.raw[0]))
	}
	if strings.IndexByte(command, '\\') >= 0 {
		command = string(appendUnescaped(nil, f.raw[1]))
	}
	return host, command, true
}

// appendBracketed appends an IPv6 address in brackets, in the one spelling that RFC 5952 recommends.
func appendBracketed(dst []byte, host string) []byte {
	addr, err := netip.ParseAddr(host)
	if err != nil { // cannot be: the caller has looked
		return append(append(append(dst, '['), host...), ']')
	}
	return append(addr.AppendTo(append(dst, '[')), ']')
}

// lower makes ASCII letters lower case, in place.
func lower(b []byte) {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
}

// AppendKey appends the Key of a line `host:command` to dst: at most 2×len(line)+2 bytes. The error says what is
// wrong with the line; dst is then returned as it was. A Key is its own key.
func AppendKey(dst, line []byte) ([]byte, error) {
	f, err := splitLine(line)
	if err != nil {
		return dst, err
	}
	if f.n < 2 {
		return dst, errNoColon
	}
	if f.n > 2 {
		return dst, errExtraColon
	}
	if err := f.checkTask(); err != nil {
		return dst, err
	}
	return f.appendKey(dst), nil
}

// fields are those of one line, as slices of it.
type fields struct {
	raw       [4][]byte // still escaped
	n         int       // how many the line has, which may be more than raw holds
	bracketed bool      // raw[0] stood in brackets, and has neither them nor escapes
}

func splitLine(line []byte) (f fields, err error) {
	if len(line) > 0 && line[0] == '[' {
		end := bytes.IndexByte(line, ']')
		switch {
		case end < 0:
			return f, errBracket
		case !bracketed(string(line[1:end])):
			return f, errNotIPv6
		case end+1 == len(line):
			return fields{n: 1}, nil
		case line[end+1] != ':':
			return f, errAfterBracket
		}
		f.bracketed, f.n, f.raw[0] = true, 1, line[1:end]
		line = line[end+2:]
	}
	for {
		end := fieldEnd(line)
		if f.n < len(f.raw) {
			f.raw[f.n] = line[:end]
		}
		f.n++
		if end == len(line) {
			return f, nil
		}
		line = line[end+1:]
	}
}

// fieldEnd is the index of the first unescaped colon of s, or its length.
func fieldEnd(s []byte) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case ':':
			return i
		case '\\':
			if escapes(s, i) {
				i++
			}
		}
	}
	return len(s)
}

// escapes reports whether the backslash s[i] and the byte after it are one escape.
func escapes(s []byte, i int) bool { return i+1 < len(s) && (s[i+1] == ':' || s[i+1] == '\\') }

func (f *fields) checkTask() error {
	if len(f.raw[0]) == 0 {
		return errEmptyHost
	}
	if len(f.raw[1]) == 0 {
		return errEmptyCommand
	}
	return nil
}

// appendKey appends what Key gives for the unescaped fields, without unescaping where there is nothing to unescape.
func (f *fields) appendKey(dst []byte) []byte {
	host := f.raw[0]
	unescaped := host
	if !f.bracketed && bytes.IndexByte(host, '\\') >= 0 { // only an escape brings a colon into a host without brackets
		unescaped = appendUnescaped(nil, host)
	}
	if f.bracketed || len(unescaped) < len(host) && bracketed(string(unescaped)) {
		dst = appendBracketed(dst, string(unescaped))
	} else {
		start := len(dst)
		dst = appendCanonical(dst, host)
		lower(dst[start:])
	}
	return appendCanonical(append(dst, ':'), f.raw[1])
}

// bracketed reports whether host is an IPv6 address that brackets can hold: a zone may be any text, also one with a `]`.
func bracketed(host string) bool {
	if !strings.Contains(host, ":") || strings.Contains(host, "]") {
		return false
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Is6()
}

func appendEscaped(dst []byte, s string) []byte {
	for i := range len(s) {
		if s[i] == ':' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return dst
}

func appendUnescaped(dst, raw []byte) []byte {
	for i := 0; i < len(raw); i++ {
		if raw[i] == '\\' && escapes(raw, i) {
			i++
		}
		dst = append(dst, raw[i])
	}
	return dst
}

// appendCanonical appends an escaped field with the backslashes that stood for themselves escaped as well.
func appendCanonical(dst, raw []byte) []byte {
	if bytes.IndexByte(raw, '\\') < 0 {
		return append(dst, raw...)
	}
	for i := 0; i < len(raw); i++ {
		if raw[i] == '\\' {
			dst = append(dst, '\\')
			if escapes(raw, i) {
				i++
			}
		}
		dst = append(dst, raw[i])
	}
	return dst
}
