package files

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"sync"
)

// getItem is a file to get. Its name below the target folder is what Entry.target says.
type getItem struct {
	*Entry
	compare bool  // it is there with the same size
	differs error // with compare: why it fails if it differs
	tried   bool
}

// getJob is what one worker does at once: a batch of files, or one large file.
type getJob []getItem

// getter is a get under way.
type getter struct {
	*transfer
	root    *os.Root
	exclude excluder
	target  *target // the planner's
	seen    seen
	batch   getJob
	size    int64
	pack    int // bytes of the argument

	folders map[string]*folderEnd // of which something is left to do at the end, by name in the target
}

// Get brings what the selection means at the gateway into a folder, which is made if need be, and returns the counts.
// The error is nil when all of it was tried, even though files may have failed: see Summary.Failed. No name leads out
// of the folder, whatever the gateway says.
func (c *Client) Get(ctx context.Context, s Selection, dir string, o Options) (Summary, error) {
	t := c.newTransfer(ctx, o)
	exclude, err := compileExclude(s)
	if err != nil {
		return t.end(), err
	}
	root, err := openTarget(dir, o.DryRun)
	if err != nil {
		return t.end(), err
	}
	if root == nil { // a dry run into a folder that is not there: all of it would be taken
		empty, err := os.MkdirTemp("", "shoal-")
		if err != nil {
			return t.end(), err
		}
		defer os.Remove(empty)
		if root, err = os.OpenRoot(empty); err != nil {
			return t.end(), err
		}
	}
	defer root.Close()
	g := &getter{transfer: t, root: root, exclude: exclude, target: newTarget(root, t.rules), folders: map[string]*folderEnd{}}
	defer g.target.close()
	g.seen.fold = foldOf(root, o.DryRun)
	if len(s.Patterns) > 1 || g.seen.fold != nil {
		g.seen.names = map[string]struct{}{}
	}
	err = run(t, func(jobs chan<- getJob) error { return g.plan(s, jobs) }, g.work)
	g.finish(err)
	return t.end(), err
}

