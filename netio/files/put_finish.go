package files

import (
	"context"
	"errors"
	"io"
)

// finish does what is left to do with the folders at the gateway.
func (p *putRun) finish(ctx context.Context, s Selection, err error) error {
	spoiled := err != nil || p.spoiled.Load()
	p.summary.NotDeleted = spoiled && p.Delete
	if err != nil || len(p.folders) == 0 {
		return nil
	}
	flags := byte(0)
	if p.Delete && !spoiled {
		flags = putPrune
	}
	argument := appendText(p.rules.append(nil, flags), string(s.Syntax))
	for _, pattern := range s.Exclude {
		argument = appendText(argument, pattern)
	}
	return eachGroup(p.folders, func(group []*folderEnd) error { return remote(p.finishGroup(ctx, argument, group)) })
}

func (p *putRun) finishGroup(ctx context.Context, argument []byte, group []*folderEnd) error {
	st, err := p.client.swarm.Duplex(ctx, nameFinish, argument)
	if err != nil {
		return err
	}
	defer st.Abort()
	answers := make(chan error, 1)
	go func() { answers <- p.finished(newChunkReader(st, nil)) }() // ends with the stream
	out := newChunkWriter(st, CompressNone, nil)
	for _, end := range group {
		if err = sendFolder(out, end); err != nil {
			break
		}
	}
	if err == nil {
		err = out.flush()
	}
	if err != nil {
		st.Abort()
		return errors.Join(<-answers, err)
	}
	st.CloseSend()
	return <-answers
}

func sendFolder(out *chunkWriter, end *folderEnd) error {
	e := Entry{Path: end.path, Kind: KindFolder, Link: end.from, Mode: end.now.mode}
	if end.known {
		e.Modified = end.now.modified
	}
	if end.prune {
		e.Size = 1
	}
	if err := out.record(recEntry, appendEntry(nil, &e)); err != nil || !end.prune {
		return err
	}
	var names []byte
	for name := range end.stays {
		if len(names)+2+len(name) > recordMax {
			if err := out.record(recNames, names); err != nil {
				return err
			}
			names = names[:0]
		}
		names = appendText(names, name)
	}
	return out.record(recNames, names)
}

// finished reads what became of the folders.
func (p *putRun) finished(in *chunkReader) error {
	for {
		kind, body, err := in.next()
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		case kind == recGone:
			p.report(Result{Path: string(body), Action: Deleted})
		case kind == recFailed:
			f := fields{b: body}
			path, code := f.text(), Code(f.u16())
			p.report(Result{Path: path, Action: Failed, Kind: KindFolder, Err: &Error{path, code, string(f.b)}})
		default:
			return wireError("record %q for a folder", kind)
		}
	}
}
