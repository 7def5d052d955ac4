package main

import (
	"io"
	"unicode/utf8"
)

// visibleWriter writes text to a terminal so that the terminal obeys nothing in it: control characters, but for tabs and line
// ends, are written \xNN for each byte. What comes from a peer could otherwise set the title, move the cursor, or answer in
// the place of the keyboard. One goroutine uses it.
type visibleWriter struct {
	w    io.Writer
	rest []byte // the start of a rune, or of a line end, whose other bytes come with the next Write
	buf  []byte
}

func (v *visibleWriter) Write(b []byte) (int, error) {
	text := append(v.rest, b...)
	var used int
	v.buf, used = appendVisible(v.buf[:0], text)
	v.rest = append([]byte(nil), text[used:]...)
	if _, err := v.w.Write(v.buf); err != nil {
		return 0, err
	}
	if cap(v.buf) > keptBuffer {
		v.buf = nil
	}
	return len(b), nil
}

// close writes what was still waiting for its other bytes.
func (v *visibleWriter) close() error {
	if len(v.rest) == 0 {
		return nil
	}
	_, err := v.w.Write(appendHex(nil, v.rest))
	v.rest = nil
	return err
}

// appendVisible appends text, and returns how much of it: a rune or a line end that is cut off at the end is left.
func appendVisible(dst, text []byte) (_ []byte, used int) {
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '\t' || c == '\n' || c >= ' ' && c < 0x7f:
			dst = append(dst, c)
			i++
			continue
		case c == '\r' && i+1 == len(text), c >= utf8.RuneSelf && !utf8.FullRune(text[i:]):
			return dst, i
		case c == '\r' && text[i+1] == '\n':
			dst = append(dst, "\r\n"...)
			i += 2
			continue
		}
		size := 1
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRune(text[i:])
			if r > lastControl && !(r == utf8.RuneError && n == 1) {
				dst = append(dst, text[i:i+n]...)
				i += n
				continue
			}
			size = n
		}
		dst = appendHex(dst, text[i:i+size])
		i += size
	}
	return dst, len(text)
}

// lastControl is the last of the C1 controls, which terminals obey too.
const lastControl = 0x9f

func appendHex(dst, bytes []byte) []byte {
	for _, c := range bytes {
		dst = append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&0xf])
	}
	return dst
}

// visible is text for standard error, in one line, of which a peer may have written some.
func visible(text string) string { return string(appendTextField(nil, text, false)) }
