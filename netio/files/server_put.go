package files

import (
	"context"
	"crypto/rand"
	"errors"
	"io"

	"shoal/netio"
)

// Flags in the arguments of put, large and finish.
const (
	putPreserve = 1 << 0
	putChecksum = 1 << 1
	putDryRun   = 1 << 2
	putInline   = 1 << 3 // large files come like small ones: their source reads in one go only
	putPrune    = 1 << 4
)

var existings = []Existing{ExistingOverwrite, ExistingUpdate, ExistingSkip, ExistingFail}
var fsyncs = []Fsync{FsyncNone, FsyncFiles, FsyncAll}

// append encodes rules: u8 flags, u8 what becomes of existing files, u8 fsync.
func (r rules) append(dst []byte, flags byte) []byte {
	set := func(bit byte, on bool) {
		if on {
			flags |= bit
		}
	}
	set(putPreserve, r.preserve)
	set(putChecksum, r.checksum)
	set(putDryRun, r.dryRun)
	index := func(n int) byte { return byte(max(n, 0)) }
	existing, fsync := 0, 0
	for i, e := range existings {
		if e == r.existing {
			existing = i
		}
	}
	for i, f := range fsyncs {
		if f == r.fsync {
			fsync = i
		}
	}
	return append(dst, flags, index(existing), index(fsync))
}

// rules decodes rules; the gateway's own Fsync is the least.
func (s *Server) rules(f *fields) (r rules, flags byte, err error) {
	flags = f.u8()
	existing, fsync := int(f.u8()), int(f.u8())
	if f.bad || existing >= len(existings) || fsync >= len(fsyncs) {
		return r, 0, wireError("rules")
	}
	for i, least := range fsyncs {
		if least == s.config.Fsync {
			fsync = max(fsync, i)
		}
	}
	return rules{flags&putPreserve != 0, flags&putChecksum != 0, flags&putDryRun != 0, existings[existing], fsyncs[fsync]}, flags, nil
}

// putter is one put stream at the gateway.
type putter struct {
	target *target
	in     receiver
	out    *chunkWriter
	inline bool
	dryRun bool
	awaits []await
}

// await is a file of which the client has been told that it is to say more.
type await struct {
	path    string
	large   bool
	differs error // with a compare: why it fails if it differs
}

// put takes the files of a batch. Its argument: rules, then entries, whose paths are those of the target. It first
// answers for each entry whether it is needed (recNeed, recAsk), stays (recKeep), is done (recDone: folders and links)
// or has failed. The client then sends what is needed, in the same order, and ends; the answers to that follow. Of a
// large file only the verdict of recAsk is sent; its content has a stream of its own.
func (s *Server) put(_ context.Context, in []byte, st *netio.Stream) error {
	f := fields{b: in}
	r, flags, err := s.rules(&f)
	if err != nil {
		return err
	}
	p := &putter{target: newTarget(s.root, r), out: newChunkWriter(st, CompressNone, nil),
		inline: flags&putInline != 0, dryRun: r.dryRun}
	defer p.target.close()
	p.in = receiver{in: newChunkReader(st, nil), target: p.target}
	for len(f.b) > 0 {
		e, err := f.entry()
		if err != nil {
			return err
		}
		if err := p.judge(&e); err != nil {
			return err
		}
	}
	if err := p.out.flush(); err != nil {
		return err
	}
	if p.dryRun && !r.checksum {
		return nil
	}
	// The answers are held back until the client has sent everything: it reads none before.
	type answer struct {
		kind byte
		err  *Error
	}
	var answers []answer
	for _, a := range p.awaits {
		o, failure, err := p.in.file(a.path, a.large || a.differs != nil || p.dryRun)
		switch {
		case err != nil:
			return err
		case failure == nil && o.diff && a.differs != nil:
			failure = fileError(a.path, a.differs)
		}
		switch {
		case failure != nil:
			answers = append(answers, answer{recFailed, failure})
		case o.same:
			answers = append(answers, answer{recKeep, nil})
		case o.diff:
			answers = append(answers, answer{recNeed, nil})
		default:
			answers = append(answers, answer{recDone, nil})
		}
	}
	if _, _, err := p.in.in.next(); err != io.EOF {
		return errors.Join(err, wireError("more than was asked for"))
	}
	for _, a := range answers {
		if err := p.answer(a.kind, a.err); err != nil {
			return err
		}
	}
	return p.out.flush()
}

func (p *putter) answer(kind byte, err *Error) error {
	if err != nil {
		return p.out.failed(err)
	}
	return p.out.record(kind, nil)
}

// judge answers what is to become of an entry.
func (p *putter) judge(e *Entry) error {
	if err := checkPath(e.Path); err != nil {
		return p.answer(recFailed, fileError(e.Path, err))
	}
	if e.Kind == KindFolder {
		made, err := p.target.makeFolder(e.Path, e.Mode)
		switch {
		case err != nil:
			return p.answer(recFailed, fileError(e.Path, err))
		case made:
			return p.answer(recDone, nil)
		}
		return p.answer(recKeep, nil)
	}
	v, err := p.target.decide(e, e.Path)
	if e.Kind == KindProblem || err != nil && v != compare {
		return p.answer(recFailed, fileError(e.Path, errors.Join(err, wireNil(e))))
	}
	switch {
	case v == keep:
		return p.answer(recKeep, nil)
	case e.Kind == KindLink:
		if err := p.target.makeLink(e, e.Path); err != nil {
			return p.answer(recFailed, fileError(e.Path, err))
		}
		return p.answer(recDone, nil)
	}
	large := e.Size >= largeSize && !p.inline
	if v == compare {
		have, sumErr := p.target.sum(e.Path)
		if sumErr != nil {
			return p.answer(recFailed, fileError(e.Path, sumErr))
		}
		p.awaits = append(p.awaits, await{e.Path, large, err})
		return p.out.record(recAsk, append(have[:], boolByte(err != nil)))
	}
	if !large && !p.dryRun {
		p.awaits = append(p.awaits, await{path: e.Path})
	}
	return p.answer(recNeed, nil)
}

func boolByte(b bool) byte {
	if b {
		return 1
	}
	return 0
}

// wireNil is why an entry that is no file, folder or link cannot be put.
func wireNil(e *Entry) error {
	if e.Kind == KindProblem {
		return refuse(CodeNotRegular, e.Path, "")
	}
	return nil
}

type token [16]byte

func newToken() (t token) {
	_, _ = rand.Read(t[:]) // never fails; it ends the process instead
	return t
}
