package proto

import (
	"encoding/binary"
	"fmt"
	"unicode/utf8"
)

// Status is the terminal status of a task or a stream.
type Status uint8

// The statuses. StatusLost never crosses the wire.
const (
	StatusOK                Status = 0
	StatusFailed            Status = 1
	StatusPanicked          Status = 2
	StatusTimeout           Status = 3
	StatusCanceled          Status = 4
	StatusBusy              Status = 5
	StatusDraining          Status = 6
	StatusUnknownSubroutine Status = 7
	StatusUnknownTask       Status = 8
	StatusLost              Status = 9
	StatusNotAllowed        Status = 10
)

var statusNames = [...]string{"ok", "failed", "panicked", "timeout", "canceled", "busy", "draining",
	"unknown_subroutine", "unknown_task", "lost", "not_allowed"}

// String returns the name as it stands in output files: lower case, words joined by underscores.
func (s Status) String() string {
	if int(s) < len(statusNames) {
		return statusNames[s]
	}
	return fmt.Sprintf("status_%d", uint8(s))
}

// onWire reports whether the status may come from a peer.
func (s Status) onWire() bool { return int(s) < len(statusNames) && s != StatusLost }

// Codes of errors that shoal itself gives; a subroutine's own start at CodeOwn.
const (
	CodeNone        = 0
	CodeTooLarge    = 1
	CodeWrongShape  = 2
	CodeBadArgument = 3
	CodeBadField    = 4
	CodeOwn         = 1024
)

// Error is what the bytes of a result hold when the status is not ok.
type Error struct {
	Code    uint16
	Text    string
	Details []byte
}

// maxErrorText keeps the text within its length field.
const maxErrorText = 1<<16 - 1

// AppendError appends the bytes of an error; a text above 65535 bytes is cut.
func AppendError(dst []byte, e Error) []byte {
	text := cutText(e.Text, maxErrorText)
	dst = binary.LittleEndian.AppendUint16(dst, e.Code)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(text)))
	dst = append(dst, text...)
	return append(dst, e.Details...)
}

// ParseError reads the bytes of an error; no bytes are the zero Error. Details alias src.
func ParseError(src []byte) (Error, error) {
	if len(src) == 0 {
		return Error{}, nil
	}
	if len(src) < 4 {
		return Error{}, malformed("error of %d bytes", len(src))
	}
	size := int(binary.LittleEndian.Uint16(src[2:]))
	if len(src)-4 < size {
		return Error{}, malformed("error text of %d bytes, %d left", size, len(src)-4)
	}
	e := Error{Code: binary.LittleEndian.Uint16(src), Text: string(src[4 : 4+size])}
	if rest := src[4+size:]; len(rest) > 0 {
		e.Details = rest
	}
	return e, nil
}

// cutText returns at most the first limit bytes of a text, whole characters only where it is UTF-8.
func cutText(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	for n := limit; n > limit-utf8.UTFMax; n-- {
		if utf8.RuneStart(text[n]) {
			return text[:n]
		}
	}
	return text[:limit]
}
