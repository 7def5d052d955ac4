package files

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/zeebo/xxh3"
)

// Names of the subroutines; `client list` does not show names that begin like these.
const (
	nameList   = "shoal.files.list"
	nameGet    = "shoal.files.get"
	namePut    = "shoal.files.put"
	nameLarge  = "shoal.files.large"
	nameRange  = "shoal.files.range"
	nameFinish = "shoal.files.finish"
)

// Sizes. Those of blocks and of chunks are part of the protocol.
const (
	blockSize   = 256 << 10          // of content that has a hash of its own
	chunkSize   = 64<<10 - 256       // bytes of records in one chunk, before compression
	rangeSize   = 8 << 20            // of a large file that one stream carries
	largeSize   = 8 << 20            // files from here on are cut into ranges
	batchBytes  = 2 << 20            // of content of the files of one batch, but for the last of them
	batchFiles  = 512                // files of one batch
	argumentMax = 512 << 10          // bytes of the argument of a stream
	recordMax   = chunkSize - header // bytes of one record
)

// Kind is what an entry is.
type Kind uint8

// The kinds of entries.
const (
	KindFile    Kind = 1
	KindFolder  Kind = 2
	KindLink    Kind = 3
	KindProblem Kind = 4 // something that cannot be sent; Err says why
)

func (k Kind) String() string {
	switch k {
	case KindFile:
		return "file"
	case KindFolder:
		return "folder"
	case KindLink:
		return "link"
	}
	return "problem"
}

// Entry is one file, folder or symbolic link.
type Entry struct {
	Path     string // below the root, slashes between its elements
	Kind     Kind
	Size     int64  // of a file
	Modified int64  // nanoseconds since 1970
	Mode     uint32 // permission bits
	Link     string // where a symbolic link leads
	Err      *Error // of a problem

	base int // bytes of Path that say where it was found rather than where it goes
}

// target is the part of Path that says where it goes below the target folder; "." is that folder itself.
func (e *Entry) target() string {
	if e.base >= len(e.Path) {
		return "."
	}
	return e.Path[e.base:]
}

// Every chunk is a run of records: u8 kind, u32 length, so many bytes. A record never goes on in the next chunk. The
// ident of a chunk says how it is compressed.
const header = 5

// Kinds of records.
const (
	recEntry  = 'e' // an entry, in lists
	recData   = 'd' // content, up to the end of a block at most
	recSum    = 'h' // 16 bytes: hash of the block that ends here
	recSame   = 's' // get, put: the content is what the receiver has; range: the next block is
	recDiffer = 'x' // the content is not what the receiver has, and was not asked for
	recAgain  = 'r' // forget what came of this file: it changed while it was read, and is sent anew
	recEnd    = 'a' // i64 size, i64 mtime, u32 mode: end of a file, with what it has now
	recFailed = 'f' // u16 code, text: end of a file that cannot be sent or taken
	recNeed   = 'n' // put: send it
	recKeep   = 'k' // put: what is there stays
	recAsk    = 'c' // put: 16 bytes, the hash of what is there: send it if it differs
	recDone   = 'o' // it has taken its place
	recSums   = 'p' // range: hashes of the blocks that are there, 16 bytes each
	recFolder = 't' // finish: u8 flags, i64 mtime, u32 mode, path: a folder
	recFrom   = 'm' // finish: folders of the source that it comes from: u16 length, so many bytes, …
	recNames  = 'l' // finish: names that stay in the folder: u16 length, so many bytes, …
	recGone   = 'g' // finish: path of something that was removed
)

// Ident of a chunk.
const (
	plainChunk int64 = 0
	s2Chunk    int64 = 1
	zstdChunk  int64 = 2
)

var errWire = errors.New("files: the other side breaks the protocol")

func wireError(format string, args ...any) error {
	return fmt.Errorf("%w: %s", errWire, fmt.Sprintf(format, args...))
}

// sum is the hash of a block: XXH3, 128 bits. That of a whole file is the hash of the hashes of its blocks.
type sum [16]byte

func sumOf(b []byte) sum { return xxh3.Hash128(b).Bytes() }

// fields reads the fields of a record; after the first that is not there, ok is false and all are zero.
type fields struct {
	b   []byte
	bad bool
}

func (f *fields) take(n int) []byte {
	if n < 0 || n > len(f.b) {
		f.bad, f.b = true, nil
		return nil
	}
	b := f.b[:n:n]
	f.b = f.b[n:]
	return b
}

