package files

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"shoal/netio"
)

var hostileNames = map[string]error{
	"..": ErrName, "../x": ErrName, "a/../../x": ErrName, "/etc/passwd": ErrName, "a\x00b": ErrName, "": ErrName, "a//b": ErrName,
	"a/./b": ErrName, "./a": ErrName, "a/": ErrName, ".shoal-0000000000000000.part": ErrName,
	"d/.shoal-x.part/y": ErrName, strings.Repeat("a/", 2100) + "b": ErrName, strings.Repeat("n", 256): ErrName,
	"out/x": ErrOutside, "outfile": nil, "abs/x": ErrOutside, "fifo": ErrNotRegular, "fifo/x": ErrFolder, "folder": ErrFolder,
}

// trap makes a folder with everything in it that may lead out or hold up, and a secret beside it.
func trap(t *testing.T) (root, outside string) {
	dir := t.TempDir()
	root, outside = dir+"/root", dir+"/outside"
	put(t, outside+"/x", []byte("secret"), 0o644, 0)
	must(t, os.MkdirAll(root+"/folder", 0o755))
	must(t, os.Symlink("../outside", root+"/out"))
	must(t, os.Symlink("../outside/x", root+"/outfile"))
	must(t, os.Symlink(outside, root+"/abs"))
	mkfifo(t, root+"/fifo")
	return root, outside
}

// A raw client asks for names that no list has.
func TestHostileGet(t *testing.T) {
	root, _ := trap(t)
	b := serve(t, ServerConfig{Root: root})
	for name, want := range hostileNames {
		st, err := b.swarm.OpenStream(t.Context(), nameGet, appendRequest([]byte{0}, name, attributes{}, 0))
		must(t, err)
		kind, body, err := newChunkReader(st, nil).next()
		must(t, err)
		failure := parseFailed(name, body)
		if kind != recFailed || want != nil && !errors.Is(failure, want) {
			t.Errorf("%.40q: record %q, %v; want %v", name, kind, failure, want)
		}
	}
	for _, pattern := range []string{"../*", "out/*", "abs/**", "out", "fifo"} {
		for e, err := range b.List(t.Context(), Selection{Patterns: []string{pattern}}) {
			must(t, err)
			if e.Kind != KindProblem {
				t.Errorf("%s lists %+v", pattern, e)
			}
		}
	}
}

// A raw client puts files under such names.
func TestHostilePut(t *testing.T) {
	root, outside := trap(t)
	b := serve(t, ServerConfig{Root: root, Writable: true})
	before := snapshot(t, outside)
	for name, want := range hostileNames {
		if name == "fifo" || name == "outfile" { // these are replaced, as they should be
			continue
		}
		for _, e := range []Entry{
			{Path: name, Kind: KindFile, Size: 1},
			{Path: name + "/new", Kind: KindFile, Size: 1},
			{Path: name, Kind: KindLink, Link: "../../outside"},
			{Path: "l", Kind: KindLink, Link: name + "/../../x"},
		} {
			if e.Path == "l" && !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, "..") || e.Path != "l" && e.Path != name && want != ErrOutside {
				continue
			}
			st, err := b.swarm.Duplex(t.Context(), namePut, appendEntry(rules{}.append(nil, 0), &e))
			must(t, err)
			kind, body, err := newChunkReader(st, nil).next()
			if err != nil || kind == recNeed {
				if e.Kind == KindFile { // refused at the latest when it is written
					kind, body, err = sendOne(st)
				}
			}
			if err != nil || kind != recFailed {
				t.Errorf("%.40q as %v: record %q %q, %v", e.Path, e.Kind, kind, body, err)
			}
			st.Abort()
		}
	}
	for _, name := range []string{"../up", "/abs", "out/x", "fifo/x"} {
		e := Entry{Path: name, Kind: KindFile, Size: largeSize}
		st, err := b.swarm.Duplex(t.Context(), nameLarge, appendEntry(rules{}.append(nil, 0), &e))
		must(t, err)
		if _, _, err := st.Recv(); err == nil {
			t.Errorf("%s taken as a large file", name)
		}
		st.Abort()
		st, err = b.swarm.Duplex(t.Context(), nameFinish, appendText(rules{}.append(nil, putPrune), ""))
		must(t, err)
		out := newChunkWriter(st, CompressNone, nil)
		must(t, out.record(recFolder, (&folderEnd{path: name, known: true, prune: true, now: attributes{modified: 1, mode: 0o700}}).append(nil)))
		must(t, out.record(recNames, nil))
		must(t, out.flush())
		st.CloseSend()
		_, _ = st.Result()
	}
	after := snapshot(t, outside)
	if strings.Join(before, "\n") != strings.Join(after, "\n") {
		t.Fatalf("outside: %q became %q", before, after)
	}
	noTemps(t, root)
}

