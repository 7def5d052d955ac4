package files

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/fstest"
	"time"
)

// shifty is a file system in which a file changes whenever it has been looked at, so many times.
type shifty struct {
	fstest.MapFS
	left *atomic.Int64
}

type shiftyFile struct {
	fs.File
	left *atomic.Int64
}

func (s shifty) Open(name string) (fs.File, error) {
	f, err := s.MapFS.Open(name)
	if err == nil && name == "restless" {
		f = shiftyFile{f, s.left}
	}
	return f, err
}

func (f shiftyFile) Stat() (fs.FileInfo, error) {
	info, err := f.File.Stat()
	return shiftyInfo{info, f.left.Add(-1)}, err
}

type shiftyInfo struct {
	fs.FileInfo
	left int64
}

func (i shiftyInfo) ModTime() time.Time {
	return past.Add(time.Duration(max(i.left, 0)) * time.Second)
}

// A file that changes while it is read is read once more, then named.
func TestChangesWhileRead(t *testing.T) {
	for looks, wantErr := range map[int64]error{2: nil, 1000: ErrChanged} {
		b := serve(t, ServerConfig{Writable: true})
		left := &atomic.Int64{}
		left.Store(looks)
		s, err := b.Put(t.Context(), shifty{fstest.MapFS{
			"restless": {Data: []byte("now"), Mode: 0o644}, "calm": {Data: []byte("ok"), Mode: 0o644, ModTime: past},
		}, left}, all, ".", Options{})
		must(t, err)
		if f := failures(s)["restless"]; !errors.Is(f, wantErr) || (f == nil) != (wantErr == nil) {
			t.Fatalf("%d: %+v", looks, s)
		}
		got, _ := os.ReadFile(b.root + "/restless")
		if calm, _ := os.ReadFile(b.root + "/calm"); string(calm) != "ok" || wantErr == nil && string(got) != "now" || wantErr != nil && got != nil {
			t.Fatalf("%q %q", calm, got)
		}
		noTemps(t, b.root)
	}
}

// The same with real files, small and large, that somebody writes to all the time.
func TestWrittenWhileRead(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		put(t, from+"/log", content(6<<20, 1), 0o644, 0)
		put(t, from+"/large log", content(2*largeSize, 1), 0o644, 0)
		put(t, from+"/calm", []byte("calm"), 0o644, 0)
		stop := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			for {
				select {
				case <-stop:
					return
				case <-time.After(2 * time.Millisecond):
				}
				for _, name := range []string{"/log", "/large log"} {
					if f, err := os.OpenFile(from+name, os.O_WRONLY|os.O_APPEND, 0); err == nil {
						_, _ = f.Write([]byte("one more line\n"))
						_ = f.Close()
					}
				}
			}
		}()
		s := carry(all, Options{Limit: 200 << 20})
		close(stop)
		<-done
		f := failures(s)
		if !errors.Is(f["log"], ErrChanged) || !errors.Is(f["large log"], ErrChanged) || s.Copied != 1 {
			t.Fatalf("%+v", s)
		}
		if s := carry(all, Options{}); s.Failed != 0 || s.Copied != 2 {
			t.Fatalf("when it is calm again: %+v", s)
		}
	})
}

// What cannot be sent is named by the list, and the rest arrives: devices and the like, links that lead out.
func TestUnsendable(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		put(t, from+"/fine", []byte("x"), 0o644, 0)
		mkfifo(t, from+"/fifo")
		ln, err := net.Listen("unix", from+"/sock")
		must(t, err)
		defer ln.Close()
		must(t, os.Symlink("/etc/passwd", from+"/absolute"))
		must(t, os.Symlink("../../etc", from+"/up"))
		want := map[string]error{"fifo": ErrNotRegular, "sock": ErrNotRegular, "absolute": ErrOutside, "up": ErrOutside}
		if os.Getuid() == 0 && syscall.Mknod(from+"/null", syscall.S_IFCHR|0o666, 1<<8|3) == nil {
			want["null"] = ErrNotRegular
		}
		s := carry(all, Options{})
		f := failures(s)
		for name, err := range want {
			if !errors.Is(f[name], err) {
				t.Errorf("%s: %v, want %v", name, f[name], err)
			}
		}
		if s.Copied != 1 || len(f) != len(want) {
			t.Errorf("%+v", s)
		}
	})
}

// Names that differ in case alone are one name on some systems: the second is refused there.
func TestCaseClash(t *testing.T) {
	s := seen{names: map[string]struct{}{}, fold: strings.ToLower}
	if s.add("A/x") != nil || !errors.Is(s.add("a/X"), ErrClash) {
		t.Fatal("a clash of case went unseen")
	}
}

// A gateway that has ended leaves no descriptor and no goroutine of ours.
func TestNothingLeft(t *testing.T) {
	before := descriptors(t)
	t.Run("transfers", func(t *testing.T) {
		b := serve(t, ServerConfig{Writable: true})
		plant(t, b.root+"/a")
		b.get(t, all, t.TempDir(), Options{})
		b.putFolder(t, b.root+"/a", all, "b", Options{})
	})
	wait(t, "descriptors to be closed", func() bool { return descriptors(t) <= before })
}
