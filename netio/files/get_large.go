package files

import (
	"context"
	"encoding/binary"
	"strings"
)

// doLarge gets a large file, in ranges that several streams carry at once.
func (g *getter) doLarge(in *receiver, item getItem) error {
	select {
	case g.large <- struct{}{}:
		defer func() { <-g.large }()
	case <-g.ctx.Done():
		return context.Cause(g.ctx)
	}
	if item.compare {
		same, err := g.compareLarge(in, item)
		if same || err != nil {
			return err
		}
	}
	e := item.Entry
	g.flying(item.Entry, true)
	defer g.flying(item.Entry, false)
	for try := 0; ; try++ {
		failure, err := g.ranges(e, item.target())
		switch {
		case err != nil:
			return err
		case failure == nil:
			g.result(item.Entry, Copied, nil)
			return nil
		case try > 0 || failure.Code != CodeChanged && !worthAnotherTry(failure):
			g.settled(item, outcome{}, failure)
			return nil
		}
		if e, err = g.look(item.Entry); err != nil {
			g.fail(item.Entry, fileError(item.Path, err))
			return nil
		}
	}
}

// compareLarge asks whether a large file is the same; true: it is, or has failed.
func (g *getter) compareLarge(in *receiver, item getItem) (done bool, err error) {
	argument, err := g.request([]byte{0}, in.target, item)
	if err != nil || argument[1]&wantCompared == 0 {
		return false, err
	}
	var o outcome
	var failure *Error
	err = g.persist(func() error {
		st, err := g.client.swarm.OpenStream(g.ctx, nameGet, argument)
		if err != nil {
			return err
		}
		defer st.Abort()
		in.in = newChunkReader(st, g.pace)
		o, failure, err = in.file(item.target(), true)
		return err
	})
	if err != nil {
		return false, err
	}
	if failure != nil || o.same || item.differs != nil || g.DryRun {
		g.settled(item, o, failure)
		return true, nil
	}
	return false, nil
}

// look asks what a file is now.
func (g *getter) look(old *Entry) (*Entry, error) {
	for e, err := range g.client.List(g.ctx, Selection{Patterns: []string{escapeGlob(old.Path)}, Syntax: SyntaxGlob}) {
		switch {
		case err != nil:
			return nil, err
		case e.Kind == KindProblem:
			return nil, e.Err
		case e.Kind == KindFile && e.Path == old.Path:
			e.base = old.base
			return &e, nil
		}
	}
	return nil, &Error{old.Path, CodeNotExist, ""}
}

// escapeGlob makes a glob that matches p alone.
func escapeGlob(p string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(p)
}

// ranges gets the ranges of a large file and puts it in its place.
func (g *getter) ranges(e *Entry, p string) (*Error, error) {
	part, err := openPartial(g.root, g.rules, p, e.Size, e.Modified)
	if err != nil {
		return fileError(p, err), nil
	}
	failure, err := g.parallel(e.Size, func(offset, length int64) (*Error, error) {
		var failure *Error
		err := g.persist(func() (err error) {
			failure, err = g.oneRange(part, e, offset, length)
			return err
		})
		return failure, err
	})
	if err != nil {
		part.close(g.interrupted())
		return nil, err
	}
	if failure != nil {
		part.close(true)
		return failure, nil
	}
	if err := part.commit(attributes{e.Size, e.Modified, e.Mode}); err != nil {
		return fileError(p, err), nil
	}
	return nil, nil
}

func (g *getter) oneRange(part *partial, e *Entry, offset, length int64) (*Error, error) {
	have, err := part.sums(offset, length)
	if err != nil {
		return fileError(e.Path, err), nil
	}
	argument := appendRequest([]byte{g.Compress.wire()}, e.Path, attributes{size: e.Size, modified: e.Modified}, wantRange)
	argument = binary.LittleEndian.AppendUint64(argument, uint64(offset))
	argument = binary.LittleEndian.AppendUint64(argument, uint64(length))
	argument = binary.LittleEndian.AppendUint16(argument, uint16(len(have)))
	for _, one := range have {
		argument = append(argument, one[:]...)
	}
	st, err := g.client.swarm.OpenStream(g.ctx, nameGet, argument)
	if err != nil {
		return nil, err
	}
	defer st.Abort()
	in := receiver{in: newChunkReader(st, g.pace), got: g.moved, spared: g.had}
	return in.span(part, offset, length)
}