// sendOne sends a file of one byte and returns the answer.
func sendOne(st *netio.ClientStream) (byte, []byte, error) {
	return sendRecords(st, string([]byte{recData, recSum}))
}

// sendRecords sends records of these kinds and the end of a file, and returns the answer. Content is one byte.
func sendRecords(st *netio.ClientStream, kinds string) (byte, []byte, error) {
	out := newChunkWriter(st, CompressNone, nil)
	one := sumOf([]byte("x"))
	bodies := map[byte][]byte{recData: []byte("x"), recSum: one[:]}
	for _, kind := range []byte(kinds) {
		_ = out.record(kind, bodies[kind])
	}
	_ = out.record(recEnd, attributes{size: int64(min(len(kinds), 1))}.append(nil))
	if err := out.flush(); err != nil {
		return 0, nil, err
	}
	st.CloseSend()
	return newChunkReader(st, nil).next()
}

// lyingGateway lists what it is told, and sends a file of one byte for each, whatever it is asked.
func lyingGateway(t *testing.T, entries []Entry) *Client {
	gw := netio.NewGateway(netio.GatewayConfig{Listen: []string{"tcp://127.0.0.1:0"}})
	gw.HandleStream(nameList, func(_ context.Context, _ []byte, st *netio.Stream) error {
		out := newChunkWriter(st, CompressNone, nil)
		for i := range entries {
			if err := out.record(recEntry, appendEntry(nil, &entries[i])); err != nil {
				return err
			}
		}
		return out.flush()
	})
	gw.HandleStream(nameGet, func(_ context.Context, _ []byte, st *netio.Stream) error {
		out := newChunkWriter(st, CompressNone, nil)
		one := sumOf([]byte("x"))
		for range entries { // more than was asked for, too
			_ = out.record(recData, []byte("x"))
			_ = out.record(recSum, one[:])
			_ = out.record(recEnd, attributes{size: 1, mode: 0o644}.append(nil))
		}
		return out.flush()
	})
	must(t, gw.Start())
	sw, err := netio.Dial(t.Context(), gw.URLs()[0], nil)
	must(t, err)
	t.Cleanup(func() {
		_ = sw.Close()
		_ = gw.Close()
	})
	return NewClient(sw)
}

// A gateway that lies about names must not make its client write anywhere but below the target.
func TestHostileGateway(t *testing.T) {
	entries := []Entry{
		{Path: "ok", Kind: KindFile, Size: 1},
		{Path: "../evil", Kind: KindFile, Size: 1},
		{Path: "/tmp/evil", Kind: KindFile, Size: 1},
		{Path: "x/../evil", Kind: KindFile, Size: 1, base: 2},
		{Path: "x/", Kind: KindFile, Size: 1, base: 2},
		{Path: "deep//evil", Kind: KindFile, Size: 1, base: 5},
		{Path: "nul\x00", Kind: KindFile, Size: 1},
		{Path: "../updir", Kind: KindFolder, Mode: 0o755, Modified: 1},
		{Path: "l1", Kind: KindLink, Link: "../evil"},
		{Path: "l2", Kind: KindLink, Link: "/etc"},
		{Path: "there/evil", Kind: KindFile, Size: 1}, // there leads out of the target
		{Path: "there", Kind: KindFolder, Mode: 0o777, Modified: 1},
		{Path: "d/e", Kind: KindLink, Link: "../d"},
		{Path: "good/link", Kind: KindLink, Link: "../ok"},
		{Path: "there/large", Kind: KindFile, Size: largeSize},
		{Path: ".shoal-1.part", Kind: KindFile, Size: 1},
	}
	c := lyingGateway(t, entries)
	dir := t.TempDir()
	must(t, os.MkdirAll(dir+"/target", 0o755))
	must(t, os.MkdirAll(dir+"/outside", 0o700))
	must(t, os.Symlink("../outside", dir+"/target/there"))
	s, err := c.Get(t.Context(), all, dir+"/target", Options{Delete: true})
	must(t, err)
	if s.Copied != 1 || s.Links != 2 || s.Failed < 12 || s.Deleted != 0 {
		t.Errorf("%+v", s)
	}
	if got := strings.Join(names(t, dir), " "); got != "target/d/e target/good/link target/ok target/there" {
		t.Errorf("written: %s", got)
	}
	if info, _ := os.Stat(dir + "/outside"); info.Mode().Perm() != 0o700 {
		t.Errorf("outside has mode %v", info.Mode())
	}
}

