package files

import (
	"context"
	"errors"
	"io"

	"shoal/netio"
)

// finisher is one finish stream at the gateway.
type finisher struct {
	target  *target
	exclude excluder
	prune   bool
	out     *chunkWriter
	folder  *folderEnd // of which the client speaks; nil: none yet
	sendErr error
}

// finish does what is left to do with folders: see folderEnd. Its argument: rules; a Selection's Syntax and Exclude, each
// with a u16 for its length. The client sends each folder (recFolder). With folderPrune, the folders of the source
// that it comes from follow, what is excluded there is spared, and the names that stay. The answers name what was removed
// (recGone) and what went wrong (recFailed, with the path before it).
func (s *Server) finish(ctx context.Context, in []byte, st *netio.Stream) error {
	f := fields{b: in}
	r, flags, err := s.rules(&f)
	if err != nil {
		return err
	}
	sel := Selection{Syntax: Syntax(f.text())}
	for len(f.b) > 0 {
		sel.Exclude = append(sel.Exclude, f.text())
	}
	if f.bad || len(sel.Exclude) > maxPatterns {
		return wireError("short argument")
	}
	exclude, err := compileExclude(sel)
	if err != nil {
		return err
	}
	e := &finisher{target: newTarget(s.root, r), exclude: exclude, prune: flags&putPrune != 0,
		out: newChunkWriter(st, CompressNone, nil)}
	defer e.target.close()
	records := newChunkReader(st, nil)
	for {
		kind, body, err := records.next()
		if err == io.EOF {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err == nil {
			err = e.record(kind, fields{b: body})
		}
		if err != nil {
			return err
		}
	}
	if err := e.end(); err != nil {
		return err
	}
	return e.out.flush()
}

func (e *finisher) record(kind byte, f fields) error {
	switch {
	case kind == recFolder:
		if err := e.end(); err != nil {
			return err
		}
		return e.begin(f.b)
	case kind == recFrom && e.folder != nil:
		return e.texts(f, maxPath, maxFrom, func(from string) int { e.folder.comesFrom(from); return len(e.folder.from) })
	case kind == recNames && e.folder != nil:
		return e.texts(f, maxElement, maxNames, func(name string) int { e.folder.stay(name); return len(e.folder.stays) })
	}
	return wireError("record %q for a folder", kind)
}

// texts adds the texts of a record, each of so many bytes at most. Add returns how many there are.
func (e *finisher) texts(f fields, longest, most int, add func(text string) int) error {
	for len(f.b) > 0 {
		text := f.text()
		switch {
		case f.bad:
			return wireError("short names")
		case len(text) > longest:
			return refuse(CodeName, e.folder.path, "name for --delete that is too long")
		case add(text) > most:
			return refuse(CodeOther, e.folder.path, "too many names for --delete")
		}
	}
	return nil
}

func (e *finisher) begin(body []byte) error {
	folder, err := parseFolder(body)
	if err != nil {
		return err
	}
	folder.prune = folder.prune && e.prune
	folder.exclude = e.exclude
	folder.tell = func(gone string) { e.sendErr = errors.Join(e.sendErr, e.out.record(recGone, []byte(gone))) }
	e.folder = folder
	return nil
}

// end finishes the folder, now that all is known of it.
func (e *finisher) end() error {
	folder := e.folder
	if e.folder = nil; folder == nil {
		return nil
	}
	if err := e.target.finish(folder); err != nil {
		return errors.Join(e.sendErr, e.out.record(recFailed, appendFailure(nil, fileError(folder.path, err))))
	}
	return e.sendErr
}

// What bounds what one folder may take of the gateway's memory.
const (
	maxNames = 1 << 18
	maxFrom  = 1 << 10
)

func appendFailure(dst []byte, e *Error) []byte {
	dst = appendText(dst, e.Path)
	dst = append(dst, byte(e.Code), byte(e.Code>>8))
	text := e.reason()
	return append(dst, text[:min(len(text), maxPath)]...)
}
