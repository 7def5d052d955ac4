package files

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

const (
	defaultStreams = 8
	mostStreams    = 32 // half of what a gateway lets run by default
	largeAtOnce    = 2  // large files that are under way at once; each has as many ranges under way as there are streams
	lostTries      = 4  // of a stream that a restart of the gateway has ended
	busyTries      = 60 // of one that is refused as busy: about a minute
	progressEvery  = 100 * time.Millisecond
)

// transfer is one get or put under way. The caller's goroutine plans: it finds out what is to be done and hands it over
// in jobs; the workers do these, each with a stream of its own. Few jobs wait, so the plan is never far ahead.
type transfer struct {
	client *Client
	Options
	rules  rules
	pace   *pace
	parent context.Context // the caller's
	ctx    context.Context // also ends with the first error that ends the whole transfer
	cancel context.CancelCauseFunc

	large   chan struct{} // taken by who carries a large file
	workers sync.WaitGroup
	begun   time.Time

	bytes, spared, totalBytes, totalFiles, done, failed atomic.Int64

	listed  atomic.Bool
	spoiled atomic.Bool // something failed: nothing must be deleted

	mu       sync.Mutex // guards what follows
	summary  Summary
	inFlight map[*Entry]struct{} // files of more than a chunk
}

func (c *Client) newTransfer(ctx context.Context, o Options) *transfer {
	if o.Streams <= 0 {
		o.Streams = defaultStreams
	}
	o.Streams = min(o.Streams, mostStreams)
	o.Compress = c.compression(o.Compress)
	t := &transfer{client: c, Options: o, pace: newPace(o.Limit), parent: ctx, begun: time.Now(),
		rules:    rules{!o.NoPreserve, o.Checksum, o.DryRun, o.Existing, o.Fsync},
		large:    make(chan struct{}, largeAtOnce),
		inFlight: map[*Entry]struct{}{}}
	t.ctx, t.cancel = context.WithCancelCause(ctx)
	return t
}

// run plans and works; what it returns is why the transfer as a whole ended early.
func run[J any](t *transfer, plan func(jobs chan<- J) error, work func(jobs <-chan J)) error {
	defer t.cancel(nil)
	stop := make(chan struct{})
	var watcher sync.WaitGroup
	if t.Progress != nil {
		watcher.Go(func() { t.watch(stop) })
	}
	jobs := make(chan J, t.Streams)
	for range t.Streams {
		t.workers.Go(func() { work(jobs) })
	}
	if err := plan(jobs); err != nil {
		t.cancel(err)
	}
	t.listed.Store(true)
	close(jobs)
	t.workers.Wait()
	close(stop)
	watcher.Wait()
	return context.Cause(t.ctx)
}

// hand hands a job over, unless the transfer has ended.
func hand[J any](t *transfer, jobs chan<- J, job J) error {
	select {
	case jobs <- job:
		return nil
	case <-t.ctx.Done():
		return context.Cause(t.ctx)
	}
}

// watch tells Progress until stop is closed.
func (t *transfer) watch(stop <-chan struct{}) {
	tick := time.NewTicker(progressEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			t.Progress(t.progress())
		case <-stop:
			t.Progress(t.progress())
			return
		}
	}
}

func (t *transfer) progress() Progress {
	p := Progress{Files: t.done.Load(), TotalFiles: t.totalFiles.Load(), Bytes: t.bytes.Load() + t.spared.Load(),
		TotalBytes: t.totalBytes.Load(), Failed: t.failed.Load(), Listed: t.listed.Load()}
	t.mu.Lock()
	defer t.mu.Unlock()
	for e := range t.inFlight {
		if e.Size > p.LargestSize {
			p.Largest, p.LargestSize = e.Path, e.Size
		}
	}
	return p
}

// flying says that a file is in flight, or no longer; small ones are not worth a word.
func (t *transfer) flying(e *Entry, on bool) {
	if e.Size < chunkSize || t.Progress == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if on {
		t.inFlight[e] = struct{}{}
	} else {
		delete(t.inFlight, e)
	}
}

