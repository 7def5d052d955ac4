package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Files through the built binary: what package files promises, with processes that can be killed and have other rights.

func noise(size int, seed byte) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// tree makes a folder with many small files and one large, all of them old.
func tree(t *testing.T, large int) string {
	t.Helper()
	dir := t.TempDir()
	write := func(name string, b []byte) {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, b, 0o640); err != nil {
			t.Fatal(err)
		}
		when := time.Unix(1_600_000_000, 123_456_789)
		if err := os.Chtimes(name, when, when); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 300 {
		write(fmt.Sprintf("logs/%02d/%03d.log", i%7, i), noise(i*31, byte(i)))
	}
	write("large.bin", noise(large, 7))
	if err := os.Mkdir(filepath.Join(dir, "empty"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("logs/00", filepath.Join(dir, "latest")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// sameTrees compares names, modes, times and content.
func sameTrees(t *testing.T, got, want string) {
	t.Helper()
	list := func(dir string) map[string]string {
		m := map[string]string{}
		_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err != nil {
				t.Fatal(err)
			}
			rel, _ := filepath.Rel(dir, p)
			info, err := d.Info()
			if err != nil {
				t.Fatal(err)
			}
			text := info.Mode().String()
			if info.Mode().IsRegular() {
				b, err := os.ReadFile(p)
				if err != nil {
					t.Fatal(err)
				}
				text += info.ModTime().String() + string(b)
			}
			if rel != "." {
				m[rel] = text
			}
			return nil
		})
		return m
	}
	a, b := list(got), list(want)
	for name := range b {
		if a[name] != b[name] {
			t.Errorf("%s differs: %.60q, want %.60q", name, a[name], b[name])
		}
	}
	for name := range a {
		if _, ok := b[name]; !ok {
			t.Errorf("%s should not be there", name)
		}
	}
}

func temps(dir string) (list []string) {
	_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && strings.HasPrefix(d.Name(), ".shoal-") {
			list = append(list, p)
		}
		return nil
	})
	return list
}

func TestFilesBothWays(t *testing.T) {
	t.Parallel()
	from, to := tree(t, 9<<20), t.TempDir()
	g := serve(t, "--root", from)
	o := g.client(t, "", "get", ".", "--to", to+"/got").want(t, exitOK)
	if o.stdout != "" || !strings.Contains(o.stderr, "got 301 files") {
		t.Errorf("stdout %q, stderr %q", o.stdout, o.stderr)
	}
	sameTrees(t, to+"/got", from)
	o = g.client(t, "", "get", ".", "--to", to+"/got").want(t, exitOK)
	if !strings.Contains(o.stderr, "got 0 files, 302 kept") {
		t.Errorf("run again: %q", o.stderr)
	}
	if o := g.client(t, "", "put", from, "--to", ".").want(t, exitFailed); !strings.Contains(o.stderr, "--writable") {
		t.Errorf("%q", o.stderr)
	}
	w := serve(t, "--root", to, "--writable", "--fsync", "files")
	o = w.client(t, "", "put", from+"/", "--to", "put/here", "--output", "jsonl").want(t, exitOK)
	sameTrees(t, to+"/put/here", from)
	seen := map[string]int{}
	for _, line := range o.lines() {
		var one struct{ Path, Action, Kind, Error string }
		if err := json.Unmarshal([]byte(line), &one); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		seen[one.Action]++
	}
	if seen["copied"] != 301 || seen["linked"] != 1 {
		t.Errorf("%v", seen)
	}
}

func TestFilesList(t *testing.T) {
	t.Parallel()
	g := serve(t, "--root", tree(t, 100))
	if o := g.client(t, "", "ls", "logs/00/00?.log", "latest").want(t, exitOK); o.stdout != "logs/00/000.log\nlogs/00/007.log\nlatest -> logs/00\n" {
		t.Errorf("%q", o.stdout)
	}
	if o := g.client(t, "", "ls", "--regex", "07[0-9][.]log$", "--exclude", "logs/0[1-6]").want(t, exitOK); o.stdout != "logs/00/070.log\nlogs/00/077.log\n" {
		t.Errorf("%q", o.stdout)
	}
	if o := g.client(t, "", "ls", "-l", "large.bin").want(t, exitOK); !strings.HasPrefix(o.stdout, "0640          100 2020-09-13") {
		t.Errorf("%q", o.stdout)
	}
	if o := g.client(t, "", "ls", "--output", "jsonl", "latest", "nowhere").want(t, exitFailed); !strings.Contains(o.stdout, `"link":"logs/00"`) || !strings.Contains(o.stderr, "nowhere") {
		t.Errorf("%q %q", o.stdout, o.stderr)
	}
	if o := g.client(t, "", "list").want(t, exitOK); strings.Contains(o.stdout, "files") {
		t.Errorf("the subroutines of files show: %q", o.stdout)
	}
	if o := serve(t, "--demo").client(t, "", "ls").want(t, exitFailed); !strings.Contains(o.stderr, "--root") {
		t.Errorf("%q", o.stderr)
	}
}

