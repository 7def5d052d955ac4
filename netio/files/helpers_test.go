package files

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"shoal/netio"
)

// bench is a gateway that offers a folder, and a swarm to it over real sockets.
type bench struct {
	*Client
	root  string // of the gateway
	swarm *netio.Swarm
	gw    *netio.Gateway
	srv   *Server
}

func serve(t *testing.T, c ServerConfig) *bench {
	t.Helper()
	if c.Root == "" {
		c.Root = t.TempDir()
	}
	gw := netio.NewGateway(netio.GatewayConfig{Listen: []string{"tcp://127.0.0.1:0"}})
	srv, err := Serve(gw, c)
	must(t, err)
	must(t, gw.Start())
	sw, err := netio.Dial(t.Context(), gw.URLs()[0], nil)
	must(t, err)
	t.Cleanup(func() {
		_ = sw.Close()
		_ = gw.Close()
		_ = srv.Close()
	})
	return &bench{NewClient(sw), c.Root, sw, gw, srv}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// content is bytes that no other seed gives.
func content(size int, seed uint64) []byte {
	b := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	_, _ = r.Read(b)
	return b
}

var past = time.Date(2021, 3, 4, 5, 6, 7, 89_000_123, time.UTC)

// put writes a file with a mode and a time of its own.
func put(t testing.TB, name string, b []byte, mode fs.FileMode, age time.Duration) {
	t.Helper()
	must(t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(t, os.WriteFile(name, b, 0o600))
	must(t, os.Chmod(name, mode))
	must(t, os.Chtimes(name, time.Time{}, past.Add(-age)))
}

// plant makes a tree with everything that has to be kept.
func plant(t testing.TB, dir string) {
	t.Helper()
	for i := range 40 {
		put(t, fmt.Sprintf("%s/many/%c/f%03d.txt", dir, 'a'+i%4, i), content(i*97, uint64(i)), 0o644, time.Duration(i)*time.Hour)
	}
	put(t, dir+"/empty.file", nil, 0o600, time.Hour)
	put(t, dir+"/run.sh", []byte("#!/bin/sh\n"), 0o755, 2*time.Hour)
	put(t, dir+"/secret", content(3000, 90), 0o400, 3*time.Hour)
	put(t, dir+"/middle.bin", content(blockSize*3+17, 91), 0o664, 4*time.Hour)
	put(t, dir+"/block.bin", content(blockSize, 92), 0o644, 5*time.Hour)
	put(t, dir+"/chunk.bin", content(chunkSize, 93), 0o644, 6*time.Hour)
	put(t, dir+"/large.bin", content(largeSize*2+blockSize+5, 94), 0o640, 7*time.Hour)
	put(t, dir+"/ünï cöde\n/naïve \xff.txt", []byte("odd names"), 0o644, 0)
	must(t, os.MkdirAll(dir+"/hollow/inner", 0o755))
	must(t, os.Symlink("run.sh", dir+"/link"))
	must(t, os.Symlink("../many/a", dir+"/hollow/up"))
	must(t, os.Symlink("nowhere", dir+"/dangling"))
	must(t, os.Chmod(dir+"/hollow", 0o750))
	ageFolders(t, dir)
}

// ageFolders gives the folders times of their own, the deepest first.
func ageFolders(t testing.TB, dir string) {
	t.Helper()
	var folders []string
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			folders = append(folders, p)
		}
		return err
	}))
	slices.Reverse(folders)
	for i, p := range folders {
		must(t, os.Chtimes(p, time.Time{}, past.Add(time.Duration(i)*time.Minute)))
	}
}

// snapshot says everything about a tree that has to be kept, a line for each name.
func snapshot(t testing.TB, dir string) []string {
	t.Helper()
	var lines []string
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(dir, p)
		line := fmt.Sprintf("%q %v", rel, info.Mode())
		switch {
		case info.Mode().IsRegular():
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %d %x %d", len(b), sumOf(b), info.ModTime().UnixNano())
		case info.IsDir():
			line += fmt.Sprintf(" %d", info.ModTime().UnixNano())
		default:
			link, _ := os.Readlink(p)
			line += fmt.Sprintf(" %s %d", link, info.ModTime().UnixNano())
		}
		lines = append(lines, line)
		return nil
	}))
	return lines
}

// same fails the test where two trees differ.
func same(t testing.TB, got, want string) {
	t.Helper()
	a, b := snapshot(t, got), snapshot(t, want)
	if slices.Equal(a, b) {
		return
	}
	for _, line := range a {
		if !slices.Contains(b, line) {
			t.Errorf("only in %s: %s", got, line)
		}
	}
	for _, line := range b {
		if !slices.Contains(a, line) {
			t.Errorf("missing in %s: %s", got, line)
		}
	}
	t.FailNow()
}

// noTemps fails the test where a temporary file is left.
func noTemps(t testing.TB, dir string) {
	t.Helper()
	if temps := tempsIn(t, dir); len(temps) > 0 {
		t.Fatalf("temporary files are left: %q", temps)
	}
}

func tempsIn(t testing.TB, dir string) (temps []string) {
	t.Helper()
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && isTemp(d.Name()) {
			temps = append(temps, p)
		}
		return nil
	})
	return temps
}

// all is the whole tree.
var all = Selection{Patterns: []string{"."}}

// get is Get that must not end early.
func (b *bench) get(t testing.TB, s Selection, dir string, o Options) Summary {
	t.Helper()
	sum, err := b.Get(t.Context(), s, dir, o)
	must(t, err)
	return sum
}

func (b *bench) putFolder(t testing.TB, from string, s Selection, to string, o Options) Summary {
	t.Helper()
	sum, err := b.PutFolder(t.Context(), from, s, to, o)
	must(t, err)
	return sum
}

// both runs a test of a transfer in both directions: carry brings what is in from to the folder to, whichever of them
// is the gateway's.
func both(t *testing.T, test func(t *testing.T, from, to string, carry func(s Selection, o Options) Summary)) {
	t.Run("get", func(t *testing.T) {
		b := serve(t, ServerConfig{})
		to := t.TempDir()
		test(t, b.root, to, func(s Selection, o Options) Summary { t.Helper(); return b.get(t, s, to, o) })
		noTemps(t, to)
	})
	t.Run("put", func(t *testing.T) {
		b := serve(t, ServerConfig{Writable: true})
		from := t.TempDir()
		test(t, from, b.root, func(s Selection, o Options) Summary { t.Helper(); return b.putFolder(t, from, s, ".", o) })
		noTemps(t, b.root)
	})
}

// failures are the reasons why files failed, by path.
func failures(s Summary) map[string]error {
	m := map[string]error{}
	for _, f := range s.Failures {
		m[f.Path] = f.Err
	}
	return m
}

// actions collects what was done, by path.
func actions(o *Options) map[string]Action {
	m := map[string]Action{}
	o.Each = func(r Result) { m[r.Path] = r.Action }
	return m
}

func names(t testing.TB, dir string) []string {
	t.Helper()
	var list []string
	must(t, filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if rel, _ := filepath.Rel(dir, p); err == nil && rel != "." && !d.IsDir() {
			list = append(list, rel)
		}
		return err
	}))
	return list
}

func wait(t testing.TB, what string, until func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !until(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func descriptors(t testing.TB) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("no /proc")
	}
	return len(entries)
}

func mkfifo(t testing.TB, name string) {
	t.Helper()
	must(t, syscall.Mkfifo(name, 0o600))
}