// Content that is not what its hash says is never put in place.
func TestHostileContent(t *testing.T) {
	b := serve(t, ServerConfig{Writable: true})
	wrong := sumOf([]byte("y"))
	right := sumOf([]byte("x"))
	end := attributes{size: 1}.append(nil)
	for name, send := range map[string]func(out *chunkWriter){
		"wrong hash": func(out *chunkWriter) { _ = out.record(recSum, wrong[:]); _ = out.record(recEnd, end) },
		"no hash":    func(out *chunkWriter) { _ = out.record(recEnd, end) },
		"too short": func(out *chunkWriter) {
			_ = out.record(recSum, right[:])
			_ = out.record(recEnd, attributes{size: 2}.append(nil))
		},
		"no record": func(out *chunkWriter) { _ = out.record('?', nil) },
		"setuid": func(out *chunkWriter) {
			_ = out.record(recSum, right[:])
			_ = out.record(recEnd, attributes{1, 0, 0o4755}.append(nil))
		},
		"ends": func(out *chunkWriter) {},
	} {
		e := Entry{Path: "f", Kind: KindFile, Size: 1}
		st, err := b.swarm.Duplex(t.Context(), namePut, appendEntry(rules{preserve: true}.append(nil, 0), &e))
		must(t, err)
		in, out := newChunkReader(st, nil), newChunkWriter(st, CompressNone, nil)
		if kind, _, err := in.next(); kind != recNeed || err != nil {
			t.Fatal(kind, err)
		}
		_ = out.record(recData, []byte("x"))
		send(out)
		_ = out.flush()
		st.CloseSend()
		if kind, _, err := in.next(); err == nil && kind != recFailed {
			t.Errorf("%s: record %q", name, kind)
		}
		if got := names(t, b.root); len(got) > 0 {
			t.Errorf("%s left %q", name, got)
		}
	}
	if n := b.gw.Stats().Panics; n != 0 {
		t.Fatalf("%d panics", n)
	}
}

// Garbage in each argument and stream ends that stream and nothing else.
func TestGarbage(t *testing.T) {
	b := serve(t, ServerConfig{Writable: true})
	put(t, b.root+"/x", content(100, 1), 0o644, 0)
	before := snapshot(t, b.root)
	for seed := range uint64(60) {
		garbage := content(int(seed*7%150), seed+1)
		if seed%3 == 0 && len(garbage) > 8 {
			clear(garbage[:3]) // so that more of it is looked at
		}
		for _, name := range []string{nameList, nameGet} {
			st, err := b.swarm.OpenStream(t.Context(), name, garbage)
			must(t, err)
			_, _ = st.Result()
		}
		for _, name := range []string{namePut, nameLarge, nameRange, nameFinish} {
			st, err := b.swarm.Duplex(t.Context(), name, garbage)
			must(t, err)
			_ = st.Send(int64(seed%4), content(int(seed*11%300), seed))
			st.CloseSend()
			_, _ = st.Result()
		}
	}
	huge, err := b.swarm.OpenStream(t.Context(), nameGet, make([]byte, argumentMax+1))
	must(t, err)
	if _, err := huge.Result(); err == nil {
		t.Fatal("an argument beyond the limit was taken")
	}
	if n := b.gw.Stats().Panics; n != 0 {
		t.Fatalf("%d panics", n)
	}
	if after := snapshot(t, b.root); strings.Join(before, "") != strings.Join(after, "") {
		t.Fatalf("%q became %q", before, after)
	}
}

