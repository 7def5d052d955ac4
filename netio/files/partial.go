package files

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"
)

// maxSize bounds the bits that a large file has for its blocks: 2 MiB of them.
const maxSize = 4 << 40

// partial is a large file on its way, whose ranges several streams bring at once. It has the same temporary name
// whenever the same file goes to the same place, so what an interrupted transfer left is found: its blocks are
// compared by their hashes and only sent where they differ.
type partial struct {
	rules
	d    *os.Root
	path string
	base string
	temp string
	f    *os.File
	size int64
	had  int64 // bytes that were there when it was opened

	mu      sync.RWMutex // guards what follows; held for reading while a range writes
	done    []uint64     // a bit for each block that is there and verified
	missing int64        // blocks that are not
	sealed  bool         // nothing is written any more
	closed  bool
}

// openPartial begins a large file, or goes on with what is there of it.
func openPartial(root *os.Root, r rules, p string, size, modified int64) (*partial, error) {
	if size > maxSize {
		return nil, refuse(CodeOther, p, "larger than a transfer can carry")
	}
	t := newTarget(root, r)
	dir, base := split(p)
	if _, err := t.place(dir); err != nil {
		t.close()
		return nil, fileError(p, err)
	}
	d, err := root.OpenRoot(dir)
	t.close()
	if err != nil {
		return nil, fileError(p, err)
	}
	blocks := (size + blockSize - 1) / blockSize
	w := &partial{rules: r, d: d, path: p, base: base, temp: partialName(base, size, modified), size: size,
		done: make([]uint64, (blocks+63)/64), missing: blocks}
	if err := w.open(); err != nil {
		_ = d.Close()
		return nil, fileError(p, err)
	}
	return w, nil
}

func (w *partial) open() error {
	for range 3 {
		f, err := w.d.OpenFile(w.temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, w.newMode())
		if errors.Is(err, fs.ErrExist) {
			f, err = openOwn(w.d, w.temp, w.newMode())
		}
		if err != nil {
			return err
		}
		if !lockFile(f) {
			_ = f.Close()
			return &Error{w.path, CodeInUse, ""}
		}
		info, err := f.Stat()
		if err != nil {
			_ = f.Close()
			return err
		}
		// Until we had the lock it may have been renamed, and be somebody's whole file.
		if there, err := w.d.Lstat(w.temp); err != nil || !os.SameFile(there, info) {
			_ = f.Close()
			continue
		}
		w.f, w.had = f, info.Size()
		if w.had > w.size {
			w.had = 0
			err = f.Truncate(0)
		}
		return err
	}
	return &Error{w.path, CodeInUse, ""}
}

