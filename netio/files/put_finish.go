package files

import (
	"context"
	"errors"
	"io"
	"iter"
	"maps"
	"slices"
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
	if err := out.record(recFolder, end.append(nil)); err != nil || !end.prune {
		return err
	}
	if err := sendTexts(out, recFrom, slices.Values(end.from)); err != nil {
		return err
	}
	return sendTexts(out, recNames, maps.Keys(end.stays))
}

// sendTexts sends as many records as the texts need.
func sendTexts(out *chunkWriter, kind byte, texts iter.Seq[string]) error {
	var body []byte
	for text := range texts {
		if len(body)+2+len(text) > recordMax {
			if err := out.record(kind, body); err != nil {
				return err
			}
			body = body[:0]
		}
		body = appendText(body, text)
	}
	return out.record(kind, body)
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
