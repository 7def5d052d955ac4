package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"
)

// source is a tree of files to read from: a folder (rootSource), or any fs.FS (fsSource). One goroutine uses it.
type source interface {
	lstat(p string) (fs.FileInfo, error)
	readlink(p string) (string, error)
	// open opens a regular file, and nothing else.
	open(p string) (fs.File, error)
	// list calls each with what a folder holds, some at a time, by name within these.
	list(p string, each func(dir string, infos []found) error) error
	close()
}

// found is what a folder holds under one name.
type found struct {
	name string
	info fs.FileInfo // nil when err is set
	err  error
}

// listAtOnce bounds what is held of one folder.
const listAtOnce = 4096

// rootSource reads below an os.Root: no name leads out of it.
type rootSource struct{ dirs dirCache }

func newRootSource(root *os.Root) *rootSource { return &rootSource{dirCache{root: root}} }

func (s *rootSource) close() { s.dirs.close() }

func (s *rootSource) lstat(p string) (fs.FileInfo, error) {
	dir, base := split(p)
	d, err := s.dirs.at(dir)
	if err != nil {
		return nil, err
	}
	return d.Lstat(base)
}

func (s *rootSource) readlink(p string) (string, error) {
	dir, base := split(p)
	d, err := s.dirs.at(dir)
	if err != nil {
		return "", err
	}
	return d.Readlink(base)
}

func (s *rootSource) open(p string) (fs.File, error) {
	dir, base := split(p)
	folder, err := s.dirs.descriptor(dir)
	if err != nil {
		return nil, err
	}
	f, err := openIn(folder, base, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (s *rootSource) list(p string, each func(string, []found) error) error {
	f, err := s.dirs.openFolder(p)
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(listAtOnce)
		if len(entries) > 0 {
			infos := make([]found, 0, len(entries))
			for _, e := range entries {
				if isTemp(e.Name()) {
					continue
				}
				info, err := e.Info() // known already: a file of an os.Root looks while it reads
				if errors.Is(err, fs.ErrNotExist) {
					continue // it has gone since
				}
				infos = append(infos, found{e.Name(), info, err})
			}
			sortFound(infos)
			if err := each(p, infos); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func sortFound(infos []found) {
	slices.SortFunc(infos, func(a, b found) int { return strings.Compare(a.name, b.name) })
}

// fsSource reads from any file system of Go's.
type fsSource struct{ fsys fs.FS }

func (s fsSource) close() {}

func (s fsSource) lstat(p string) (fs.FileInfo, error) { return fs.Lstat(s.fsys, p) }
func (s fsSource) readlink(p string) (string, error)   { return fs.ReadLink(s.fsys, p) }
func (s fsSource) open(p string) (fs.File, error)      { return s.fsys.Open(p) }
func (s fsSource) list(p string, each func(string, []found) error) error {
	entries, err := fs.ReadDir(s.fsys, p)
	if err != nil {
		return err
	}
	infos := make([]found, 0, len(entries))
	for _, e := range entries {
		info, err := e.Info()
		infos = append(infos, found{e.Name(), info, err})
	}
	return each(p, infos)
}

// attributesOf says what a file has beside its content.
func attributesOf(info fs.FileInfo) attributes {
	return attributes{info.Size(), modified(info), uint32(info.Mode().Perm())}
}

// modified returns the time in nanoseconds; that of no time at all, as embedded files have it, is 0.
func modified(info fs.FileInfo) int64 {
	if t := info.ModTime(); !t.IsZero() {
		return t.UnixNano()
	}
	return 0
}
