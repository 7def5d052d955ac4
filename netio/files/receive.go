package files

import (
	"errors"
	"io/fs"
	"os"

	"github.com/zeebo/xxh3"
)

// incoming is a file on its way: written under a temporary name, and renamed when all of it is there and right.
type incoming struct {
	folder int // its descriptor, the target's
	path   string
	base   string
	f      *plainFile
	size   int64
	open   bool // a block has begun whose hash has not come
}

// create begins a file. The target must not be used for another until that has ended.
func (t *target) create(p string) (*incoming, error) {
	dir, base := split(p)
	folder, err := t.place(dir)
	if err != nil {
		return nil, err
	}
	f, err := openIn(folder, newTemp(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, t.newMode())
	if err != nil {
		return nil, err
	}
	lock(f.fd) // new and ours: nobody else can have it
	return &incoming{folder: folder, path: p, base: base, f: f}, nil
}

func (w *incoming) write(b []byte) error {
	n, err := w.f.Write(b)
	w.size += int64(n)
	return err
}

// restart forgets what was written.
func (w *incoming) restart() error {
	w.size = 0
	return w.f.restart()
}

// discard ends it without a trace.
func (w *incoming) discard() {
	removeIn(w.folder, w.f.name)
	_ = w.f.Close()
}

// commit puts the file in its place.
func (t *target) commit(w *incoming, a attributes) error {
	err := t.settle(w, a)
	if err == nil {
		err = renameIn(w.folder, w.f.name, w.base)
	}
	if err != nil {
		w.discard()
		return err
	}
	return w.f.Close()
}

// settle gives a file its mode and time and flushes it as the rules ask.
func (t *target) settle(w *incoming, a attributes) error {
	if t.preserve {
		if err := w.f.chmod(a.mode); err != nil {
			return err
		}
		if err := setTime(w.folder, w.f.name, a.modified); err != nil {
			return err
		}
	}
	if t.fsync != FsyncNone {
		return w.f.sync()
	}
	return nil
}

// receiver takes files from a stream into a target. One goroutine uses it.
type receiver struct {
	in     *chunkReader
	target *target
	hash   xxh3.Hasher
	got    func(bytes int64) // told of content that arrived; may be nil
	spared func(bytes int64) // told of blocks that were there; may be nil
}

// outcome says how a file ended that nothing went wrong with.
type outcome struct {
	now   attributes // of the sender's file
	same  bool       // it was there already
	diff  bool       // it differs, and was not asked for
	bytes int64      // of content
}

// file takes one file; with verdictOnly no more than whether it differs, whatever the sender says. The first error is the
// file's, the second ends the stream. It is known by its place in the stream, so its name never comes from the content.
func (r *receiver) file(p string, verdictOnly bool) (o outcome, failure *Error, err error) {
	var w *incoming
	defer func() {
		if w != nil {
			w.discard()
		}
	}()
	fail := func(err error) {
		if failure == nil {
			failure = fileError(p, err)
		}
		if w != nil {
			w.discard()
			w = nil
		}
	}
	for {
		kind, body, err := r.in.expect()
		if err != nil {
			return o, failure, err
		}
		switch kind {
		case recData, recSum, recAgain:
			if failure != nil || kind == recAgain && w == nil {
				break
			}
			if verdictOnly {
				return o, failure, wireError("content that was not asked for")
			}
			if w == nil {
				if w, err = r.target.create(p); err != nil {
					fail(err)
					break
				}
			}
			if err := r.content(w, kind, body); err != nil {
				fail(err)
			}
		case recSame:
			o.same = true
		case recDiffer:
			o.diff = true
		case recFailed:
			fail(parseFailed(p, body))
			return o, failure, nil
		case recEnd:
			if o.now, err = parseAttributes(body); err != nil {
				return o, failure, err
			}
			if verdictOnly && !o.same && !o.diff {
				return o, failure, wireError("no verdict")
			}
			if failure == nil {
				o.bytes, err = r.end(w, p, &o)
				w = nil
				if err != nil {
					fail(err)
				}
			}
			return o, failure, nil
		default:
			return o, failure, wireError("record %q in a file", kind)
		}
	}
}

// content takes one record of content.
func (r *receiver) content(w *incoming, kind byte, body []byte) error {
	switch kind {
	case recData:
		if !w.open {
			r.hash.Reset()
			w.open = true
		}
		_, _ = r.hash.Write(body)
		if r.got != nil {
			r.got(int64(len(body)))
		}
		return w.write(body)
	case recSum:
		if !w.open || string(body) != string(sumBytes(&r.hash)) {
			return &Error{w.path, CodeCorrupt, ""}
		}
		w.open = false
		return nil
	}
	w.open = false
	return w.restart()
}

func sumBytes(h *xxh3.Hasher) []byte {
	s := h.Sum128().Bytes()
	return s[:]
}

// end finishes a file whose content has come. W, nil for a file without content, is used up.
func (r *receiver) end(w *incoming, p string, o *outcome) (int64, error) {
	if w == nil && (o.same || o.diff) {
		if o.same {
			return 0, r.target.touch(p, o.now)
		}
		return 0, nil
	}
	if w == nil {
		var err error
		if w, err = r.target.create(p); err != nil {
			return 0, err
		}
	}
	if w.open || w.size != o.now.size {
		w.discard()
		return 0, &Error{p, CodeCorrupt, "content is not as long as it should be"}
	}
	err := r.target.commit(w, o.now)
	if errors.Is(err, fs.ErrNotExist) {
		err = refuse(CodeCorrupt, p, "its temporary file was removed by somebody else")
	}
	return w.size, err
}
