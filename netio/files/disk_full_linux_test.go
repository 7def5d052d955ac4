package files

import (
	"errors"
	"syscall"
	"testing"
)

// A full disk is named, the temporary file removed, and what fits arrives.
func TestDiskFull(t *testing.T) {
	small := func(t *testing.T) string {
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
			t.Skip("needs the right to mount a small file system: ", err)
		}
		t.Cleanup(func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) })
		return dir
	}
	check := func(t *testing.T, from, to string, carry func(s Selection, o Options) Summary) {
		put(t, from+"/big", content(5<<20, 1), 0o644, 0)
		put(t, from+"/huge", content(largeSize, 1), 0o644, 0)
		put(t, from+"/tiny", []byte("fits"), 0o644, 0)
		s := carry(all, Options{})
		f := failures(s)
		if !errors.Is(f["big"], ErrNoSpace) || !errors.Is(f["huge"], ErrNoSpace) {
			t.Fatalf("%+v", s)
		}
		noTemps(t, to)
		if s := carry(Selection{Patterns: []string{"tiny"}}, Options{}); s.Failed != 0 {
			t.Fatalf("%+v", s)
		}
	}
	t.Run("get", func(t *testing.T) {
		to := small(t)
		b := serve(t, ServerConfig{})
		check(t, b.root, to, func(s Selection, o Options) Summary { return b.get(t, s, to, o) })
	})
	t.Run("put", func(t *testing.T) {
		b := serve(t, ServerConfig{Root: small(t), Writable: true})
		from := t.TempDir()
		check(t, from, b.root, func(s Selection, o Options) Summary { return b.putFolder(t, from, s, ".", o) })
	})
}
