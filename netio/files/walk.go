package files

import (
	"context"
	"errors"
	"io/fs"
)

// walker finds what a Selection means in a source.
type walker struct {
	src     source
	exclude excluder
	emit    func(e *Entry) error // an error ends the walk
	ctx     context.Context
}

// walk calls emit with everything that is selected: a folder before what is in it, the files of a folder one after
// another. What cannot be read is emitted as a problem, and so is a pattern that nothing matches. The entry is the
// walker's again when emit returns.
func walk(ctx context.Context, src source, s Selection, emit func(e *Entry) error) error {
	exclude, err := compileExclude(s)
	if err != nil {
		return err
	}
	w := &walker{src: src, exclude: exclude, emit: emit, ctx: ctx}
	for _, pattern := range s.Patterns {
		if err := w.pattern(pattern, s.Syntax); err != nil {
			return err
		}
	}
	return nil
}

func (w *walker) pattern(pattern string, syntax Syntax) error {
	if syntax == SyntaxAuto {
		p, contents, ok := clean(pattern)
		if !ok {
			return w.problem(pattern, refuse(CodeOutside, pattern, "not a path below the root"))
		}
		err := checkPath(p)
		if err == nil {
			var info fs.FileInfo
			if info, err = w.src.lstat(p); err == nil {
				return w.explicit(p, contents, info)
			}
		}
		if !hasMeta(pattern) {
			return w.problem(pattern, missing(pattern, err))
		}
	}
	m, err := compile(pattern, syntax)
	if err != nil {
		return w.problem(pattern, fileError(pattern, err))
	}
	start, base := ".", 0
	if m.glob != nil {
		if start = m.fixed(); start != "." {
			base = len(start) + 1
		}
		if err := checkPath(start); err != nil {
			return w.problem(pattern, fileError(pattern, err))
		}
	}
	if w.exclude.above(start) || start != "." && w.exclude.match(start) {
		return nil
	}
	count := 0
	if err := w.search(m, start, base, &count); err != nil {
		return err
	}
	if count == 0 {
		return w.problem(pattern, &Error{pattern, CodeNothing, ""})
	}
	return nil
}

func missing(pattern string, err error) *Error {
	if errors.Is(err, fs.ErrNotExist) {
		return &Error{pattern, CodeNothing, ""}
	}
	return fileError(pattern, err)
}

// explicit emits one file or folder that was named. With contents, what is in the folder goes to the target; without,
// the folder itself, unless it is excluded.
func (w *walker) explicit(p string, contents bool, info fs.FileInfo) error {
	if named := p != "." && !(contents && info.IsDir()); w.exclude.above(p) || named && w.exclude.match(p) {
		return nil
	}
	dir, _ := split(p)
	base := 0
	switch {
	case p == ".":
	case contents && info.IsDir():
		base = len(p) + 1
	case dir != ".":
		base = len(dir) + 1
	}
	return w.all(found{p, info, nil}, base)
}

// all emits something and everything below it; its name is a path.
func (w *walker) all(f found, base int) error {
	if err := w.one(f, base); err != nil || f.err != nil || !f.info.IsDir() {
		return err
	}
	return w.folder(f.name, func(child found) error {
		if child.err == nil && child.info.IsDir() {
			return nil
		}
		return w.one(child, base)
	}, func(child found) error { return w.all(child, base) })
}

// search emits what matches in folder p and below.
func (w *walker) search(m matcher, p string, base int, count *int) error {
	return w.folder(p, func(child found) error {
		if child.err != nil || !m.match(child.name) || child.info.IsDir() {
			return nil
		}
		*count++
		return w.one(child, base)
	}, func(child found) error {
		if m.regex == nil && m.match(child.name) {
			*count++
			return w.all(child, base)
		}
		if m.leads(child.name) {
			return w.search(m, child.name, base, count)
		}
		return nil
	})
}

// folder calls each with everything in folder p that is not excluded, and then, once the folder is closed, below with
// each folder in it.
func (w *walker) folder(p string, each, below func(child found) error) error {
	var folders []found
	err := w.src.list(p, func(_ string, infos []found) error {
		if err := w.ctx.Err(); err != nil {
			return err
		}
		for _, child := range infos {
			child.name = join(p, child.name)
			if w.exclude.match(child.name) {
				continue
			}
			if err := each(child); err != nil {
				return stopped{err}
			}
			if child.err == nil && child.info.IsDir() {
				folders = append(folders, child)
			}
		}
		return nil
	})
	var stop stopped
	switch {
	case errors.As(err, &stop):
		return stop.error
	case w.ctx.Err() != nil:
		return w.ctx.Err()
	case err != nil:
		if err := w.problem(p, fileError(p, err)); err != nil {
			return err
		}
	}
	for i, child := range folders {
		folders[i].info = nil
		if err := below(child); err != nil {
			return err
		}
	}
	return nil
}

// stopped is an error of emit rather than of the source.
type stopped struct{ error }

func (w *walker) problem(p string, err *Error) error {
	return w.emit(&Entry{Path: p[:min(len(p), maxPath)], Kind: KindProblem, Err: err})
}

// one emits something alone.
func (w *walker) one(f found, base int) error {
	if f.err != nil {
		return w.problem(f.name, fileError(f.name, f.err))
	}
	e := Entry{Path: f.name, Modified: modified(f.info), Mode: uint32(f.info.Mode().Perm()), base: base}
	switch mode := f.info.Mode(); {
	case mode.IsRegular():
		e.Kind, e.Size = KindFile, f.info.Size()
	case mode.IsDir():
		e.Kind = KindFolder
	case mode.Type() == fs.ModeSymlink:
		link, err := w.src.readlink(f.name)
		if err == nil {
			err = checkLink(f.name, link)
		}
		if err != nil {
			return w.problem(f.name, fileError(f.name, err))
		}
		e.Kind, e.Link = KindLink, link
	default:
		return w.problem(f.name, refuse(CodeNotRegular, f.name, typeName(mode)))
	}
	if len(e.Path) > maxPath {
		return w.problem(f.name, refuse(CodeName, f.name[:64], "name too long"))
	}
	return w.emit(&e)
}

func typeName(mode fs.FileMode) string {
	switch {
	case mode&fs.ModeNamedPipe != 0:
		return "a fifo"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	}
	return "a file of another kind: " + mode.Type().String()
}