// expect counts a file that is to be carried.
func (t *transfer) expect(e *Entry) {
	t.totalFiles.Add(1)
	t.totalBytes.Add(e.Size)
}

// moved counts content.
func (t *transfer) moved(n int64) { t.bytes.Add(n) }

// had counts content that need not be carried: an earlier transfer has brought it.
func (t *transfer) had(n int64) { t.spared.Add(n) }

// result says what became of an entry.
func (t *transfer) result(e *Entry, a Action, err error) {
	t.report(Result{Path: e.Path, Action: a, Kind: e.Kind, Size: e.Size, Err: err})
}

func (t *transfer) fail(e *Entry, err error) { t.result(e, Failed, err) }

func (t *transfer) report(r Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := &t.summary
	switch r.Action {
	case Copied:
		s.Copied++
	case Kept:
		if r.Kind != KindFolder {
			s.Kept++
		}
	case Made:
		s.Folders++
	case Linked:
		s.Links++
	case Deleted:
		s.Deleted++
	case Failed:
		s.Failed++
		t.failed.Add(1)
		t.spoiled.Store(true)
		if len(s.Failures) < maxFailures {
			s.Failures = append(s.Failures, r)
		}
	}
	if r.Kind == KindFile && r.Action != Kept {
		t.done.Add(1)
	}
	if t.Each != nil {
		t.Each(r)
	}
}

// end returns the counts.
func (t *transfer) end() Summary {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.summary.Bytes, t.summary.Elapsed = t.bytes.Load(), time.Since(t.begun)
	return t.summary
}

// persist runs do again, with a pause, when its stream ended for a reason that passes: what it had finished it does not
// do again.
func (t *transfer) persist(do func() error) error {
	for try := 1; ; try++ {
		err := do()
		if err == nil || t.ctx.Err() != nil || try >= mostTries(err) {
			return err
		}
		select {
		case <-time.After(min(time.Duration(try)*100*time.Millisecond, time.Second)):
		case <-t.ctx.Done():
			return context.Cause(t.ctx)
		}
	}
}

// stop ends the whole transfer because of err, which is not that of a single file.
func (t *transfer) stop(err error) {
	if t.ctx.Err() == nil {
		t.cancel(remote(err))
	}
}

// worthAnotherTry reports whether a file that failed may come whole when it is asked for once more.
func worthAnotherTry(err *Error) bool { return err.Code == CodeCorrupt }

// interrupted reports whether the caller has ended the transfer, so that nothing is to be left for the next.
func (t *transfer) interrupted() bool { return t.parent.Err() != nil }

// seen finds names that come twice, also those that differ in nothing but case where the target's system does not tell
// these apart.
type seen struct {
	names map[string]struct{} // nil: nothing can come twice
	fold  func(string) string
}

func (s *seen) add(p string) error {
	if s.names == nil {
		return nil
	}
	key := p
	if s.fold != nil {
		key = s.fold(p)
	}
	if _, twice := s.names[key]; twice {
		return refuse(CodeClash, p, "another file of this transfer has that name")
	}
	s.names[key] = struct{}{}
	return nil
}

// parallel calls each for all ranges of a file of that size, as many at once as there are streams, until one fails.
func (t *transfer) parallel(size int64, each func(offset, length int64) (*Error, error)) (*Error, error) {
	var next atomic.Int64
	var over atomic.Bool
	var mu sync.Mutex // guards the first failure and error
	var failure *Error
	var first error
	var all sync.WaitGroup
	for range min(int64(t.Streams), (size+rangeSize-1)/rangeSize) {
		all.Go(func() {
			for !over.Load() {
				offset := next.Add(rangeSize) - rangeSize
				if offset >= size {
					return
				}
				f, err := each(offset, min(rangeSize, size-offset))
				if f == nil && err == nil {
					continue
				}
				over.Store(true)
				mu.Lock()
				if failure == nil {
					failure = f
				}
				if first == nil {
					first = err
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return failure, first
}
