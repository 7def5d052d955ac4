package files

import (
	"errors"
	"io/fs"
	"syscall"

	"shoal/netio"
)

// Errors by which a file fails, beside those of io/fs (ErrNotExist, ErrPermission, ErrExist); an *Error matches one of
// them by errors.Is.
var (
	ErrName        = errors.New("bad name")
	ErrOutside     = errors.New("leads out of the root")
	ErrNotRegular  = errors.New("neither a file, a folder nor a symbolic link")
	ErrFolder      = errors.New("a folder stands where a file should be, or the reverse")
	ErrChanged     = errors.New("changed while it was read")
	ErrCorrupt     = errors.New("content does not have the hash that was sent")
	ErrNoSpace     = errors.New("no space left")
	ErrReadOnly    = errors.New("gateway does not let clients write")
	ErrInUse       = errors.New("another transfer writes it")
	ErrClash       = errors.New("two files for one name")
	ErrNothing     = errors.New("nothing there by that name or pattern")
	ErrUnavailable = errors.New("gateway offers no files")
)

// Code says on the wire why a file failed.
type Code uint16

// The codes. They are part of the protocol: none is ever given another meaning.
const (
	CodeOther      Code = 0
	CodeNotExist   Code = 1
	CodePermission Code = 2
	CodeExist      Code = 3
	CodeName       Code = 4
	CodeOutside    Code = 5
	CodeNotRegular Code = 6
	CodeFolder     Code = 7
	CodeChanged    Code = 8
	CodeCorrupt    Code = 9
	CodeNoSpace    Code = 10
	CodeReadOnly   Code = 11
	CodeInUse      Code = 12
	CodeClash      Code = 13
	CodeNothing    Code = 14
)

var codeErrors = map[Code]error{
	CodeNotExist: fs.ErrNotExist, CodePermission: fs.ErrPermission, CodeExist: fs.ErrExist, CodeName: ErrName,
	CodeOutside: ErrOutside, CodeNotRegular: ErrNotRegular, CodeFolder: ErrFolder, CodeChanged: ErrChanged,
	CodeCorrupt: ErrCorrupt, CodeNoSpace: ErrNoSpace, CodeReadOnly: ErrReadOnly, CodeInUse: ErrInUse,
	CodeClash: ErrClash, CodeNothing: ErrNothing,
}

// Error is why one file failed.
type Error struct {
	Path string // below the root of the side that met it
	Code Code
	Text string
}

func (e *Error) Error() string {
	if e.Path == "" {
		return e.reason()
	}
	return e.Path + ": " + e.reason()
}

func (e *Error) reason() string {
	if named := codeErrors[e.Code]; e.Text == "" && named != nil {
		return named.Error()
	}
	return e.Text
}

// Is reports whether target is the error of this code.
func (e *Error) Is(target error) bool { return target != nil && target == codeErrors[e.Code] }

func refuse(code Code, p, text string) *Error { return &Error{Path: p, Code: code, Text: text} }

// fileError makes an *Error of what the system said about p.
func fileError(p string, err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		if e.Path == "" {
			e = &Error{p, e.Code, e.Text}
		}
		return e
	}
	code := CodeOther
	switch {
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		code = CodeNoSpace
	case errors.Is(err, syscall.EISDIR), errors.Is(err, syscall.ENOTDIR):
		code = CodeFolder
	case errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENXIO):
		code = CodeNotRegular
	case errors.Is(err, syscall.ENAMETOOLONG):
		code = CodeName
	case errors.Is(err, fs.ErrNotExist):
		code = CodeNotExist
	case errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		code = CodePermission
	case errors.Is(err, fs.ErrExist):
		code = CodeExist
	case err.Error() == escapes:
		code = CodeOutside
	}
	var pe *fs.PathError // its path is that of a temporary file, often
	if errors.As(err, &pe) {
		if pe.Err.Error() == escapes {
			code = CodeOutside
		}
		err = pe.Err
	}
	return &Error{p, code, err.Error()}
}

// escapes is what os.Root says of a path that leads out of it; package os exports no error for that.
const escapes = "path escapes from parent"

// fatal reports whether err ends a whole transfer rather than one file of it.
func fatal(err error) bool {
	var e *Error
	return err != nil && !errors.As(err, &e)
}

// mostTries is how often a stream is opened in all whose end was err: what it did not finish is simply done again.
func mostTries(err error) int {
	switch {
	case errors.Is(err, netio.ErrLost):
		return lostTries
	case errors.Is(err, netio.ErrBusy):
		return busyTries
	}
	return 1
}
