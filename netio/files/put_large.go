package files

import (
	"context"
	"encoding/binary"
)

// doLarge puts a large file, in ranges that several streams carry at once.
func (p *putRun) doLarge(out *sender, e *Entry) error {
	select {
	case p.large <- struct{}{}:
		defer func() { <-p.large }()
	case <-p.ctx.Done():
		return context.Cause(p.ctx)
	}
	p.flying(e, true)
	defer p.flying(e, false)
	now := *e
	for try := 0; ; try++ {
		var failure *Error
		err := p.persist(func() (err error) {
			failure, err = p.putRanges(&now)
			return err
		})
		switch {
		case err != nil:
			return err
		case failure == nil:
			p.result(e, Copied, nil)
			return nil
		case try > 0 || failure.Code != CodeChanged && !worthAnotherTry(failure):
			p.fail(e, &Error{e.Path, failure.Code, failure.Text})
			return nil
		}
		info, err := out.src.lstat(e.Path)
		if err != nil || !info.Mode().IsRegular() {
			p.fail(e, &Error{e.Path, CodeChanged, ""})
			return nil
		}
		a := attributesOf(info)
		now.Size, now.Modified, now.Mode = a.size, a.modified, a.mode
	}
}

// putRanges puts the ranges of a large file and has the gateway put it in its place. The stream of the file itself
// stays open meanwhile: with it, the gateway lets go of the file.
func (p *putRun) putRanges(e *Entry) (*Error, error) {
	there := *e
	there.Path, there.base = below(p.to, e.target()), 0
	st, err := p.client.swarm.Duplex(p.ctx, nameLarge, appendEntry(p.rules.append(nil, 0), &there))
	if err != nil {
		return nil, err
	}
	defer st.Abort()
	in, out := newChunkReader(st, nil), newChunkWriter(st, CompressNone, nil)
	kind, body, err := in.expect()
	if err != nil {
		return fileOrFatal(e, err)
	}
	key := fields{b: body}
	token := key.sum()
	if kind != recDone || key.bad {
		return nil, wireError("record %q for a large file", kind)
	}
	failure, err := p.parallel(e.Size, func(offset, length int64) (*Error, error) {
		failure, err := p.putRange(e, token, offset, length)
		if err != nil {
			return fileOrFatal(e, err)
		}
		return failure, nil
	})
	if err != nil {
		return nil, err
	}
	if failure != nil {
		if err := out.failed(failure); err == nil {
			_ = out.flush()
		}
		st.CloseSend()
		if _, err := st.Result(); err != nil {
			return fileOrFatal(e, err)
		}
		return failure, nil
	}
	err = out.record(recEnd, attributes{e.Size, e.Modified, e.Mode}.append(nil))
	if err == nil {
		err = out.flush()
	}
	st.CloseSend()
	if _, end := st.Result(); end != nil {
		return fileOrFatal(e, end)
	}
	return nil, err
}

// fileOrFatal tells what is wrong with a file from what ends the transfer.
func fileOrFatal(e *Entry, err error) (*Error, error) {
	err = remote(err)
	if fatal(err) {
		return nil, err
	}
	return fileError(e.Path, err), nil
}

// putRange sends one range, but for the blocks that the gateway has.
func (p *putRun) putRange(e *Entry, token sum, offset, length int64) (*Error, error) {
	argument := binary.LittleEndian.AppendUint64(token[:], uint64(offset))
	argument = binary.LittleEndian.AppendUint64(argument, uint64(length))
	st, err := p.client.swarm.Duplex(p.ctx, nameRange, argument)
	if err != nil {
		return nil, err
	}
	defer st.Abort()
	in := newChunkReader(st, nil)
	have, err := rangeSums(in)
	if err != nil {
		return nil, err
	}
	src := p.open()
	defer src.close()
	out := sender{src: src, out: newChunkWriter(st, p.Compress, p.pace), sent: p.moved, spare: p.had}
	failure, err := out.span(request{path: e.Path, want: attributes{size: e.Size, modified: e.Modified}}, offset, length, have)
	if err == nil {
		err = out.out.flush()
	}
	if err != nil {
		return nil, ended(in, err)
	}
	st.CloseSend()
	if _, err := st.Result(); err != nil && failure == nil {
		return nil, err
	}
	return failure, nil
}

// rangeSums reads the hashes of the blocks that the gateway has of a range.
func rangeSums(in *chunkReader) ([]sum, error) {
	kind, body, err := in.expect()
	if err != nil {
		return nil, err
	}
	if kind != recSums || len(body)%len(sum{}) != 0 {
		return nil, wireError("record %q of %d bytes for a range", kind, len(body))
	}
	have := make([]sum, len(body)/len(sum{}))
	for i := range have {
		copy(have[i][:], body[i*len(sum{}):])
	}
	return have, nil
}