// Content that comes where only a verdict was asked for, or in a dry run, is not written.
func TestContentNotAskedFor(t *testing.T) {
	for name, o := range map[string]Options{
		"dry run": {Checksum: true, DryRun: true},
		"fail":    {Checksum: true, Existing: ExistingFail},
	} {
		t.Run("get "+name, func(t *testing.T) {
			c := lyingGateway(t, []Entry{{Path: "f", Kind: KindFile, Size: 1, Modified: 1}})
			dir := t.TempDir()
			put(t, dir+"/f", []byte("y"), 0o644, 0)
			before := snapshot(t, dir)
			if _, err := c.Get(t.Context(), all, dir, o); err == nil {
				t.Error("no error")
			}
			if after := snapshot(t, dir); !slices.Equal(before, after) {
				t.Errorf("%q became %q", before, after)
			}
		})
		t.Run("put "+name, func(t *testing.T) {
			b := serve(t, ServerConfig{Writable: true})
			put(t, b.root+"/f", []byte("y"), 0o644, 0)
			before := snapshot(t, b.root)
			e := Entry{Path: "f", Kind: KindFile, Size: 1, Modified: 1}
			r := rules{checksum: true, dryRun: o.DryRun, existing: o.Existing}
			for _, kinds := range []string{"", "dh", "dhs", "dhx", "rdh"} {
				st, err := b.swarm.Duplex(t.Context(), namePut, appendEntry(r.append(nil, 0), &e))
				must(t, err)
				if kind, _, err := newChunkReader(st, nil).next(); kind != recAsk || err != nil {
					t.Fatalf("record %q, %v", kind, err)
				}
				if kind, _, err := sendRecords(st, kinds); err == nil {
					t.Errorf("%s: record %q", kinds, kind)
				}
				if after := snapshot(t, b.root); !slices.Equal(before, after) {
					t.Fatalf("%q became %q", before, after)
				}
			}
		})
	}
}

func TestLinksThatLeadOut(t *testing.T) {
	for _, c := range []struct {
		p, link string
		want    error
	}{
		{"l", "x", nil}, {"l", "d/x", nil}, {"d/l", "../x", nil}, {"d/l", "./../x/y", nil}, {"a/b/l", "../../x", nil},
		{"l", "..", ErrOutside}, {"l", "./../x", ErrOutside}, {"d/l", "../../x", ErrOutside}, {"l", "/x", ErrOutside},
		{"l", "d/../x", ErrOutside}, {"l", "d/./../../x", ErrOutside}, {"d/l", "../x/../y", ErrOutside},
		{"l", "", ErrName}, {"l", "a\x00", ErrName}, {"l", strings.Repeat("a/", 2049), ErrName},
	} {
		if err := checkLink(c.p, c.link); !errors.Is(err, c.want) {
			t.Errorf("%q to %.20q: %v, want %v", c.p, c.link, err, c.want)
		}
	}
}

// Two links that stay below the root each must not lead out of it together.
func TestLinkBehindLink(t *testing.T) {
	entries := []Entry{
		{Path: "a/b/c/d/up", Kind: KindLink, Link: ".."},
		{Path: "a/b/c/d/up/e/out", Kind: KindLink, Link: "../../../../../.."},
		{Path: "deep", Kind: KindLink, Link: "a/b"},
		{Path: "over", Kind: KindLink, Link: "deep/../../.."},
		{Path: "d/fine", Kind: KindLink, Link: "../deep"},
	}
	dir := t.TempDir() + "/target"
	s, err := lyingGateway(t, entries).Get(t.Context(), all, dir, Options{})
	f := failures(s)
	if err != nil || s.Links != 3 || !errors.Is(f["a/b/c/d/up/e/out"], ErrOutside) || !errors.Is(f["over"], ErrOutside) {
		t.Errorf("%+v %v", s, err)
	}
	if got := strings.Join(names(t, dir), " "); got != "a/b/c/d/up d/fine deep" {
		t.Errorf("written: %s", got)
	}
}
