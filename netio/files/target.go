package files

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"
)

// Existing says what becomes of a file that is there already and is not the same.
type Existing string

// What may become of it.
const (
	ExistingOverwrite Existing = ""       // it is replaced
	ExistingUpdate    Existing = "update" // it is replaced if it is older
	ExistingSkip      Existing = "skip"   // it stays
	ExistingFail      Existing = "fail"   // it stays, and the transfer of this file has failed
)

// Fsync says what must be on the disk before a file takes its place.
type Fsync string

// The levels.
const (
	FsyncNone  Fsync = ""      // nothing: the system writes when it likes
	FsyncFiles Fsync = "files" // each file's content, before it is renamed
	FsyncAll   Fsync = "all"   // and the folders, once they are complete
)

// rules are how a target is written.
type rules struct {
	preserve bool // modes and times
	checksum bool // files of the same size are compared by content rather than by time
	dryRun   bool
	existing Existing
	fsync    Fsync
}

// newMode is what a temporary file begins with. Where it gets a mode of its own in the end, it is nobody else's to read
// until then.
func (r rules) newMode() fs.FileMode {
	if r.preserve {
		return 0o600
	}
	return 0o666
}

// target is a folder to write into. No name leads out of it. One goroutine uses it.
type target struct {
	rules
	dirs  dirCache
	fresh string // a folder that was made just now: nothing is in it
}

func newTarget(root *os.Root, r rules) *target { return &target{rules: r, dirs: dirCache{root: root}} }

func (t *target) close() { t.dirs.close() }

// verdict says what to do about an entry.
type verdict int

const (
	take    verdict = iota // it is not there, or is to be replaced
	keep                   // what is there stays
	compare                // it is to be replaced unless it has the same content
)

// decide says what to do about a file or a link. Beside compare the error, where there is one, is for the case that
// the content differs.
func (t *target) decide(e *Entry, p string) (verdict, error) {
	dir, base := split(p)
	if t.fresh != "" && dir == t.fresh {
		return take, nil
	}
	d, err := t.dirs.at(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return take, nil
	}
	if err != nil {
		return keep, fileError(p, err)
	}
	info, err := d.Lstat(base)
	if errors.Is(err, fs.ErrNotExist) {
		return take, nil
	}
	if err != nil {
		return keep, fileError(p, err)
	}
	if info.IsDir() {
		return keep, refuse(CodeFolder, p, "a folder is there")
	}
	there := attributesOf(info)
	candidate := false
	switch {
	case e.Kind == KindLink && info.Mode().Type() == fs.ModeSymlink:
		if link, err := d.Readlink(base); err == nil && link == e.Link {
			return keep, nil
		}
	case e.Kind == KindFile && info.Mode().IsRegular():
		same := there.size == e.Size && there.modified == e.Modified
		if same && !t.checksum {
			return keep, t.chmod(d, base, there.mode, e.Mode)
		}
		candidate = t.checksum && there.size == e.Size
	}
	v, err := t.replace(there, e, p)
	if candidate && (v == take || err != nil) {
		return compare, err
	}
	return v, err
}

// replace applies the rule for what is there and is not the same.
func (t *target) replace(there attributes, e *Entry, p string) (verdict, error) {
	switch t.existing {
	case ExistingSkip:
		return keep, nil
	case ExistingUpdate:
		if there.modified >= e.Modified {
			return keep, nil
		}
	case ExistingFail:
		return keep, refuse(CodeExist, p, "is there already, and differs")
	}
	return take, nil
}

func (t *target) chmod(d *os.Root, base string, have, want uint32) error {
	if !t.preserve || t.dryRun || have == want {
		return nil
	}
	return d.Chmod(base, fs.FileMode(want))
}

