package files

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"testing"
	"testing/fstest"
	"time"
)

func TestTree(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		plant(t, from)
		s := carry(all, Options{})
		if s.Failed != 0 || s.Copied != 48 || s.Links != 3 {
			t.Fatalf("%+v", s)
		}
		same(t, to, from)
		again := carry(all, Options{})
		if again.Copied != 0 || again.Kept != 51 || again.Bytes != 0 || again.Folders != 0 {
			t.Fatalf("run again: %+v", again)
		}
		same(t, to, from)
	})
}

// Content that shrinks and content that does not, with each compression.
func TestCompression(t *testing.T) {
	for _, c := range []Compression{CompressS2, CompressZstd} {
		both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
			put(t, from+"/text", bytes.Repeat([]byte("all work and no play "), 100_000), 0o644, 0)
			put(t, from+"/large", bytes.Repeat([]byte("makes Jack a dull boy "), 1_000_000), 0o644, 0)
			put(t, from+"/noise", content(1<<20, 5), 0o644, 0)
			for i := range 100 {
				put(t, fmt.Sprintf("%s/small/%d", from, i), bytes.Repeat([]byte{byte(i)}, i*10), 0o644, 0)
			}
			ageFolders(t, from)
			carry(all, Options{Compress: c})
			same(t, to, from)
		})
	}
}

func TestSelections(t *testing.T) {
	tree := []string{"a.log", "b.txt", "logs/1.log", "logs/2.gz", "logs/old/3.log", "logs/old/deep/4.log", "src/x.go", "src/[odd].go"}
	for _, c := range []struct {
		name string
		s    Selection
		want []string
	}{
		{"file", Selection{Patterns: []string{"logs/old/3.log"}}, []string{"3.log"}},
		{"folder", Selection{Patterns: []string{"logs/old"}}, []string{"old/3.log", "old/deep/4.log"}},
		{"contents", Selection{Patterns: []string{"logs/"}}, []string{"1.log", "2.gz", "old/3.log", "old/deep/4.log"}},
		{"two", Selection{Patterns: []string{"b.txt", "./src"}}, []string{"b.txt", "src/[odd].go", "src/x.go"}},
		{"glob", Selection{Patterns: []string{"logs/*.log"}}, []string{"1.log"}},
		{"glob takes folders", Selection{Patterns: []string{"l*"}}, []string{"logs/1.log", "logs/2.gz", "logs/old/3.log", "logs/old/deep/4.log"}},
		{"stars", Selection{Patterns: []string{"**/*.log"}}, []string{"a.log", "logs/1.log", "logs/old/3.log", "logs/old/deep/4.log"}},
		{"stars below", Selection{Patterns: []string{"logs/**/*.log"}}, []string{"1.log", "old/3.log", "old/deep/4.log"}},
		{"literal first", Selection{Patterns: []string{"src/[odd].go"}}, []string{"[odd].go"}},
		{"as glob", Selection{Patterns: []string{"src/[x].go"}, Syntax: SyntaxGlob}, []string{"x.go"}},
		{"regex", Selection{Patterns: []string{`^logs/.*[0-9]\.log$`}, Syntax: SyntaxRegex}, []string{"logs/1.log", "logs/old/3.log", "logs/old/deep/4.log"}},
		{"exclude name", Selection{Patterns: []string{"."}, Exclude: []string{"*.log", "src"}}, []string{"b.txt", "logs/2.gz"}},
		{"exclude path", Selection{Patterns: []string{"."}, Exclude: []string{"logs/old", "src/**"}}, []string{"a.log", "b.txt", "logs/1.log", "logs/2.gz"}},
		{"exclude what is named", Selection{Patterns: []string{"a.log", "b.txt"}, Exclude: []string{"*.log"}}, []string{"b.txt"}},
		{"exclude above", Selection{Patterns: []string{"logs/old", "b.txt"}, Exclude: []string{"logs"}}, []string{"b.txt"}},
		{"exclude where a glob begins", Selection{Patterns: []string{"logs/*.log", "b.txt"}, Exclude: []string{"logs"}}, []string{"b.txt"}},
		{"exclude not the root", Selection{Patterns: []string{"src/", "."}, Exclude: []string{".*", "src", "logs"}}, []string{"[odd].go", "a.log", "b.txt", "x.go"}},
		{"exclude regex", Selection{Patterns: []string{`log`}, Syntax: SyntaxRegex, Exclude: []string{`deep|gz`}}, []string{"a.log", "logs/1.log", "logs/old/3.log"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
				for _, name := range tree {
					put(t, from+"/"+name, []byte(name), 0o644, 0)
				}
				if s := carry(c.s, Options{}); s.Failed != 0 {
					t.Fatalf("%+v", s)
				}
				if got := names(t, to); !slices.Equal(got, c.want) {
					t.Fatalf("got %q, want %q", got, c.want)
				}
			})
		})
	}
}

