package files

import (
	"context"
	"io/fs"
	"os"
)

// putJob is what one worker does at once: a batch of entries. Their paths are those of the source.
type putJob struct {
	entries []*Entry
	inline  bool // large files come with the others
}

// putter of the client: a put under way.
type putRun struct {
	*transfer
	open    func() source // each goroutine has its own
	to      string        // the folder at the gateway
	inline  bool          // the source cannot be read in ranges
	seen    seen
	batch   []*Entry
	size    int64
	pack    int
	folders []*folderEnd // in the order in which they were met
	byPath  map[string]*folderEnd
}

// Put sends what the selection means in a file system to a folder at the gateway, which is made if need be, and returns
// the counts. The error is nil when all of it was tried, even though files may have failed: see Summary.Failed.
// Symbolic links and modes are kept as far as the file system tells them. The file system is used by several goroutines.
func (c *Client) Put(ctx context.Context, from fs.FS, s Selection, to string, o Options) (Summary, error) {
	return c.put(ctx, func() source { return fsSource{from} }, true, s, to, o, nil)
}

// PutFolder is Put from below a folder; no name and no link leads out of it.
func (c *Client) PutFolder(ctx context.Context, dir string, s Selection, to string, o Options) (Summary, error) {
	return c.PutFolders(ctx, []Folder{{dir, s}}, to, o)
}

// Folder is where files come from, and which.
type Folder struct {
	Dir string
	Selection
}

// PutFolders is PutFolder for several folders, one after the other. A file whose name at the gateway another one of them
// has taken fails. Options.Delete needs a single folder, since one would remove what another brings.
func (c *Client) PutFolders(ctx context.Context, from []Folder, to string, o Options) (Summary, error) {
	var all Summary
	if o.Delete && len(from) > 1 {
		return all, refuse(CodeOther, to, "what is to be deleted depends on a single folder")
	}
	var names map[string]struct{}
	if len(from) > 1 {
		names = map[string]struct{}{}
	}
	for _, f := range from {
		root, err := os.OpenRoot(f.Dir)
		if err != nil {
			return all, err
		}
		one, err := c.put(ctx, func() source { return newRootSource(root) }, false, f.Selection, to, o, names)
		_ = root.Close()
		if all.add(one); err != nil {
			return all, err
		}
	}
	return all, nil
}

// put does one transfer; names are those that others have taken, nil where there are no others.
func (c *Client) put(ctx context.Context, open func() source, inline bool, s Selection, to string, o Options, names map[string]struct{}) (Summary, error) {
	t := c.newTransfer(ctx, o)
	to, _, ok := clean(to)
	if !ok {
		return t.end(), refuse(CodeOutside, to, "not a path below the root")
	}
	if err := checkPath(to); err != nil {
		return t.end(), err
	}
	p := &putRun{transfer: t, open: open, to: to, inline: inline, byPath: map[string]*folderEnd{}}
	if p.seen.names = names; names == nil && len(s.Patterns) > 1 {
		p.seen.names = map[string]struct{}{}
	}
	err := run(t, func(jobs chan<- putJob) error { return p.plan(s, jobs) }, p.work)
	if ferr := p.finish(ctx, s, err); err == nil {
		err = ferr
	}
	return t.end(), err
}

// plan walks the source and hands over what it finds, batch by batch; the gateway says what it needs of it.
func (p *putRun) plan(s Selection, jobs chan<- putJob) error {
	src := p.open()
	defer src.close()
	if p.to != "." {
		p.folder(p.to, nil)
	}
	err := walk(p.ctx, src, s, func(e *Entry) error { return p.entry(e, jobs) })
	if err != nil {
		return err
	}
	return p.flush(jobs)
}

func (p *putRun) entry(e *Entry, jobs chan<- putJob) error {
	if e.Kind == KindProblem {
		p.fail(e, e.Err)
		return nil
	}
	target := e.target()
	err := checkPath(e.Path)
	if err == nil && e.Kind != KindFolder {
		err = p.seen.add(target)
	}
	if err == nil && len(p.to)+1+len(target) > maxPath {
		err = refuse(CodeName, e.Path, "name too long")
	}
	if err != nil {
		p.fail(e, fileError(e.Path, err))
		return nil
	}
	if target != "." {
		dir, base := split(below(p.to, target))
		if end := p.folder(dir, nil); p.Delete {
			end.stay(base)
		}
	}
	switch e.Kind {
	case KindFolder:
		end := p.folder(below(p.to, target), e)
		if target == "." {
			end.known = false // the target itself stays what it is
			return nil
		}
	case KindFile:
		p.expect(e)
	}
	p.batch = append(p.batch, e)
	if e.Kind == KindFile && (e.Size < largeSize || p.inline) {
		p.size += e.Size
	}
	p.pack += len(p.to) + len(e.Path) + len(e.Link) + 64
	if len(p.batch) >= batchFiles || p.size >= batchBytes || p.pack >= argumentMax/2 {
		return p.flush(jobs)
	}
	return nil
}

// folder returns what is left to do with a folder of the target at the end; e is the source's, nil if it is not known.
func (p *putRun) folder(target string, e *Entry) *folderEnd {
	end := p.byPath[target]
	if end == nil {
		end = &folderEnd{path: target}
		p.byPath[target] = end
		p.folders = append(p.folders, end)
	}
	if e != nil {
		end.known = e.Modified != 0 || !p.inline // a file system of Go's that has no time for a folder made it up
		end.now = attributes{modified: e.Modified, mode: e.Mode}
		if p.Delete {
			end.prune = true
			end.comesFrom(e.Path)
		}
	}
	return end
}

func (p *putRun) flush(jobs chan<- putJob) error {
	if len(p.batch) == 0 {
		return nil
	}
	job := putJob{entries: p.batch, inline: p.inline}
	p.batch, p.size, p.pack = nil, 0, 0
	return hand(p.transfer, jobs, job)
}