// openOwn opens a temporary file that is there; what is not a plain file of one name is removed instead: no writing
// through a link to something else.
func openOwn(d *os.Root, temp string, mode fs.FileMode) (*os.File, error) {
	info, err := d.Lstat(temp)
	if err != nil {
		return nil, err
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !info.Mode().IsRegular() || !ok || stat.Nlink != 1 {
		if err := d.RemoveAll(temp); err != nil {
			return nil, err
		}
		return d.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	}
	f, err := d.OpenFile(temp, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	if opened, err := f.Stat(); err != nil || !os.SameFile(info, opened) {
		_ = f.Close()
		return nil, &Error{temp, CodeInUse, ""}
	}
	return f, nil
}

// blocksOf returns how many blocks a range has that is within the file and begins at a block; -1: it is none.
func (w *partial) blocksOf(offset, length int64) int64 {
	if offset < 0 || length <= 0 || length > rangeSize || offset%blockSize != 0 || offset > w.size-length ||
		offset+length < w.size && length%blockSize != 0 {
		return -1
	}
	return (length + blockSize - 1) / blockSize
}

// sums returns the hashes of the blocks of a range that were there from the beginning.
func (w *partial) sums(offset, length int64) ([]sum, error) {
	var sums []sum
	block := make([]byte, 0)
	for end := offset + length; offset < end; offset += blockSize {
		size := min(blockSize, end-offset)
		if offset+size > w.had {
			break
		}
		if block == nil || int64(cap(block)) < size {
			block = make([]byte, blockSize)
		}
		if _, err := w.f.ReadAt(block[:size], offset); err != nil {
			return nil, fileError(w.path, err)
		}
		sums = append(sums, sumOf(block[:size]))
	}
	return sums, nil
}

// writeAt writes content, until the file is about to take its place.
func (w *partial) writeAt(b []byte, offset int64) error {
	w.mu.RLock()
	defer w.mu.RUnlock()
	if w.sealed {
		return &Error{w.path, CodeInUse, "its transfer has ended"}
	}
	_, err := w.f.WriteAt(b, offset)
	return err
}

// mark records that the block at offset is there.
func (w *partial) mark(offset int64) {
	i := offset / blockSize
	w.mu.Lock()
	defer w.mu.Unlock()
	if bit := uint64(1) << (i % 64); w.done[i/64]&bit == 0 {
		w.done[i/64] |= bit
		w.missing--
	}
}

// commit puts the file in its place, if all of it is there.
func (w *partial) commit(a attributes) error {
	w.mu.Lock()
	missing := w.missing
	w.sealed = true
	w.mu.Unlock()
	var err error
	if missing != 0 {
		err = &Error{w.path, CodeCorrupt, "parts of it are missing"}
	}
	if err == nil {
		err = w.f.Truncate(w.size)
	}
	if err == nil {
		err = w.settle(a)
	}
	if err == nil {
		err = w.d.Rename(w.temp, w.base)
	}
	if err != nil {
		w.close(true)
		return fileError(w.path, err)
	}
	w.close(false)
	return nil
}

// settle gives the file its mode and time and flushes it as the rules ask.
func (w *partial) settle(a attributes) error {
	if w.preserve {
		if err := w.f.Chmod(fs.FileMode(a.mode)); err != nil {
			return err
		}
		if err := w.d.Chtimes(w.temp, time.Time{}, time.Unix(0, a.modified)); err != nil {
			return err
		}
	}
	if w.fsync != FsyncNone {
		return w.f.Sync()
	}
	return nil
}

// close ends it; what is there stays for the next time, unless it is to be removed. After commit it does nothing.
func (w *partial) close(remove bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return
	}
	w.closed, w.sealed = true, true
	if remove {
		_ = w.d.Remove(w.temp)
	}
	_ = w.f.Close()
	_ = w.d.Close()
}

// span takes a range from a stream.
func (r *receiver) span(w *partial, offset, length int64) (failure *Error, err error) {
	at, end := offset, offset+length
	begun := int64(0) // bytes of the block that is under way
	for {
		kind, body, err := r.in.expect()
		if err != nil {
			return failure, err
		}
		switch kind {
		case recData:
			if begun == 0 {
				r.hash.Reset()
			}
			begun += int64(len(body))
			if begun > min(blockSize, end-at) {
				return failure, wireError("block of more than %d bytes", min(blockSize, end-at))
			}
			if failure == nil {
				_, _ = r.hash.Write(body)
				if err := w.writeAt(body, at+begun-int64(len(body))); err != nil {
					failure = fileError(w.path, err)
				}
			}
			if r.got != nil {
				r.got(int64(len(body)))
			}
		case recSum, recSame:
			size := min(blockSize, end-at)
			switch {
			case size <= 0 || kind == recSame && begun != 0:
				return failure, wireError("record %q out of place in a range", kind)
			case kind == recSame:
				if r.spared != nil {
					r.spared(size)
				}
			case failure == nil && (begun != size || string(body) != string(sumBytes(&r.hash))):
				failure = &Error{w.path, CodeCorrupt, ""}
			}
			if failure == nil && (kind == recSum || at+size <= w.had) {
				w.mark(at)
			}
			at, begun = at+size, 0
		case recFailed:
			return parseFailed(w.path, body), nil
		case recEnd:
			if failure == nil && at < end {
				failure = &Error{w.path, CodeCorrupt, "range is not as long as it should be"}
			}
			return failure, nil
		default:
			return failure, wireError("record %q in a range", kind)
		}
	}
}