// What is not there, or matches nothing, is named, and the rest arrives.
func TestNothingThere(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		put(t, from+"/here", nil, 0o644, 0)
		s := carry(Selection{Patterns: []string{"here", "not/here", "*.none", "../up", "/etc/passwd"}}, Options{})
		f := failures(s)
		if s.Copied != 1 || len(f) != 4 || !errors.Is(f["not/here"], ErrNothing) || !errors.Is(f["*.none"], ErrNothing) ||
			!errors.Is(f["../up"], ErrOutside) || !errors.Is(f["/etc/passwd"], ErrOutside) {
			t.Fatalf("%+v", s)
		}
		bad := carry(Selection{Patterns: []string{"[x"}, Syntax: SyntaxGlob}, Options{})
		if !errors.Is(failures(bad)["[x"], ErrName) {
			t.Fatalf("%+v", bad)
		}
	})
}

// Two files for one name: the second is named.
func TestClash(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		put(t, from+"/a/x", []byte("one"), 0o644, 0)
		put(t, from+"/b/x", []byte("two"), 0o644, 0)
		s := carry(Selection{Patterns: []string{"a/x", "b/x"}}, Options{})
		if !errors.Is(failures(s)["b/x"], ErrClash) || s.Copied != 1 {
			t.Fatalf("%+v", s)
		}
		if got, _ := os.ReadFile(to + "/x"); string(got) != "one" {
			t.Fatalf("%q", got)
		}
	})
}

func TestExisting(t *testing.T) {
	for existing, want := range map[Existing][2]string{
		ExistingOverwrite: {"new", "new"}, ExistingUpdate: {"new", "OLD"}, ExistingSkip: {"OLD", "OLD"}, ExistingFail: {"OLD", "OLD"},
	} {
		t.Run(string(existing), func(t *testing.T) {
			both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
				put(t, from+"/older there", []byte("new"), 0o644, 0)
				put(t, to+"/older there", []byte("OLD"), 0o644, time.Hour)
				put(t, from+"/newer there", []byte("new"), 0o644, time.Hour)
				put(t, to+"/newer there", []byte("OLD"), 0o644, 0)
				put(t, from+"/same", []byte("same"), 0o644, 0)
				put(t, to+"/same", []byte("same"), 0o600, 0)
				s := carry(all, Options{Existing: existing})
				a, _ := os.ReadFile(to + "/older there")
				b, _ := os.ReadFile(to + "/newer there")
				if string(a) != want[0] || string(b) != want[1] {
					t.Fatalf("%q %q", a, b)
				}
				if failed := existing == ExistingFail; failed != (s.Failed == 2) ||
					failed && !errors.Is(failures(s)["older there"], fs.ErrExist) {
					t.Fatalf("%+v", s)
				}
				if info, _ := os.Stat(to + "/same"); info.Mode() != 0o644 {
					t.Fatalf("the mode of what is the same: %v", info.Mode())
				}
			})
		})
	}
}

