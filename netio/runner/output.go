package runner

import (
	"sync"
	"sync/atomic"
	"time"
)

// Output collects what one command writes: what is kept goes into buffers, and each piece is handed to whoever looks on.
// Safe for concurrent use.
type Output struct {
	begun   time.Time
	last    atomic.Int64 // when something came, since begun
	handing atomic.Int32 // pieces that live has not taken yet: the command is not silent, its reader is slow

	mu             sync.Mutex // guards what follows; held while live has a piece
	stdout, stderr *Buffer
	live           Live
	over           bool // Into was called
}

// NewOutput returns an output that keeps what the request asks for, as far as the budget has room. Live may be nil.
func NewOutput(req *Request, budget *Budget, live Live) *Output {
	return &Output{stdout: NewBuffer(req.Output, budget), stderr: NewBuffer(req.Output, budget), live: live, begun: time.Now()}
}

// Take keeps a piece and hands it on; it waits for live. It does not keep p itself. After Into it does nothing.
func (o *Output) Take(stream Stream, p []byte) {
	o.handing.Add(1)
	defer o.handing.Add(-1)
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over {
		return
	}
	if stream == Stderr {
		_, _ = o.stderr.Write(p)
	} else {
		_, _ = o.stdout.Write(p)
	}
	if o.live != nil && o.live(stream, p) != nil {
		o.live = nil
	}
	o.last.Store(int64(time.Since(o.begun)))
}

// Quiet tells for how long nothing has come. While live has not taken a piece yet it is 0.
func (o *Output) Quiet() time.Duration {
	if o.handing.Load() > 0 {
		return 0
	}
	return time.Since(o.begun) - time.Duration(o.last.Load())
}

// Into moves what is kept into the record, once live has taken the piece that it has. Live is not called any more.
func (o *Output) Into(r *Record) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
	r.Stdout, r.StdoutGap, r.StdoutDropped = o.stdout.Take()
	r.Stderr, r.StderrGap, r.StderrDropped = o.stderr.Take()
}
