package files

import (
	"context"
	"errors"
	"io"
	"path"

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
// with a u16 for its length. The client sends for each folder an entry, whose size is 1 where it is to be pruned and
// whose link is the folder's path in the source: what is excluded there is spared. The names that stay follow. The
// answers name what was removed (recGone) and what went wrong (recFailed, with the path before it).
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
	case kind == recEntry:
		if err := e.end(); err != nil {
			return err
		}
		return e.begin(f)
	case kind == recNames && e.folder != nil:
		for len(f.b) > 0 {
			if len(e.folder.stays) >= maxNames {
				return refuse(CodeOther, e.folder.path, "too many names for --delete")
			}
			e.folder.stays[f.text()] = struct{}{}
		}
		if f.bad {
			return wireError("short names")
		}
		return nil
	}
	return wireError("record %q for a folder", kind)
}

func (e *finisher) begin(f fields) error {
	entry, err := f.entry()
	if err == nil {
		err = checkPath(entry.Path)
	}
	if err != nil {
		return err
	}
	from := entry.Link
	e.folder = &folderEnd{path: entry.Path, known: entry.Modified != 0,
		now:    attributes{modified: entry.Modified, mode: entry.Mode},
		prune:  e.prune && entry.Size == 1,
		stays:  map[string]struct{}{},
		spared: func(base string) bool { return e.exclude.match(path.Join(from, base)) },
		tell:   func(gone string) { e.sendErr = errors.Join(e.sendErr, e.out.record(recGone, []byte(gone))) }}
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

// maxNames bounds what one folder's names may take of the gateway's memory.
const maxNames = 1 << 18

func appendFailure(dst []byte, e *Error) []byte {
	dst = appendText(dst, e.Path)
	dst = append(dst, byte(e.Code), byte(e.Code>>8))
	text := e.reason()
	return append(dst, text[:min(len(text), maxPath)]...)
}
