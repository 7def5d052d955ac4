package files

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/url"
	"time"

	"shoal/netio"
)

// Client gets files from a gateway and puts files there, over a swarm that may carry anything else meanwhile. It is
// safe for concurrent use.
type Client struct {
	swarm *netio.Swarm
	near  bool // the gateway is on this machine
}

// NewClient returns a client that uses a swarm, which stays the caller's.
func NewClient(s *netio.Swarm) *Client {
	near := false
	if u, err := url.Parse(s.URL()); err == nil {
		host := u.Hostname()
		near = u.Scheme == "unix" || host == "localhost" || host == "::1" || len(host) > 4 && host[:4] == "127."
	}
	return &Client{swarm: s, near: near}
}

// Options say how files are transferred. Zero means the default, everywhere.
type Options struct {
	DryRun     bool        // only say what would be done
	Checksum   bool        // compare files of the same size by content rather than by time
	NoPreserve bool        // modes and times are not kept; the next run then takes files for changed, but for Checksum
	Delete     bool        // remove from folders that are transferred whole what the source does not have
	Existing   Existing    // what becomes of files that are there and differ
	Fsync      Fsync       // what must be on the disk before a file takes its place
	Compress   Compression // default CompressAuto
	Limit      int64       // bytes a second; default: none
	Streams    int         // streams that carry files at once; default 8

	// Each is called with what became of each file, folder and link, by one goroutine at a time.
	Each func(Result)
	// Progress is called now and then while the transfer is under way, and once at its end, by one goroutine.
	Progress func(Progress)
}

// Action is what was done, or with DryRun what would be.
type Action string

// The actions.
const (
	Copied  Action = "copied"
	Kept    Action = "kept" // it was there already, or was to stay
	Made    Action = "made" // a folder
	Linked  Action = "linked"
	Deleted Action = "deleted"
	Failed  Action = "failed"
)

// Result is what became of one file, folder or link.
type Result struct {
	Path   string // at the source; of what was deleted, at the target
	Action Action
	Kind   Kind
	Size   int64
	Err    error // of Failed; an *Error, or why the transfer ended
}

// Summary counts results.
type Summary struct {
	Copied, Kept, Folders, Links, Deleted, Failed int64
	Bytes                                         int64 // of content that was carried
	Elapsed                                       time.Duration
	Failures                                      []Result // the first thousand of them
	// NotDeleted says that Delete was asked for, but not done, since something had failed.
	NotDeleted bool
}

// add counts what another transfer did.
func (s *Summary) add(other Summary) {
	s.Copied += other.Copied
	s.Kept += other.Kept
	s.Folders += other.Folders
	s.Links += other.Links
	s.Deleted += other.Deleted
	s.Failed += other.Failed
	s.Bytes += other.Bytes
	s.Elapsed += other.Elapsed
	s.Failures = append(s.Failures, other.Failures[:min(len(other.Failures), maxFailures-len(s.Failures))]...)
	s.NotDeleted = s.NotDeleted || other.NotDeleted
}

// maxFailures bounds Summary.Failures.
const maxFailures = 1000

// Progress says how far a transfer is.
type Progress struct {
	Files, TotalFiles int64 // done, and known so far
	Bytes, TotalBytes int64
	Failed            int64
	Listed            bool   // the totals will not grow any more
	Largest           string // in flight
	LargestSize       int64
}

// List yields what a selection means at the gateway: a folder before what is in it. What cannot be sent is yielded as an
// entry of KindProblem. An error ends it. Breaking the loop is fine.
func (c *Client) List(ctx context.Context, s Selection) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		argument, err := json.Marshal(s)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		st, err := c.swarm.OpenStream(ctx, nameList, argument)
		if err != nil {
			yield(Entry{}, remote(err))
			return
		}
		defer st.Abort()
		in := newChunkReader(st, nil)
		for {
			e, err := in.entry()
			if err == io.EOF {
				return
			}
			if err != nil {
				yield(Entry{}, remote(err))
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// remote makes of a stream's end what the gateway meant by it.
func remote(err error) error {
	var te *netio.TaskError
	if !errors.As(err, &te) {
		return err
	}
	switch {
	case te.Status == netio.StatusUnknownSubroutine:
		return ErrUnavailable
	case te.Code == failureReadOnly:
		return ErrReadOnly
	case te.Status == netio.StatusFailed && te.Code >= failureFile:
		return &Error{string(te.Details), Code(te.Code - failureFile), te.Text}
	}
	return err
}

// OpenRemote opens a file at the gateway for reading. What it yields is checked block by block; a file that has changed
// when its end is reached gives ErrChanged in place of io.EOF. The context bounds the reading too.
func (c *Client) OpenRemote(ctx context.Context, name string) (io.ReadCloser, error) {
	p, _, ok := clean(name)
	if !ok {
		return nil, refuse(CodeOutside, name, "not a path below the root")
	}
	st, err := c.swarm.OpenStream(ctx, nameGet, appendRequest([]byte{c.compression(CompressAuto).wire()}, p, attributes{}, 0))
	if err != nil {
		return nil, remote(err)
	}
	r := &remoteFile{path: p, stream: st, in: newChunkReader(st, nil)}
	if err := r.fill(); err != nil && err != io.EOF { // so that a file that is not there is known now
		st.Abort()
		return nil, err
	}
	return r, nil
}

// compression settles what Auto means.
func (c *Client) compression(want Compression) Compression {
	switch {
	case want != CompressAuto && want != "":
		return want
	case c.near:
		return CompressNone
	}
	return CompressS2
}