// With Checksum, what has the same content is not sent, whatever its time; what only has the same size and time is.
func TestChecksum(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		for name, size := range map[string]int{"small": 100, "large": largeSize + 99} {
			put(t, from+"/"+name+" same", content(size, 1), 0o640, 0)
			put(t, to+"/"+name+" same", content(size, 1), 0o600, time.Hour)
			put(t, from+"/"+name+" differs", content(size, 2), 0o644, 0)
			put(t, to+"/"+name+" differs", content(size, 3), 0o644, 0)
		}
		ageFolders(t, from)
		o := Options{Checksum: true, DryRun: true}
		did := actions(&o)
		carry(all, o)
		want := map[string]Action{"small same": Kept, "large same": Kept, "small differs": Copied, "large differs": Copied}
		if did["."] == Kept {
			delete(did, ".")
		}
		if !maps.Equal(did, want) {
			t.Fatalf("dry run: %v", did)
		}
		if s := carry(all, Options{}); s.Copied != 2 { // by time
			t.Fatalf("%+v", s)
		}
		put(t, to+"/large same", content(largeSize+99, 1), 0o600, time.Hour)
		s := carry(all, Options{Checksum: true})
		if s.Copied != 2 || s.Bytes != 100+largeSize+99 {
			t.Fatalf("%+v", s)
		}
		same(t, to, from)
	})
}

func TestDryRun(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		plant(t, from)
		put(t, to+"/extra", nil, 0o644, 0)
		before := snapshot(t, to)
		o := Options{DryRun: true, Delete: true}
		did := actions(&o)
		s := carry(all, o)
		if s.Copied != 48 || s.Links != 3 || s.Deleted != 1 || did["extra"] != Deleted || did["many/a/f004.txt"] != Copied {
			t.Fatalf("%+v", s)
		}
		if after := snapshot(t, to); !slices.Equal(before, after) {
			t.Fatalf("%q became %q", before, after)
		}
	})
}

func TestDelete(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		put(t, from+"/keep/a", []byte("a"), 0o644, 0)
		put(t, to+"/keep/a", []byte("a"), 0o644, 0)
		put(t, to+"/keep/gone", []byte("b"), 0o644, 0)
		put(t, to+"/keep/spared.bak", []byte("c"), 0o644, 0)
		put(t, to+"/keep/whole/folder/x", []byte("d"), 0o644, 0)
		put(t, to+"/beside", []byte("e"), 0o644, 0)
		s := carry(Selection{Patterns: []string{"keep", "missing"}}, Options{Delete: true})
		if s.Deleted != 0 || !s.NotDeleted {
			t.Fatalf("deleted though something failed: %+v", s)
		}
		s = carry(Selection{Patterns: []string{"keep"}, Exclude: []string{"*.bak"}}, Options{Delete: true})
		if got := names(t, to); s.Deleted != 2 || !slices.Equal(got, []string{"beside", "keep/a", "keep/spared.bak"}) {
			t.Fatalf("%q %+v", got, s)
		}
	})
}

func TestNoPreserve(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		put(t, from+"/x", []byte("x"), 0o777, 0)
		put(t, from+"/l", content(largeSize, 1), 0o777, 0)
		carry(all, Options{NoPreserve: true})
		for _, name := range []string{"x", "l"} {
			if info, err := os.Stat(to + "/" + name); err != nil || info.Mode()&0o111 != 0 || time.Since(info.ModTime()) > time.Minute {
				t.Fatalf("%v %v", info, err)
			}
		}
	})
}

func TestLimit(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		put(t, from+"/x", content(600_000, 1), 0o644, 0)
		s := carry(all, Options{Limit: 2_000_000})
		if s.Elapsed < 200*time.Millisecond {
			t.Fatalf("600 kB at 2 MB/s in %v", s.Elapsed)
		}
	})
}

func TestFsync(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		put(t, from+"/d/x", content(100, 1), 0o644, 0)
		put(t, from+"/d/l", content(largeSize, 1), 0o644, 0)
		ageFolders(t, from)
		carry(all, Options{Fsync: FsyncAll})
		same(t, to, from)
	})
}

// A folder where a file should be and the reverse are named; the rest arrives.
func TestFolderAgainstFile(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		put(t, from+"/file", []byte("f"), 0o644, 0)
		put(t, from+"/folder/x", []byte("x"), 0o644, 0)
		put(t, from+"/fine", []byte("y"), 0o644, 0)
		must(t, os.MkdirAll(to+"/file/below", 0o755))
		put(t, to+"/folder", []byte("in the way"), 0o644, 0)
		f := failures(carry(all, Options{}))
		if !errors.Is(f["file"], ErrFolder) || !errors.Is(f["folder"], ErrFolder) || !errors.Is(f["folder/x"], ErrFolder) {
			t.Fatalf("%v", f)
		}
		if got := names(t, to); !slices.Equal(got, []string{"fine", "folder"}) {
			t.Fatalf("%q", got)
		}
	})
}

