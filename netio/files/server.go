package files

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"

	"shoal/netio"
)

// ServerConfig is what a gateway can be told about the files it offers. Zero means the default but for Root.
type ServerConfig struct {
	Root     string // the folder that is offered; needed
	Writable bool   // clients may put files into it, and remove files
	Fsync    Fsync  // the least of what put does before a file takes its place

	MaxTransfers int // streams that read or write files at once; others wait for their turn; default 64
	MaxWaiting   int // streams that wait; those beyond are refused as busy; default 64
	MaxUploads   int // large files that clients are putting at once; default 32

	Logger *slog.Logger // default: none
}

// Server offers a folder to the clients of a gateway. Its bounds hold for all clients together: each stream that runs
// has at most five descriptors and about a megabyte, each one that waits its argument, half a megabyte at most.
type Server struct {
	config  ServerConfig
	root    *os.Root
	turns   chan struct{} // one for each stream that runs
	waiting chan struct{}
	log     *slog.Logger

	mu      sync.Mutex // guards what follows
	uploads map[string]*upload
	tokens  map[token]*upload
}

// Serve registers the subroutines of package files with a gateway. Close the Server when the gateway has ended.
func Serve(gw *netio.Gateway, c ServerConfig) (*Server, error) {
	root, err := os.OpenRoot(c.Root)
	if err != nil {
		return nil, err
	}
	orDefault := func(n *int, def int) {
		if *n <= 0 {
			*n = def
		}
	}
	orDefault(&c.MaxTransfers, 64)
	orDefault(&c.MaxWaiting, 64)
	orDefault(&c.MaxUploads, 32)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{config: c, root: root, log: c.Logger, turns: make(chan struct{}, c.MaxTransfers),
		waiting: make(chan struct{}, c.MaxWaiting), uploads: map[string]*upload{}, tokens: map[token]*upload{}}
	gw.HandleStream(nameList, s.turnStream(s.list))
	gw.HandleStream(nameGet, s.turnStream(s.get))
	gw.HandleDuplex(namePut, s.turnDuplex(s.put))
	gw.HandleDuplex(nameRange, s.turnDuplex(s.takeRange))
	gw.HandleDuplex(nameFinish, s.turnDuplex(s.finish))
	gw.HandleDuplex(nameLarge, s.writable(s.large))
	return s, nil
}

// Close lets go of the folder.
func (s *Server) Close() error { return s.root.Close() }

type streamFunc = func(ctx context.Context, in []byte, st *netio.Stream) error

// turnStream lets so many streams run as there may; the others wait, or are refused.
func (s *Server) turnStream(fn streamFunc) streamFunc {
	return func(ctx context.Context, in []byte, st *netio.Stream) error {
		if len(in) > argumentMax {
			return &netio.StatusError{Code: failureWire, Text: fmt.Sprintf("argument of %d bytes, the limit is %d", len(in), argumentMax)}
		}
		select {
		case s.turns <- struct{}{}:
		default:
			select {
			case s.waiting <- struct{}{}:
			default:
				return &netio.StatusError{Status: netio.StatusBusy, Text: "too many transfers"}
			}
			select {
			case s.turns <- struct{}{}:
				<-s.waiting
			case <-ctx.Done():
				<-s.waiting
				return context.Cause(ctx)
			}
		}
		defer func() { <-s.turns }()
		return asFailure(fn(ctx, in, st))
	}
}

func (s *Server) turnDuplex(fn streamFunc) streamFunc { return s.writable(s.turnStream(fn)) }

// writable refuses where clients may not write.
func (s *Server) writable(fn streamFunc) streamFunc {
	return func(ctx context.Context, in []byte, st *netio.Stream) error {
		if !s.config.Writable {
			return &netio.StatusError{Status: netio.StatusNotAllowed, Code: failureReadOnly, Text: "started without --writable"}
		}
		return asFailure(fn(ctx, in, st))
	}
}

// Codes of the ends of streams: from failureFile on, the Code of an *Error.
const (
	failureWire     = 1024
	failureReadOnly = 1025
	failureFile     = 1100
)

// asFailure makes what a client can make an error of again.
func asFailure(err error) error {
	var e *Error
	switch {
	case errors.As(err, &e):
		return &netio.StatusError{Code: failureFile + uint16(e.Code), Text: e.reason(), Details: []byte(e.Path)}
	case errors.Is(err, errWire):
		return &netio.StatusError{Code: failureWire, Text: err.Error()}
	}
	return err
}

// list answers the entries that a Selection, in JSON, selects.
func (s *Server) list(ctx context.Context, in []byte, st *netio.Stream) error {
	var sel Selection
	if err := json.Unmarshal(in, &sel); err != nil {
		return wireError("selection: %v", err)
	}
	if len(sel.Patterns)+len(sel.Exclude) > maxPatterns {
		return wireError("more than %d patterns", maxPatterns)
	}
	src := newRootSource(s.root)
	defer src.close()
	out := newChunkWriter(st, CompressNone, nil)
	var scratch []byte
	err := walk(ctx, src, sel, func(e *Entry) error {
		scratch = appendEntry(scratch[:0], e)
		return out.record(recEntry, scratch)
	})
	if err != nil {
		return err
	}
	return out.flush()
}

// Flags of a file in the argument of get.
const (
	wantCompared = 1 << 0 // a hash follows; what has it is not sent
	wantVerdict  = 1 << 1 // with wantCompared: what does not have it is not sent either
	wantRange    = 1 << 2 // a range follows, and the hashes of the blocks that the client has
)

// get sends files. Its argument: u8 compression (0 none, 1 S2, 2 zstd), then for each file u8 flags, path (u16 length),
// i64 size, i64 mtime; 16 bytes hash if compared; i64 offset, i64 length, u16 number of hashes, these, if a range. Its
// answer has for each file, in the same order, its content and its end.
func (s *Server) get(ctx context.Context, in []byte, st *netio.Stream) error {
	f := fields{b: in}
	src := newRootSource(s.root)
	defer src.close()
	out := &sender{src: src, out: newChunkWriter(st, compressionOf(f.u8()), nil)}
	for len(f.b) > 0 {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := s.getOne(&f, out); err != nil {
			return err
		}
	}
	return out.out.flush()
}

func (s *Server) getOne(f *fields, out *sender) error {
	flags := f.u8()
	r := request{path: f.text(), want: attributes{size: f.i64(), modified: f.i64()}}
	if flags&wantCompared != 0 {
		have := f.sum()
		r.have, r.sumOnly = &have, flags&wantVerdict != 0
	}
	var offset, length int64
	var have []sum
	if flags&wantRange != 0 {
		offset, length = f.i64(), f.i64()
		have = make([]sum, min(int(f.u16()), len(f.b)/len(sum{})))
		for i := range have {
			have[i] = f.sum()
		}
	}
	if f.bad {
		return wireError("short request")
	}
	if err := checkPath(r.path); err != nil {
		return out.out.failed(fileError(r.path, err))
	}
	if flags&wantRange == 0 {
		_, err := out.whole(r)
		return err
	}
	if offset < 0 || length <= 0 || length > rangeSize || offset > r.want.size-length {
		return wireError("range of %d bytes at %d", length, offset)
	}
	_, err := out.span(r, offset, length, have)
	return err
}

func compressionOf(wire uint8) Compression {
	switch wire {
	case 1:
		return CompressS2
	case 2:
		return CompressZstd
	}
	return CompressNone
}

func (c Compression) wire() uint8 {
	switch c {
	case CompressS2:
		return 1
	case CompressZstd:
		return 2
	}
	return 0
}