// openTarget opens the target folder; nil in a dry run when there is none.
func openTarget(dir string, dryRun bool) (*os.Root, error) {
	if !dryRun {
		if err := os.MkdirAll(dir, 0o777); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(dir)
	if dryRun && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return root, err
}

// foldOf returns how names are compared where the system takes names for the same that differ in case; nil elsewhere.
func foldOf(root *os.Root, dryRun bool) func(string) string {
	if dryRun {
		return nil
	}
	temp := newTemp()
	f, err := root.OpenFile(temp, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return nil // what writes there will say so
	}
	defer func() { _ = f.Close(); _ = root.Remove(temp) }()
	if _, err := root.Lstat(strings.ToUpper(temp)); err != nil {
		return nil
	}
	return strings.ToLower
}

// plan takes the list and hands over what is to be carried.
func (g *getter) plan(s Selection, jobs chan<- getJob) error {
	for e, err := range g.client.List(g.ctx, s) {
		if err != nil {
			return err
		}
		if err := g.entry(&e, jobs); err != nil {
			return err
		}
	}
	return g.flush(jobs)
}

// entry plans one entry; e is copied.
func (g *getter) entry(e *Entry, jobs chan<- getJob) error {
	if e.Kind == KindProblem {
		g.fail(e, e.Err)
		return nil
	}
	p := e.target()
	err := checkPath(p)
	if err == nil {
		err = checkPath(e.Path)
	}
	if err == nil && e.Kind != KindFolder {
		err = g.seen.add(p)
	}
	if err == nil && p == "." && e.Kind != KindFolder {
		err = refuse(CodeName, e.Path, "no name for it below the target")
	}
	if err != nil {
		g.fail(e, fileError(e.Path, err))
		return nil
	}
	g.remember(e, p)
	switch e.Kind {
	case KindFolder:
		g.folder(e, p)
	case KindLink:
		g.link(e, p)
	case KindFile:
		return g.file(e, p, jobs)
	}
	return nil
}

// remember keeps what is left to do with folders at the end.
func (g *getter) remember(e *Entry, p string) {
	dir, base := split(p)
	if p != "." {
		end := g.folders[dir]
		if end == nil {
			end = &folderEnd{path: dir}
			g.folders[dir] = end
		}
		if g.Delete {
			end.stay(base)
		}
	}
	if e.Kind != KindFolder {
		return
	}
	end := g.folders[p]
	if end == nil {
		end = &folderEnd{path: p}
		g.folders[p] = end
	}
	end.known = true
	end.now = attributes{modified: e.Modified, mode: e.Mode}
	if g.Delete {
		end.prune = true
		end.comesFrom(e.Path)
	}
}

func (g *getter) folder(e *Entry, p string) {
	made, err := g.target.makeFolder(p, e.Mode)
	switch {
	case err != nil:
		g.fail(e, fileError(e.Path, err))
	case made:
		g.result(e, Made, nil)
		if g.folders[p] != nil {
			g.folders[p].fresh = true
		}
	default:
		g.result(e, Kept, nil)
	}
}

func (g *getter) link(e *Entry, p string) {
	v, err := g.target.decide(e, p)
	if err == nil && v == take {
		err = g.target.makeLink(e, p)
	}
	switch {
	case err != nil:
		g.fail(e, fileError(e.Path, err))
	case v == take:
		g.result(e, Linked, nil)
	default:
		g.result(e, Kept, nil)
	}
}

func (g *getter) file(e *Entry, p string, jobs chan<- getJob) error {
	v, err := g.target.decide(e, p)
	switch {
	case err != nil && v != compare:
		g.fail(e, fileError(e.Path, err))
		return nil
	case v == keep:
		g.result(e, Kept, nil)
		return nil
	case v == take && g.DryRun:
		g.result(e, Copied, nil)
		return nil
	}
	g.expect(e)
	item := getItem{Entry: e, compare: v == compare, differs: err}
	if e.Size >= largeSize {
		return hand(g.transfer, jobs, getJob{item})
	}
	g.batch = append(g.batch, item)
	g.size += e.Size
	g.pack += len(e.Path) + 64
	if len(g.batch) >= batchFiles || g.size >= batchBytes || g.pack >= argumentMax/2 {
		return g.flush(jobs)
	}
	return nil
}

func (g *getter) flush(jobs chan<- getJob) error {
	if len(g.batch) == 0 {
		return nil
	}
	batch := g.batch
	g.batch, g.size, g.pack = nil, 0, 0
	return hand(g.transfer, jobs, batch)
}

// finish does what is left to do with the folders.
func (g *getter) finish(err error) {
	ends := make([]*folderEnd, 0, len(g.folders))
	for _, end := range g.folders {
		ends = append(ends, end)
	}
	spoiled := err != nil || g.spoiled.Load()
	g.mu.Lock()
	g.summary.NotDeleted = spoiled && g.Delete
	g.mu.Unlock()
	for _, end := range ends {
		end.prune, end.exclude = end.prune && !spoiled, g.exclude
		end.known = end.known && err == nil // one that is to be gone on with stays as writable as it is
		end.tell = func(gone string) { g.report(Result{Path: gone, Action: Deleted}) }
	}
	_ = eachGroup(ends, func(group []*folderEnd) error {
		target := newTarget(g.root, g.rules)
		defer target.close()
		for _, end := range group {
			if err := target.finish(end); err != nil {
				g.report(Result{Path: end.path, Action: Failed, Kind: KindFolder, Err: err})
			}
		}
		return nil
	})
}

// finishGroups is how many groups of folders are finished at once.
const finishGroups = 4

// eachGroup calls finish with groups of folders, several at once, and last with those whose mode would keep us out of
// what is below them, the deepest first. It returns the first error.
func eachGroup(ends []*folderEnd, finish func(group []*folderEnd) error) error {
	slices.SortFunc(ends, func(a, b *folderEnd) int { return strings.Compare(b.path, a.path) })
	var open, shut []*folderEnd
	for _, end := range ends {
		if end.known && end.now.mode&0o700 != 0o700 {
			shut = append(shut, end)
		} else {
			open = append(open, end)
		}
	}
	var all errgroup
	size := max(64, (len(open)+finishGroups-1)/finishGroups)
	for group := range slices.Chunk(open, size) {
		all.do(func() error { return finish(group) })
	}
	if err := all.wait(); err != nil || len(shut) == 0 {
		return err
	}
	return finish(shut)
}

// errgroup runs functions at once and keeps the first error.
type errgroup struct {
	running sync.WaitGroup
	once    sync.Once
	err     error // read after wait
}

func (g *errgroup) do(f func() error) {
	g.running.Go(func() {
		if err := f(); err != nil {
			g.once.Do(func() { g.err = err })
		}
	})
}

func (g *errgroup) wait() error {
	g.running.Wait()
	return g.err
}