// A file takes the place of a symbolic link, not of what that leads to; a link that differs is replaced.
func TestLinkReplaced(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		put(t, from+"/x", []byte("new"), 0o644, 0)
		put(t, to+"/victim", []byte("untouched"), 0o644, 0)
		must(t, os.Symlink("victim", to+"/x"))
		must(t, os.Symlink("x", from+"/l"))
		must(t, os.Symlink("victim", to+"/l"))
		carry(all, Options{})
		victim, _ := os.ReadFile(to + "/victim")
		link, _ := os.Readlink(to + "/l")
		if info, _ := os.Lstat(to + "/x"); !info.Mode().IsRegular() || string(victim) != "untouched" || link != "x" {
			t.Fatalf("%v %q %q", info.Mode(), victim, link)
		}
	})
}

func TestPutFromFS(t *testing.T) {
	b := serve(t, ServerConfig{Writable: true})
	big := content(largeSize+1000, 3)
	from := fstest.MapFS{
		"a/b.txt": {Data: []byte("hello"), Mode: 0o640, ModTime: past},
		"big":     {Data: big, Mode: 0o600, ModTime: past},
	}
	for range 2 {
		s, err := b.Put(t.Context(), from, all, "to/here", Options{})
		if err != nil || s.Failed != 0 {
			t.Fatalf("%+v %v", s, err)
		}
	}
	got, err := os.ReadFile(b.root + "/to/here/big")
	if err != nil || !bytes.Equal(got, big) {
		t.Fatal(err, len(got))
	}
	info, err := os.Stat(b.root + "/to/here/a/b.txt")
	if err != nil || info.Mode() != 0o640 || !info.ModTime().Equal(past) {
		t.Fatal(info, err)
	}
	if info, err = os.Stat(b.root + "/to/here/a"); err != nil || info.Mode()&0o200 == 0 || time.Since(info.ModTime()) > time.Minute {
		t.Fatal("a folder that the file system makes up:", info, err)
	}
}

func TestOpenRemote(t *testing.T) {
	b := serve(t, ServerConfig{})
	want := content(1<<20+3, 7)
	put(t, b.root+"/d/x", want, 0o644, 0)
	put(t, b.root+"/empty", nil, 0o644, 0)
	r, err := b.OpenRemote(t.Context(), "d/x")
	must(t, err)
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, want) || r.Close() != nil {
		t.Fatal(err, len(got))
	}
	if _, err := r.Read(make([]byte, 1)); err == nil || err == io.EOF {
		t.Fatalf("read after close: %v", err)
	}
	r, err = b.OpenRemote(t.Context(), "empty")
	must(t, err)
	if got, err := io.ReadAll(r); err != nil || len(got) != 0 {
		t.Fatal(err, got)
	}
	early, err := b.OpenRemote(t.Context(), "d/x")
	must(t, err)
	must(t, early.Close())
	for name, want := range map[string]error{"none": fs.ErrNotExist, "d": ErrFolder, "../x": ErrOutside, "/x": ErrOutside} {
		if _, err := b.OpenRemote(t.Context(), name); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
}

func TestProgress(t *testing.T) {
	both(t, func(t *testing.T, from, to string, carry func(Selection, Options) Summary) {
		plant(t, from)
		var last Progress
		calls := 0
		s := carry(all, Options{Progress: func(p Progress) { last = p; calls++ }})
		if calls == 0 || !last.Listed || last.Files != 48 || last.TotalFiles != 48 || last.Bytes != s.Bytes || last.TotalBytes != s.Bytes {
			t.Fatalf("%d calls, %+v, %+v", calls, last, s)
		}
	})
}

func TestUnavailable(t *testing.T) {
	b := serve(t, ServerConfig{})
	if _, err := b.PutFolder(t.Context(), t.TempDir(), all, ".", Options{}); !errors.Is(err, ErrReadOnly) {
		t.Fatalf("%v", err)
	}
	b.gw.Remove(nameList)
	if _, err := b.Get(t.Context(), all, t.TempDir(), Options{}); !errors.Is(err, ErrUnavailable) {
		t.Fatalf("%v", err)
	}
}