func (f *fields) u8() uint8 {
	if b := f.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (f *fields) u16() uint16 {
	if b := f.take(2); b != nil {
		return binary.LittleEndian.Uint16(b)
	}
	return 0
}

func (f *fields) u32() uint32 {
	if b := f.take(4); b != nil {
		return binary.LittleEndian.Uint32(b)
	}
	return 0
}

func (f *fields) i64() int64 {
	if b := f.take(8); b != nil {
		return int64(binary.LittleEndian.Uint64(b))
	}
	return 0
}

func (f *fields) text() string { return string(f.take(int(f.u16()))) }

func (f *fields) sum() (s sum) {
	copy(s[:], f.take(len(s)))
	return s
}

func appendText(dst []byte, s string) []byte {
	s = s[:min(len(s), 1<<16-1)]
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(s)))
	return append(dst, s...)
}

// An entry: u8 kind, i64 size, i64 mtime, u32 mode, u16 base, then path, link and text of a problem, each with a u16
// for its length, then the u16 code of a problem.
func appendEntry(dst []byte, e *Entry) []byte {
	dst = append(dst, byte(e.Kind))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.Size))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(e.Modified))
	dst = binary.LittleEndian.AppendUint32(dst, e.Mode)
	dst = binary.LittleEndian.AppendUint16(dst, uint16(e.base))
	dst = appendText(appendText(dst, e.Path), e.Link)
	if e.Err == nil {
		return append(dst, 0, 0, 0, 0)
	}
	dst = appendText(dst, e.Err.Text[:min(len(e.Err.Text), maxPath)])
	return binary.LittleEndian.AppendUint16(dst, uint16(e.Err.Code))
}

// entry reads an entry and checks everything in it but for its names.
func (f *fields) entry() (e Entry, err error) {
	e.Kind, e.Size, e.Modified, e.Mode, e.base = Kind(f.u8()), f.i64(), f.i64(), f.u32(), int(f.u16())
	e.Path, e.Link = f.text(), f.text()
	text, code := f.text(), Code(f.u16())
	switch {
	case f.bad:
		return e, wireError("short entry")
	case e.Kind < KindFile || e.Kind > KindProblem, e.Size < 0, e.Mode&^0o777 != 0, e.base > len(e.Path)+1:
		return e, wireError("entry of kind %d, size %d, mode %o, base %d", e.Kind, e.Size, e.Mode, e.base)
	case e.Kind == KindProblem:
		e.Err = &Error{e.Path, code, text}
	}
	return e, nil
}

// Flags of a folder in finish.
const (
	folderKnown = 1 << 0 // its time and mode are to be given to it
	folderPrune = 1 << 1
)

func (e *folderEnd) append(dst []byte) []byte {
	flags := byte(0)
	if e.known {
		flags |= folderKnown
	}
	if e.prune {
		flags |= folderPrune
	}
	dst = binary.LittleEndian.AppendUint64(append(dst, flags), uint64(e.now.modified))
	dst = binary.LittleEndian.AppendUint32(dst, e.now.mode)
	return append(dst, e.path...)
}

func parseFolder(body []byte) (*folderEnd, error) {
	f := fields{b: body}
	flags := f.u8()
	e := &folderEnd{known: flags&folderKnown != 0, prune: flags&folderPrune != 0}
	e.now = attributes{modified: f.i64(), mode: f.u32()}
	e.path = string(f.b)
	if f.bad || e.now.mode&^0o777 != 0 {
		return nil, wireError("folder in %d bytes, mode %o", len(body), e.now.mode)
	}
	return e, checkPath(e.path)
}

// attributes are what a file has beside its content.
type attributes struct {
	size, modified int64
	mode           uint32
}

func (a attributes) append(dst []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(a.size))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(a.modified))
	return binary.LittleEndian.AppendUint32(dst, a.mode)
}

func parseAttributes(body []byte) (attributes, error) {
	f := fields{b: body}
	a := attributes{f.i64(), f.i64(), f.u32()}
	if f.bad || len(f.b) > 0 || a.size < 0 || a.mode&^0o777 != 0 {
		return a, wireError("end of a file in %d bytes, mode %o", len(body), a.mode)
	}
	return a, nil
}

func parseFailed(p string, body []byte) *Error {
	f := fields{b: body}
	code := Code(f.u16())
	return &Error{p, code, string(f.b)}
}