// Paths from several places: exclusions may be absolute, and --delete would remove what another path brings.
func TestFilesPutFromSeveralPlaces(t *testing.T) {
	t.Parallel()
	from, to := t.TempDir(), t.TempDir()
	for _, name := range []string{"site/tmp/secret", "site/sub/tmp/kept", "site/page", "other/file", "other/page", "dots../inside"} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(from+"/"+name), 0o755), os.WriteFile(from+"/"+name, []byte(name), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	g := serve(t, "--root", to, "--writable")
	g.client(t, "", "put", from+"/site/", from+"/dots..", "--to", "one", "--exclude", from+"/site/tmp").want(t, exitOK)
	for name, there := range map[string]bool{"page": true, "sub/tmp/kept": true, "tmp/secret": false, "dots../inside": true} {
		if _, err := os.Stat(to + "/one/" + name); (err == nil) != there {
			t.Errorf("%s: %v", name, err)
		}
	}
	o := g.client(t, "", "put", from+"/site/page", from+"/other/page", from+"/site/tmp/secret", "--to", "clash").want(t, exitFailed)
	if !strings.Contains(o.stderr, "failed: page: another file of this transfer has that name") || !strings.Contains(o.stderr, "put 2 files") {
		t.Errorf("two files for one place: %s", o.stderr)
	}
	if b, err := os.ReadFile(to + "/clash/page"); err != nil || string(b) != "site/page" {
		t.Errorf("%q, %v", b, err)
	}
	refused(t, g.client(t, "", "put", from+"/site/sub/", from+"/other/", "--to", "two", "--delete"), exitUsage, "--delete: the paths have to be below one folder")
	if _, err := os.Stat(to + "/two"); err == nil {
		t.Error("something was put")
	}
}

func TestFilesUsage(t *testing.T) {
	t.Parallel()
	g := serve(t, "--root", t.TempDir(), "--writable")
	for _, args := range [][]string{
		{"get", "x"}, {"get", "--to", "x"}, {"get", "x", "--to", "y", "--bwlimit", "fast"}, {"get", "x", "--to", "y", "--bwlimit", "-1"},
		{"get", "x", "--to", "y", "--glob", "--regex"}, {"get", "x", "--to", "y", "--existing", "maybe"}, {"put", ".", "--to", "../up"},
		{"put", ".", "--to", "/abs"}, {"get", "x", "--to", "y", "--exclude", "[", "--regex"},
	} {
		g.client(t, "", args...).want(t, exitUsage)
	}
	shoal(t, "", "server", "--root", "/does/not/exist").want(t, exitUsage)
	shoal(t, "", "server", "--writable").want(t, exitUsage)
}

// Each failed file is named with its reason, the others arrive, and the exit status says so.
func TestFilesFailuresNamed(t *testing.T) {
	t.Parallel()
	from, to := tree(t, 100), t.TempDir()
	if err := syscall.Mkfifo(from+"/pipe", 0o600); err != nil {
		t.Fatal(err)
	}
	g := serve(t, "--root", from)
	o := g.client(t, "", "get", ".", "no/such\x1bc", "--to", to, "--output", "jsonl").want(t, exitFailed)
	if !strings.Contains(o.stderr, "failed: pipe: a fifo") || !strings.Contains(o.stderr, `failed: no/such\x1bc: nothing there`) ||
		!strings.Contains(o.stderr, "got 301 files") || !strings.Contains(o.stdout, `"action":"failed"`) {
		t.Errorf("%q", o.stderr)
	}
	if o := g.client(t, "", "get", "logs", "--to", to+"/dry", "--dry-run").want(t, exitOK); !strings.Contains(o.stdout, "copied\tlogs/01/001.log") {
		t.Errorf("%q", o.stdout)
	}
	if _, err := os.Stat(to + "/dry"); err == nil {
		t.Error("a dry run has made its target")
	}
}

