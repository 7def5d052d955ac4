package files

import (
	"io"
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// folderEnd is what is left to do with a folder once everything in it has come.
type folderEnd struct {
	path    string // in the target
	known   bool   // it has a mode and a time to be given
	now     attributes
	prune   bool                // remove what the source does not have
	stays   map[string]struct{} // with prune: the names that the source has
	from    []string            // with prune: the folders of the source that it comes from
	exclude excluder            // with prune: what is excluded in any of them is spared
	fresh   bool                // it was made by this transfer
	tell    func(gone string)
}

// stay remembers a name that the source has.
func (e *folderEnd) stay(base string) {
	if e.stays == nil {
		e.stays = map[string]struct{}{}
	}
	e.stays[base] = struct{}{}
}

// comesFrom remembers a folder of the source whose content belongs here.
func (e *folderEnd) comesFrom(p string) {
	if !slices.Contains(e.from, p) {
		e.from = append(e.from, p)
	}
}

// spares reports whether a path below the folder is excluded.
func (e *folderEnd) spares(p string) bool {
	return slices.ContainsFunc(e.from, func(from string) bool { return e.exclude.match(join(from, p)) })
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
	if isTemp(name) {
		d, err := t.dirs.at(e.path)
		if err == nil && !t.dryRun {
			removeTemp(d, name)
		}
		return err
	}
	if !e.prune || stays || e.spares(name) {
		return nil
	}
	gone, err := t.remove(name, e)
	if gone {
		e.tell(join(e.path, name))
	}
	return err
}

// remove removes what is at path p below a folder, but for what is spared and the folders that hold it. Gone says that
// nothing is left; of a folder that stays, what is gone has been told.
func (t *target) remove(p string, e *folderEnd) (gone bool, err error) {
	dir, base := split(join(e.path, p))
	d, err := t.dirs.at(dir)
	if err != nil {
		return false, err
	}
	info, err := d.Lstat(base)
	if err != nil {
		return false, err
	}
	if info.IsDir() && len(e.exclude) > 0 {
		if gone, err = t.empty(p, e); !gone {
			return false, err
		}
		if d, err = t.dirs.at(dir); err != nil {
			return false, err
		}
	}
	if t.dryRun {
		return true, nil
	}
	err = d.RemoveAll(base)
	return err == nil, err
}

// empty removes what is in the folder at path p below a folder, as remove does.
func (t *target) empty(p string, e *folderEnd) (gone bool, first error) {
	f, err := t.dirs.openFolder(join(e.path, p))
	if err != nil {
		return false, err
	}
	names, err := f.Readdirnames(maxNames + 1)
	_ = f.Close()
	switch {
	case err != nil && err != io.EOF:
		return false, err
	case len(names) > maxNames:
		return false, refuse(CodeOther, join(e.path, p), "too many names for --delete")
	}
	var told []string
	for _, name := range names {
		name = join(p, name)
		if e.spares(name) {
			continue
		}
		gone, err := t.remove(name, e)
		if gone {
			told = append(told, join(e.path, name))
		}
		if err != nil && first == nil {
			first = err
		}
	}
	if len(told) == len(names) {
		return true, nil
	}
	for _, name := range told {
		e.tell(name)
	}
	return false, first
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
	if there.modified != e.now.modified { // before the mode, which may keep us out
		if err := setTime(int(f.Fd()), ".", e.now.modified); err != nil {
			return err
		}
	}
	if there.mode != e.now.mode {
		return f.Chmod(fs.FileMode(e.now.mode))
	}
	return nil
}
