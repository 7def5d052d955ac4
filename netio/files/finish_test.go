package files

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// What a transfer has brought or what is excluded is never deleted, from wherever it comes.
func TestDeleteSpares(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to []string
		s        Selection
		want     []string
		deleted  int64
	}{
		{"several", []string{"f", "d/x", "a/y"}, []string{"gone", "d/gone"},
			Selection{Patterns: []string{"f", "d", "a/"}}, []string{"d/x", "f", "y"}, 2},
		{"several, the folder first", []string{"f", "d/x", "a/y"}, []string{"gone", "d/gone"},
			Selection{Patterns: []string{"a/", "d", "f"}}, []string{"d/x", "f", "y"}, 2},
		{"nested", []string{"a/d/x", "b/d/y", "c/d/z"}, []string{"d/gone"},
			Selection{Patterns: []string{"a/d", "b/", "c/d"}}, []string{"d/x", "d/y", "d/z"}, 1},
		{"excluded in the second", []string{"m1/a", "m2/b", "m2/keepme"}, []string{"keepme", "gone"},
			Selection{Patterns: []string{"m1/", "m2/"}, Exclude: []string{"m2/keepme"}}, []string{"a", "b", "keepme"}, 1},
		{"excluded in the first", []string{"m1/a", "m2/b", "m2/keepme"}, []string{"keepme", "gone"},
			Selection{Patterns: []string{"m2/", "m1/"}, Exclude: []string{"m2/keepme"}}, []string{"a", "b", "keepme"}, 1},
		{"excluded below", []string{"d/a"}, []string{"d/old/x", "d/old/x.bak", "d/old/deep/y.bak", "d/old/plain/z"},
			Selection{Patterns: []string{"d"}, Exclude: []string{"*.bak"}},
			[]string{"d/a", "d/old/deep/y.bak", "d/old/x.bak"}, 2},
		{"excluded folder below", []string{"d/a"}, []string{"d/old/cache/x", "d/old/y"},
			Selection{Patterns: []string{"d"}, Exclude: []string{"d/old/cache"}}, []string{"d/a", "d/old/cache/x"}, 1},
		{"nothing excluded below", []string{"d/a"}, []string{"d/old/cache/x", "d/old/y"},
			Selection{Patterns: []string{"d"}, Exclude: []string{"*.bak"}}, []string{"d/a"}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
				for _, name := range c.from {
					put(t, from+"/"+name, []byte(name), 0o644, 0)
				}
				for _, name := range c.to {
					put(t, to+"/"+name, []byte("old"), 0o644, 0)
				}
				before := snapshot(t, to)
				if s := carry(c.s, Options{Delete: true, DryRun: true}); s.Deleted != c.deleted || s.Failed != 0 {
					t.Errorf("dry run: %+v", s)
				}
				if after := snapshot(t, to); !slices.Equal(before, after) {
					t.Errorf("dry run: %q became %q", before, after)
				}
				s := carry(c.s, Options{Delete: true})
				if got := names(t, to); s.Deleted != c.deleted || s.Failed != 0 || !slices.Equal(got, c.want) {
					t.Errorf("%q, want %q; %+v", got, c.want, s)
				}
			})
		})
	}
}

// A folder is never more open than in the source, not even while its files come.
func TestPrivateFolders(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		for dir, mode := range map[string]fs.FileMode{"new": 0o700, "new/half": 0o500, "there": 0o750} {
			put(t, from+"/"+dir+"/f", []byte(dir), 0o644, 0)
			must(t, os.Chmod(from+"/"+dir, mode))
		}
		t.Cleanup(func() {
			_ = os.Chmod(from+"/new/half", 0o700)
			_ = os.Chmod(to+"/new/half", 0o700)
		})
		must(t, os.Mkdir(to+"/there", 0o777))
		must(t, os.Chmod(to+"/there", 0o777|fs.ModeSetgid))
		during := map[string]fs.FileMode{}
		carry(all, Options{Each: func(r Result) {
			if dir, base := split(r.Path); base == "f" {
				info, err := os.Stat(to + "/" + dir)
				must(t, err)
				during[dir] = info.Mode()
			}
		}})
		for dir, want := range map[string]fs.FileMode{"new": 0o700, "new/half": 0o700, "there": 0o750 | fs.ModeSetgid} {
			if got := during[dir]; got != want|fs.ModeDir {
				t.Errorf("%s has mode %v, want %v", dir, got, want)
			}
		}
		must(t, os.Chmod(from+"/there", 0o750|fs.ModeSetgid))
		same(t, to, from)
	})
}

// The beginning of 1970 is a time like any other.
func TestFolderWithoutTime(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		put(t, from+"/d/f", []byte("x"), 0o644, 0)
		must(t, os.Chmod(from+"/d", 0o750))
		must(t, os.Chtimes(from+"/d", time.Time{}, time.Unix(0, 0)))
		carry(all, Options{})
		same(t, to, from)
	})
}

// Somebody who is not root may have folders and files that keep even him out.
func TestShutOut(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		asNobody(t, from, to)
		put(t, from+"/fixed/f", []byte("new"), 0o444, 0)
		put(t, to+"/fixed/f", []byte("old!"), 0o444, 0)
		put(t, to+"/fixed/gone", nil, 0o444, 0)
		must(t, os.Mkdir(from+"/shut", 0o700))
		ageFolders(t, from)
		for name, mode := range map[string]fs.FileMode{from + "/shut": 0o600, from + "/fixed": 0o555, to + "/fixed": 0o555} {
			must(t, os.Chmod(name, mode))
		}
		t.Cleanup(func() {
			for _, name := range []string{from + "/fixed", to + "/fixed"} {
				_ = os.Chmod(name, 0o755)
			}
		})
		for range 2 {
			if s := carry(all, Options{Delete: true}); s.Failed != 0 {
				t.Errorf("%+v", s)
			}
			same(t, to, from)
		}
	})
}

// A file that cannot be compared is not taken for one that is not there.
func TestCannotBeCompared(t *testing.T) {
	for name, o := range map[string]Options{
		"dry run": {Checksum: true, DryRun: true},
		"fail":    {Checksum: true, Existing: ExistingFail},
	} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
				asNobody(t, from, to)
				put(t, from+"/f", []byte("new"), 0o644, 0)
				put(t, to+"/f", []byte("old"), 0, 0)
				s := carry(all, o)
				must(t, os.Chmod(to+"/f", 0o600))
				if got, _ := os.ReadFile(to + "/f"); string(got) != "old" {
					t.Errorf("%q, %+v", got, s)
				}
			})
		})
	}
}

// asNobody lets the process be nobody for the rest of a test, if it is root; the folders are nobody's then.
func asNobody(t *testing.T, dirs ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	const nobody = 65534
	for _, dir := range dirs {
		must(t, os.Chmod(filepath.Dir(dir), 0o755))
		must(t, os.Chown(dir, nobody, -1))
	}
	must(t, syscall.Seteuid(nobody))
	t.Cleanup(func() { must(t, syscall.Seteuid(0)) })
	if _, err := os.Stat(dirs[0]); err != nil {
		t.Skip("temporary files are root's alone: ", err)
	}
}