// What may not be read or written is named, and nothing else suffers.
func TestFilesWithoutRights(t *testing.T) {
	t.Parallel()
	nobody := func(c *exec.Cmd) {
		if os.Getuid() == 0 {
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		}
	}
	base, err := os.MkdirTemp("", "shoal-rights-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	for _, dir := range []struct {
		name string
		mode fs.FileMode
	}{{"", 0o755}, {"offered", 0o755}, {"offered/open", 0o777}, {"offered/shut", 0o555}, {"to", 0o777}, {"from", 0o755}} {
		_ = os.Mkdir(filepath.Join(base, dir.name), 0o755) // base is there
		if err := os.Chmod(filepath.Join(base, dir.name), dir.mode); err != nil {
			t.Fatal(err)
		}
	}
	for name, mode := range map[string]fs.FileMode{"offered/fine": 0o644, "offered/private": 0, "from/a": 0o644} {
		if err := os.WriteFile(filepath.Join(base, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(base, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	ready := filepath.Join(base, "to/ready")
	g := &gateway{running: start(t, nobody, "server", "--ready-file", ready, "--root", base+"/offered", "--writable", "--listen", "tcp://127.0.0.1:0")}
	eventually(t, "the gateway serves", func() bool {
		data, err := os.ReadFile(ready)
		g.urls = strings.Fields(string(data))
		return err == nil
	})
	o := g.client(t, "", "get", ".", "--to", t.TempDir()).want(t, exitFailed)
	if !strings.Contains(o.stderr, "failed: private: permission denied") || !strings.Contains(o.stderr, "got 1 file,") {
		t.Errorf("%q", o.stderr)
	}
	o = g.client(t, "", "put", base+"/from/", "--to", "shut").want(t, exitFailed)
	if !strings.Contains(o.stderr, "failed: from/a: permission denied") {
		t.Errorf("%q", o.stderr)
	}
	g.client(t, "", "put", base+"/from/", "--to", "open").want(t, exitOK)
	r := start(t, nobody, "client", "--gateway", g.urls[0], "get", "fine", "--to", base+"/offered/shut")
	if status := r.wait(); status != exitFailed || !strings.Contains(r.stderr.String(), "permission denied") {
		t.Errorf("%d %q", status, r.stderr.String())
	}
}

// interrupted runs a transfer and calls cut when some of it has arrived in dir: no more than that has passed the valve, which
// stays closed. It returns how many of the small files were there.
func interrupted(t *testing.T, g *gateway, dir string, cut func(r *running), args ...string) (r *running, v *valve, done int) {
	t.Helper()
	v = newValve(t, g.urls[0])
	r = start(t, nil, append([]string{"client", "--gateway", v.url}, args...)...)
	eventually(t, "a part has arrived", func() bool {
		done = 0
		_ = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(p, ".log") {
				done++
			}
			return nil
		})
		large := int64(0)
		for _, p := range temps(dir) {
			var info syscall.Stat_t // ranges are written at once: what counts is what is there, not where it ends
			if err := syscall.Stat(p, &info); err == nil {
				large = max(large, info.Blocks*512)
			}
		}
		if large > 9<<20 && done > 100 || large > 24<<20 { // of 33 MiB
			return true
		}
		v.allow(1 << 20)
		return false
	})
	cut(r)
	return r, v, done
}

// Ctrl+C leaves nothing temporary; a killed client and a killed gateway leave what the next run goes on with.
func TestFilesCutShort(t *testing.T) {
	t.Parallel()
	for _, way := range []string{"get", "put"} {
		for _, how := range []string{"interrupt", "kill client", "kill gateway"} {
			t.Run(way+" "+how, func(t *testing.T) {
				t.Parallel()
				from, to := tree(t, 33<<20), t.TempDir()
				listen := "unix://" + socketPath(t)
				root, args := from, []string{"get", ".", "--to", to}
				if way == "put" {
					root, args = to, []string{"put", from + "/", "--to", "."}
				}
				serveIt := func() *gateway { return serve(t, "--root", root, "--writable", "--listen", listen) }
				g := serveIt()
				r, v, done := interrupted(t, g, to, func(r *running) {
					switch how {
					case "interrupt":
						r.signal(os.Interrupt)
					case "kill client":
						r.signal(syscall.SIGKILL)
					default:
						g.signal(syscall.SIGKILL)
						<-g.ended
					}
				}, args...)
				switch how {
				case "interrupt":
					v.trickle(r.ended)
					v.openUp() // what it said last may not have passed yet
					if status := r.wait(); status != exitInterrupted {
						t.Errorf("status %d", status)
					}
					eventually(t, "nothing temporary is left", func() bool { return len(temps(to)) == 0 })
				case "kill client":
					<-r.ended
				default: // the client is patient: the gateway comes back, and it goes on
					v.openUp()
					g = serveIt()
					if status := r.wait(); status != exitOK && status != exitUnknown {
						t.Errorf("status %d: %s", status, r.stderr.String())
					}
				}
				o := g.client(t, "", append(args, "--output", "jsonl")...).want(t, exitOK)
				sameTrees(t, to, from)
				kept := bytes.Count([]byte(o.stdout), []byte(`"kept"`))
				if kept < done {
					t.Errorf("only %d files were not sent again, %d were there", kept, done)
				}
				if how == "kill client" && !strings.Contains(o.stderr, "MiB in") {
					t.Errorf("%q", o.stderr)
				}
				if how == "kill client" && sentMiB(t, o.stderr) > 30 {
					t.Errorf("the large file was sent from its beginning: %q", o.stderr)
				}
				if left := temps(to); len(left) > 0 && way == "get" {
					t.Errorf("left: %q", left)
				}
			})
		}
	}
}

// sentMiB reads the closing line.
func sentMiB(t *testing.T, stderr string) (mib float64) {
	t.Helper()
	_, after, ok := strings.Cut(stderr, "; ")
	if _, err := fmt.Sscanf(after, "%f MiB", &mib); !ok || err != nil {
		t.Fatalf("%q", stderr)
	}
	return mib
}
