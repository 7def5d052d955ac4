package files

import (
	"io"
	"io/fs"
	"os"
	"syscall"
)

// folderEnd is what is left to do with a folder once everything in it has come.
type folderEnd struct {
	path   string // in the target
	from   string // in the source, for what is spared
	known  bool   // it has a mode and a time to be given
	now    attributes
	prune  bool                // remove what the source does not have
	stays  map[string]struct{} // with prune: the names that the source has
	spared func(base string) bool
	fresh  bool // it was made by this transfer
	tell   func(gone string)
}

// finish removes from a folder what interrupted transfers left behind, and with prune what the source does not have;
// then it gives it its mode and time.
func (t *target) finish(e *folderEnd) error {
	f, err := t.dirs.openFolder(e.path)
	if err != nil {
		failure := fileError(e.path, err)
		if failure.Code == CodeNotExist || failure.Code == CodeFolder {
			return nil // said already when it was to be made
		}
		return failure
	}
	defer f.Close()
	first := t.leftovers(f, e)
	if first != nil || t.dryRun {
		return first
	}
	if err := t.settleFolder(f, e); err != nil {
		return fileError(e.path, err)
	}
	return nil
}

// leftovers removes what should not be in the folder, and returns the first error.
func (t *target) leftovers(f *os.File, e *folderEnd) (first error) {
	if e.fresh && !e.prune {
		return nil
	}
	for {
		names, err := f.Readdirnames(listAtOnce)
		for _, name := range names {
			if err := t.leftover(name, e); err != nil && first == nil {
				first = fileError(join(e.path, name), err)
			}
		}
		if err == io.EOF {
			return first
		}
		if err != nil {
			return fileError(e.path, err)
		}
	}
}

// leftover removes one name if it should not be there.
func (t *target) leftover(name string, e *folderEnd) error {
	_, stays := e.stays[name]
	if !isTemp(name) && (!e.prune || stays || e.spared(name)) {
		return nil
	}
	d, err := t.dirs.at(e.path)
	if err != nil {
		return err
	}
	if isTemp(name) {
		if !t.dryRun {
			removeTemp(d, name)
		}
		return nil
	}
	if !t.dryRun {
		if err := d.RemoveAll(name); err != nil {
			return err
		}
	}
	e.tell(join(e.path, name))
	return nil
}

// removeTemp removes a temporary file that nobody writes.
func removeTemp(d *os.Root, name string) {
	info, err := d.Lstat(name)
	if err != nil {
		return
	}
	if info.Mode().IsRegular() {
		f, err := d.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return
		}
		defer f.Close()
		if !lockFile(f) {
			return
		}
		// Until we had the lock it may have been renamed: then its name is gone, or another file's.
		opened, err := f.Stat()
		if now, again := d.Lstat(name); err != nil || again != nil || !os.SameFile(now, opened) {
			return
		}
	}
	_ = d.RemoveAll(name)
}

func (t *target) settleFolder(f *os.File, e *folderEnd) error {
	if t.fsync == FsyncAll {
		if err := f.Sync(); err != nil {
			return err
		}
	}
	if !t.preserve || !e.known || e.path == "." {
		return nil
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	there := attributesOf(info)
	if there.mode != e.now.mode {
		if err := f.Chmod(fs.FileMode(e.now.mode)); err != nil {
			return err
		}
	}
	if there.modified != e.now.modified {
		return setTime(int(f.Fd()), ".", e.now.modified)
	}
	return nil
}
