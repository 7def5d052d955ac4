package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The calls of the system for the last name of a path, in a folder that an os.Root has opened. Package os would spend
// more than twice as many calls on each file, most of them to find out that a file on a disk cannot be waited for. A
// name here is one element, checked by checkPath or ours, and a symbolic link is never followed.

// plainFile is an open file. Its methods are those of os.File; it has to be closed.
type plainFile struct {
	fd   int
	name string
}

// openIn opens or creates a name in a folder.
func openIn(folder int, name string, flags int, mode fs.FileMode) (*plainFile, error) {
	for {
		// O_NONBLOCK: a fifo must not hold us up until somebody opens its other end.
		fd, err := unix.Openat(folder, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC|unix.O_NONBLOCK, uint32(mode.Perm()))
		switch {
		case err == nil:
			return &plainFile{fd, name}, nil
		case !errors.Is(err, unix.EINTR):
			return nil, &fs.PathError{Op: "openat", Path: name, Err: err}
		}
	}
}

// retry calls do again while a signal interrupts it.
func retry(op, name string, do func() error) error {
	for {
		err := do()
		switch {
		case err == nil:
			return nil
		case !errors.Is(err, unix.EINTR):
			return &fs.PathError{Op: op, Path: name, Err: err}
		}
	}
}

func (f *plainFile) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(f.fd, p)
		switch {
		case err == nil && n == 0 && len(p) > 0:
			return 0, io.EOF
		case err == nil:
			return n, nil
		case !errors.Is(err, unix.EINTR):
			return 0, &fs.PathError{Op: "read", Path: f.name, Err: err}
		}
	}
}

func (f *plainFile) ReadAt(p []byte, offset int64) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Pread(f.fd, p[done:], offset+int64(done))
		switch {
		case err == nil && n == 0:
			return done, io.EOF
		case err == nil:
			done += n
		case !errors.Is(err, unix.EINTR):
			return done, &fs.PathError{Op: "read", Path: f.name, Err: err}
		}
	}
	return done, nil
}

func (f *plainFile) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		n, err := unix.Write(f.fd, p[done:])
		switch {
		case err == nil:
			done += n
		case !errors.Is(err, unix.EINTR):
			return done, &fs.PathError{Op: "write", Path: f.name, Err: err}
		}
	}
	return done, nil
}

// restart empties the file.
func (f *plainFile) restart() error {
	if _, err := unix.Seek(f.fd, 0, io.SeekStart); err != nil {
		return &fs.PathError{Op: "seek", Path: f.name, Err: err}
	}
	return retry("truncate", f.name, func() error { return unix.Ftruncate(f.fd, 0) })
}

func (f *plainFile) chmod(mode uint32) error {
	return retry("chmod", f.name, func() error { return unix.Fchmod(f.fd, mode) })
}

func (f *plainFile) sync() error {
	return retry("fsync", f.name, func() error { return unix.Fsync(f.fd) })
}

// Close closes the file, once.
func (f *plainFile) Close() error {
	fd := f.fd
	if f.fd = -1; fd < 0 {
		return fs.ErrClosed
	}
	if err := unix.Close(fd); err != nil && !errors.Is(err, unix.EINTR) {
		return &fs.PathError{Op: "close", Path: f.name, Err: err}
	}
	return nil
}

// Stat tells what the transfer asks for.
func (f *plainFile) Stat() (fs.FileInfo, error) {
	s := &plainInfo{name: f.name}
	if err := retry("fstat", f.name, func() error { return unix.Fstat(f.fd, &s.stat) }); err != nil {
		return nil, err
	}
	return s, nil
}

// plainInfo is the FileInfo of a plainFile.
type plainInfo struct {
	name string
	stat unix.Stat_t
}

func (s *plainInfo) Name() string       { return s.name }
func (s *plainInfo) Size() int64        { return s.stat.Size }
func (s *plainInfo) IsDir() bool        { return s.Mode().IsDir() }
func (s *plainInfo) Sys() any           { return &s.stat }
func (s *plainInfo) ModTime() time.Time { return time.Unix(s.stat.Mtim.Unix()) }

func (s *plainInfo) Mode() fs.FileMode {
	mode := fs.FileMode(s.stat.Mode & 0o777)
	switch s.stat.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return mode
	case unix.S_IFDIR:
		return mode | fs.ModeDir
	case unix.S_IFLNK:
		return mode | fs.ModeSymlink
	case unix.S_IFIFO:
		return mode | fs.ModeNamedPipe
	case unix.S_IFSOCK:
		return mode | fs.ModeSocket
	}
	return mode | fs.ModeDevice
}

// setTime gives a name in a folder its time of modification.
func setTime(folder int, name string, modified int64) error {
	times := []unix.Timespec{accessTime(modified), unix.NsecToTimespec(modified)}
	return retry("utimensat", name, func() error {
		return unix.UtimesNanoAt(folder, name, times, unix.AT_SYMLINK_NOFOLLOW)
	})
}

// renameIn gives a name in a folder to what has another name there; a file that had it is gone.
func renameIn(folder int, from, to string) error {
	return retry("renameat", to, func() error { return unix.Renameat(folder, from, folder, to) })
}

// linkIn makes a symbolic link to target.
func linkIn(folder int, name, target string) error {
	return retry("symlinkat", name, func() error { return unix.Symlinkat(target, folder, name) })
}

func removeIn(folder int, name string) { _ = unix.Unlinkat(folder, name, 0) }

// lock takes the lock by which a temporary file is known to be in use; false: another has it.
func lock(fd int) bool {
	return retry("flock", "", func() error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) }) == nil
}

// lockFile is lock for a file of package os.
func lockFile(f *os.File) bool { return lock(int(f.Fd())) }
