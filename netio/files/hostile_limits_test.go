package files

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"shoal/netio"
)

// Compressed chunks that expand beyond a chunk are refused before memory is spent on them.
func TestBomb(t *testing.T) {
	zeros := make([]byte, 64<<20)
	var p packer
	if _, err := p.unpack(zstdChunk, zstdEncoder().EncodeAll(zeros, nil)); !errors.Is(err, errWire) {
		t.Fatalf("zstd: %v", err)
	}
	if _, err := p.unpack(s2Chunk, binary.AppendUvarint(nil, 1<<31)); !errors.Is(err, errWire) {
		t.Fatalf("s2: %v", err)
	}
	if _, err := p.unpack(7, nil); !errors.Is(err, errWire) {
		t.Fatalf("unknown: %v", err)
	}
}

// A client cannot make the gateway hold more than its limits: streams beyond them wait or are refused as busy.
func TestLimits(t *testing.T) {
	b := serve(t, ServerConfig{MaxTransfers: 3, MaxWaiting: 4, MaxUploads: 2, Writable: true})
	put(t, b.root+"/x", content(4<<20, 1), 0o644, 0)
	must(t, b.swarm.WaitConnected(t.Context()))
	before := descriptors(t)
	argument := appendRequest([]byte{0}, "x", attributes{}, 0)
	var streams []*netio.ClientStream
	for range 50 { // nobody reads them
		st, err := b.swarm.OpenStream(t.Context(), nameGet, argument)
		must(t, err)
		streams = append(streams, st)
	}
	wait(t, "refusals", func() bool { return b.gw.Stats().Streams == 7 })
	if more := descriptors(t) - before; more > 3*5 {
		t.Errorf("%d more descriptors for 3 transfers", more)
	}
	var fine sync.WaitGroup
	var refused, done int
	var mu sync.Mutex
	for _, st := range streams {
		fine.Go(func() {
			_, err := io.Copy(io.Discard, st.Reader())
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				done++
			case errors.Is(err, netio.ErrBusy):
				refused++
			default:
				t.Error(err)
			}
		})
	}
	fine.Wait()
	if done < 7 || refused < 1 || done+refused != len(streams) {
		t.Errorf("%d done, %d refused", done, refused)
	}
	for i := range 3 {
		e := Entry{Path: string(rune('a' + i)), Kind: KindFile, Size: largeSize}
		st, err := b.swarm.Duplex(t.Context(), nameLarge, appendEntry(rules{}.append(nil, 0), &e))
		must(t, err)
		if _, _, err := st.Recv(); (i == 2) != errors.Is(err, netio.ErrBusy) {
			t.Errorf("upload %d: %v", i, err)
		}
		defer st.Abort()
	}
}

// A size that nobody has is refused before memory is spent on it, and its name is free again.
func TestHugeSize(t *testing.T) {
	b := serve(t, ServerConfig{Writable: true})
	for _, size := range []int64{maxSize + 1, 1 << 62, math.MaxInt64, largeSize} {
		e := Entry{Path: "f", Kind: KindFile, Size: size}
		st, err := b.swarm.Duplex(t.Context(), nameLarge, appendEntry(rules{}.append(nil, 0), &e))
		must(t, err)
		kind, _, err := newChunkReader(st, nil).next()
		if taken := kind == recDone; taken != (size == largeSize) {
			t.Errorf("%d: record %q, %v", size, kind, err)
		}
		st.Abort()
	}
	if n := b.gw.Stats().Panics; n != 0 {
		t.Errorf("%d panics", n)
	}
	s, err := lyingGateway(t, []Entry{{Path: "f", Kind: KindFile, Size: 1 << 62}}).Get(t.Context(), all, t.TempDir(), Options{})
	if err != nil || failures(s)["f"] == nil {
		t.Errorf("%+v %v", s, err)
	}
}

// What a client says of one folder is bounded.
func TestHostileFinish(t *testing.T) {
	for name, c := range map[string]struct {
		kind  byte
		texts []string
		want  error
	}{
		"long name":   {recNames, []string{strings.Repeat("n", maxElement+1)}, ErrName},
		"long folder": {recFrom, []string{strings.Repeat("n", maxPath+1)}, ErrName},
		"fine":        {recFrom, []string{"a", "b", "a"}, nil},
	} {
		b := serve(t, ServerConfig{Writable: true})
		st, err := b.swarm.Duplex(t.Context(), nameFinish, appendText(rules{}.append(nil, putPrune), ""))
		must(t, err)
		out := newChunkWriter(st, CompressNone, nil)
		must(t, out.record(recFolder, (&folderEnd{path: ".", prune: true}).append(nil)))
		must(t, sendTexts(out, c.kind, slices.Values(c.texts)))
		must(t, out.flush())
		st.CloseSend()
		_, err = st.Result()
		if err = remote(err); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
	}
	e := finisher{folder: &folderEnd{path: "."}}
	for i := range maxFrom + 1 {
		if err := e.record(recFrom, fields{b: appendText(nil, fmt.Sprint(i))}); (err != nil) != (i == maxFrom) {
			t.Fatalf("folder %d: %v", i, err)
		}
	}
}

// A few bytes of regular expression cannot take the gateway's memory.
func TestRegexLimits(t *testing.T) {
	b := serve(t, ServerConfig{})
	put(t, b.root+"/x", nil, 0o644, 0)
	repeat := func(re string, n int) (list []string) {
		for range n {
			list = append(list, re)
		}
		return list
	}
	for name, c := range map[string]struct {
		list []string
		want error
	}{
		"usual":      {repeat(`(?i)^logs/\pL{3,40}-[0-9]+\.(jpe?g|png)$`, 10), nil},
		"long":       {[]string{strings.Repeat("k", maxRegex+1)}, ErrName},
		"repeats":    {[]string{strings.Repeat(`(?i:k{1000})`, 80)}, ErrName},
		"nested":     {[]string{strings.Repeat(`((k{10}){10}){10}`, 50)}, ErrName},
		"open end":   {[]string{strings.Repeat(`k{1000,}`, 80)}, ErrName},
		"classes":    {[]string{strings.Repeat(`\PL{1000}`, 10)}, ErrName},
		"unreadable": {[]string{`(`}, ErrName},
	} {
		x := Selection{Patterns: []string{"x"}, Syntax: SyntaxRegex, Exclude: c.list}
		var err error
		for _, err = range b.List(t.Context(), x) {
		}
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		for e, err := range b.List(t.Context(), Selection{Patterns: c.list, Syntax: SyntaxRegex}) {
			must(t, err)
			if c.want != nil && !errors.Is(e.Err, c.want) {
				t.Errorf("%s as a pattern: %+v", name, e)
			}
		}
	}
	var err error
	for _, err = range b.List(t.Context(), Selection{Patterns: []string{"x"}, Syntax: SyntaxRegex, Exclude: repeat(`k{1000}`, 1000)}) {
	}
	if !errors.Is(err, ErrName) {
		t.Errorf("many: %v", err)
	}
}