// makeFolder makes a folder, and those above it. It can be written to until finish gives it its mode, and nobody may do
// more there than with that. Made is false when it was there.
func (t *target) makeFolder(p string, mode uint32) (made bool, err error) {
	if p == "." {
		return false, nil
	}
	if t.dryRun {
		info, err := t.dirs.root.Stat(p)
		if err == nil && !info.IsDir() {
			return false, refuse(CodeFolder, p, "a file is there")
		}
		return err != nil, nil
	}
	dir, base := split(p)
	d, err := t.dirs.at(dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = t.dirs.root.MkdirAll(dir, 0o777)
		if err == nil {
			d, err = t.dirs.at(dir)
		}
	}
	now := fs.FileMode(0o777)
	if t.preserve {
		now = fs.FileMode(mode) | 0o700
	}
	if err == nil {
		err = d.Mkdir(base, now)
	}
	switch {
	case err == nil:
		t.fresh = p
		return true, nil
	case !errors.Is(err, fs.ErrExist):
		return false, fileError(p, err)
	}
	info, err := d.Stat(base)
	if err == nil && !info.IsDir() {
		return false, refuse(CodeFolder, p, "a file is there")
	}
	if err != nil {
		return false, fileError(p, err)
	}
	there := info.Mode()
	if want := there&(now|^fs.ModePerm) | 0o700; t.preserve && want != there {
		_ = d.Chmod(base, want) // where it is not ours, finish says so
	}
	return false, nil
}

// place returns the descriptor of the folder of a file that is to be written, which is made if need be.
func (t *target) place(dir string) (folder int, err error) {
	folder, err = t.dirs.descriptor(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if err = t.dirs.root.MkdirAll(dir, 0o777); err == nil {
			folder, err = t.dirs.descriptor(dir)
		}
	}
	return folder, err
}

// makeLink puts a symbolic link in its place.
func (t *target) makeLink(e *Entry, p string) error {
	if err := checkLink(p, e.Link); err != nil {
		return err
	}
	if err := t.checkUp(p, e.Link); err != nil {
		return err
	}
	if t.dryRun {
		return nil
	}
	dir, base := split(p)
	folder, err := t.place(dir)
	if err != nil {
		return fileError(p, err)
	}
	temp := newTemp()
	if err := linkIn(folder, temp, e.Link); err != nil {
		return fileError(p, err)
	}
	if t.preserve {
		err = setTime(folder, temp, e.Modified)
	}
	if err == nil {
		err = renameIn(folder, temp, base)
	}
	if err != nil {
		removeIn(folder, temp)
		return fileError(p, err)
	}
	return nil
}

// checkUp refuses a symbolic link that leads up from a place that a link leads to: that is not as deep as it looks.
func (t *target) checkUp(p, link string) error {
	if !strings.Contains(link, "..") {
		return nil
	}
	for dir, _ := split(p); dir != "."; dir, _ = split(dir) {
		if info, err := t.dirs.root.Lstat(dir); err == nil && info.Mode().Type() == fs.ModeSymlink {
			return refuse(CodeOutside, p, "symbolic link that leads up from behind another")
		}
	}
	return nil
}

// touch gives a file whose content is right the mode and the time that go with it.
func (t *target) touch(p string, want attributes) error {
	if !t.preserve || t.dryRun {
		return nil
	}
	dir, base := split(p)
	d, err := t.dirs.at(dir)
	if err == nil {
		var info fs.FileInfo
		if info, err = d.Lstat(base); err == nil {
			there := attributesOf(info)
			if err = t.chmod(d, base, there.mode, want.mode); err == nil && there.modified != want.modified {
				err = d.Chtimes(base, time.Time{}, time.Unix(0, want.modified))
			}
		}
	}
	if err != nil {
		return fileError(p, err)
	}
	return nil
}

// sum returns the hash of a file that is there.
func (t *target) sum(p string) (sum, error) {
	s := sender{src: &rootSource{t.dirs}}
	f, have, err := s.open(p)
	t.dirs = s.src.(*rootSource).dirs
	if err != nil {
		return sum{}, fileError(p, err)
	}
	defer f.Close()
	one, err := sumFile(f.(*plainFile), have.size, make([]byte, blockSize))
	if err != nil {
		return sum{}, fileError(p, err)
	}
	return one, nil
}

// below returns where something goes that belongs under folder dir.
func below(dir, p string) string {
	if dir == "." {
		return p
	}
	return path.Join(dir, p)
}
