package files

import (
	"errors"
	"io"

	"shoal/netio"
)

// work is a worker's goroutine.
func (p *putRun) work(jobs <-chan putJob) {
	src := p.open()
	defer src.close()
	out := &sender{src: src, sent: p.moved}
	for job := range jobs {
		if p.ctx.Err() != nil {
			continue // empties the queue
		}
		if err := p.do(out, job); err != nil {
			p.stop(err)
		}
	}
}

// do puts a batch, then the large files in it.
func (p *putRun) do(out *sender, job putJob) error {
	todo := job.entries
	var large []*Entry
	for tried := false; len(todo) > 0; tried = true {
		var retry []*Entry
		err := p.persist(func() error {
			b := &putBatch{putRun: p, entries: todo, ends: make([]bool, len(todo)), inline: job.inline, tried: tried}
			err := b.put(out)
			rest := todo[:0:0]
			for i, e := range todo {
				if !b.ends[i] {
					rest = append(rest, e)
				}
			}
			todo = rest
			retry = append(retry, b.retry...)
			large = append(large, b.large...)
			return err
		})
		if err != nil {
			return err
		}
		todo = retry
	}
	for _, e := range large {
		if err := p.doLarge(out, e); err != nil {
			return err
		}
	}
	return nil
}

// putBatch is one put stream at the client.
type putBatch struct {
	*putRun
	entries []*Entry
	ends    []bool // those that need nothing more
	inline  bool
	tried   bool     // files that failed are not tried again
	retry   []*Entry // those that are to be tried again
	large   []*Entry // those that have streams of their own
}

func (b *putBatch) put(out *sender) error {
	flags := byte(0)
	if b.inline {
		flags = putInline
	}
	argument := b.rules.append(nil, flags)
	for _, e := range b.entries {
		there := *e
		there.Path, there.base = below(b.to, e.target()), 0
		argument = appendEntry(argument, &there)
	}
	st, err := b.client.swarm.Duplex(b.ctx, namePut, argument)
	if err != nil {
		return err
	}
	defer st.Abort()
	in := newChunkReader(st, nil)
	wanted, err := b.verdicts(in)
	if err != nil {
		return err
	}
	out.out = newChunkWriter(st, b.Compress, b.pace)
	if err := b.send(out, st, in, wanted); err != nil {
		return err
	}
	for _, w := range wanted {
		if err := b.answer(in, w); err != nil {
			return err
		}
	}
	if _, _, err := in.next(); err != io.EOF {
		return errors.Join(err, wireError("more than was asked for"))
	}
	return nil
}

// wanted is an entry of which the gateway is to be told more.
type wanted struct {
	index int
	have  *sum // what the gateway has
	fails bool // with have: it must not be replaced if it differs
}

// verdicts reads what the gateway says of each entry.
func (b *putBatch) verdicts(in *chunkReader) (list []wanted, err error) {
	for i, e := range b.entries {
		kind, body, err := in.expect()
		if err != nil {
			return nil, err
		}
		large := e.Kind == KindFile && e.Size >= largeSize && !b.inline
		switch kind {
		case recNeed:
			switch {
			case b.DryRun:
				b.end(i, Copied, nil)
			case large:
				b.ends[i] = true
				b.large = append(b.large, e)
			default:
				list = append(list, wanted{index: i})
			}
		case recAsk:
			f := fields{b: body}
			have, fails := f.sum(), f.u8() != 0
			if f.bad {
				return nil, wireError("short question")
			}
			list = append(list, wanted{i, &have, fails})
		case recKeep:
			if e.Kind == KindFile {
				b.done.Add(1)
				b.totalBytes.Add(-e.Size)
			}
			b.end(i, Kept, nil)
		case recDone:
			b.end(i, map[Kind]Action{KindFolder: Made, KindLink: Linked}[e.Kind], nil)
		case recFailed:
			b.end(i, Failed, parseFailed(e.Path, body))
		default:
			return nil, wireError("record %q for an entry", kind)
		}
	}
	return list, nil
}

func (b *putBatch) end(i int, a Action, err error) {
	b.ends[i] = true
	b.result(b.entries[i], a, err)
}

// send sends what is wanted, and ends our direction of the stream.
func (b *putBatch) send(out *sender, st *netio.ClientStream, in *chunkReader, list []wanted) error {
	for _, w := range list {
		e := b.entries[w.index]
		large := e.Size >= largeSize && !b.inline
		b.flying(e, true)
		_, err := out.whole(request{path: e.Path, have: w.have, sumOnly: w.have != nil && (w.fails || large || b.DryRun)})
		b.flying(e, false)
		if err != nil {
			return ended(in, err)
		}
	}
	if err := out.out.flush(); err != nil {
		return ended(in, err)
	}
	st.CloseSend()
	return nil
}

// ended finds out why the gateway takes no more: its own word says more than the error of sending.
func ended(in *chunkReader, err error) error {
	for {
		_, _, end := in.next()
		if end == io.EOF {
			return err
		}
		if end != nil {
			return end
		}
	}
}

// answer reads what became of a file that was sent.
func (b *putBatch) answer(in *chunkReader, w wanted) error {
	e := b.entries[w.index]
	kind, body, err := in.expect()
	if err != nil {
		return err
	}
	switch kind {
	case recDone:
		b.end(w.index, Copied, nil)
	case recKeep:
		b.done.Add(1)
		b.end(w.index, Kept, nil)
	case recNeed: // it differs, as was asked for
		if b.DryRun {
			b.end(w.index, Copied, nil)
			return nil
		}
		b.ends[w.index] = true
		b.large = append(b.large, e)
	case recFailed:
		failure := parseFailed(e.Path, body)
		if !b.tried && worthAnotherTry(failure) {
			b.ends[w.index] = true
			b.retry = append(b.retry, e)
			return nil
		}
		b.end(w.index, Failed, failure)
	default:
		return wireError("record %q for a file", kind)
	}
	return nil
}
