package netio

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"time"

	"shoal/proto"
)

// single is one task on its own, and how it ended.
type single struct {
	request request
	task    [1]outgoing
	result  []byte
	err     error
}

// settle copies the answer for the caller, who then owns it.
func (c *single) settle(s *slot, status Status, body []byte, _ int64, _ int, retryAfter time.Duration) {
	if status == StatusOK {
		c.result = append([]byte{}, body...)
	} else {
		c.err = decodeError(s.request.name, status, body, retryAfter)
	}
}

// pendingCall is a call that somebody waits for. The waiter owns it, and uses it again for another call once nobody else
// can touch it.
type pendingCall struct {
	single
	done chan struct{} // one slot
}

var pendingCalls = sync.Pool{New: func() any { return &pendingCall{done: make(chan struct{}, 1)} }}

func (p *pendingCall) sinkFor(*swarmLane) sink { return p }

// settled wakes the caller, who may use p for another call at once.
func (p *pendingCall) settled(*swarmLane) { p.done <- struct{}{} }

// decodeError returns the error of a result that is not ok. A body that breaks the protocol is taken for a text.
func decodeError(name string, status Status, body []byte, retryAfter time.Duration) *TaskError {
	e, err := proto.ParseError(body)
	if err != nil {
		e = proto.Error{Text: string(body)}
	}
	if status != StatusBusy {
		retryAfter = 0
	}
	return &TaskError{Subroutine: name, Status: status, Code: e.Code, Text: e.Text, Details: append([]byte(nil), e.Details...), RetryAfter: retryAfter}
}

// taskErrorFor makes the error of a caller whose context ended.
func taskErrorFor(name string, err error) error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return &TaskError{Subroutine: name, Status: StatusTimeout}
	case errors.Is(err, context.Canceled):
		return &TaskError{Subroutine: name, Status: StatusCanceled}
	}
	return err
}

// Call calls a subroutine and waits for its answer, which is the caller's. In must not change until Call returns. The
// context's deadline crosses the wire; when the context ends, the task is cancelled at the gateway. The errors are
// those of the package's table.
func (s *Swarm) Call(ctx context.Context, name string, in []byte) ([]byte, error) {
	if len(s.config.Interceptors) > 0 {
		return intercept(ctx, s.config.Interceptors, &CallInfo{Subroutine: name, Shape: ShapeCall, Body: in}, func(ctx context.Context, c *CallInfo) ([]byte, error) {
			return s.call(ctx, c.Subroutine, c.Body)
		})
	}
	return s.call(ctx, name, in)
}

func (s *Swarm) call(ctx context.Context, name string, in []byte) ([]byte, error) {
	if err := checkName(name); err != nil {
		return nil, err
	}
	fields, err := fieldsOf(ctx)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	p := pendingCalls.Get().(*pendingCall)
	p.request = request{name: name, deadline: deadlineOf(ctx), fields: fields, policy: s.policyFor(ctx, RestartDefault)}
	p.task[0].body = in
	l, _, id, err := s.submit(ctx, &handing{request: &p.request, from: p, tasks: p.task[:], together: 1, here: true})
	p.task[0].body = nil
	if err != nil {
		pendingCalls.Put(p)
		return nil, err
	}
	select {
	case <-p.done:
	case <-ctx.Done():
		if l.abandon(id, p, 0) {
			pendingCalls.Put(p)
			return nil, taskErrorFor(name, ctx.Err())
		}
		<-p.done // it is being delivered
	}
	result, err := p.result, p.err
	p.result, p.err = nil, nil
	pendingCalls.Put(p)
	return result, err
}

// Pending is an asynchronous call.
type Pending struct {
	single // ended before done is closed
	done   chan struct{}

	mu      sync.Mutex // guards what follows
	over    bool
	unwatch func() bool // stops watching the context; nil: nobody watches
}

// Go calls a subroutine without waiting for the answer. In must not change until it is there. The call costs no goroutine,
// unless it has to wait for room or goes through interceptors.
func (s *Swarm) Go(ctx context.Context, name string, in []byte) *Pending {
	p := &Pending{done: make(chan struct{})}
	if len(s.config.Interceptors) > 0 || !s.begin(ctx, p, name, in) {
		go func() {
			defer close(p.done)
			p.result, p.err = s.Call(ctx, name, in)
		}()
	}
	return p
}

// begin hands the call to a lane if one has room for it now.
func (s *Swarm) begin(ctx context.Context, p *Pending, name string, in []byte) bool {
	fields, err := fieldsOf(ctx)
	if checkName(name) != nil || ctx.Err() != nil || err != nil {
		return false // Call says so
	}
	best, _ := s.pick()
	if best == nil {
		return false
	}
	p.request = request{name: name, deadline: deadlineOf(ctx), fields: fields, policy: s.policyFor(ctx, RestartDefault)}
	p.task[0].body = in
	n, id, _ := best.submit(&handing{request: &p.request, from: p, tasks: p.task[:], together: 1}, 1)
	if n == 0 {
		return false
	}
	if ctx.Done() != nil {
		p.watch(ctx, best, id)
	}
	return true
}

// watch ends the call with its context.
func (p *Pending) watch(ctx context.Context, l *swarmLane, id uint32) {
	unwatch := context.AfterFunc(ctx, func() {
		if l.abandon(id, p, 0) {
			p.err = taskErrorFor(p.request.name, ctx.Err())
			close(p.done)
		}
	})
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.unwatch = unwatch; p.over {
		unwatch()
	}
}

func (p *Pending) sinkFor(*swarmLane) sink { return p }

func (p *Pending) settled(*swarmLane) {
	p.mu.Lock()
	p.over = true
	if p.unwatch != nil {
		p.unwatch()
	}
	p.mu.Unlock()
	close(p.done)
}

// Done returns a channel that is closed when the answer is there.
func (p *Pending) Done() <-chan struct{} { return p.done }

// Result waits for the answer and returns it, as Call does. It may be called again.
func (p *Pending) Result() ([]byte, error) {
	<-p.done
	return p.result, p.err
}

// deadlineOf returns the context's deadline on the client's clock, 0 if it has none.
func deadlineOf(ctx context.Context) uint64 {
	deadline, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	return deadlineIn(time.Until(deadline))
}

// deadlineIn returns what the client's clock will show after d, rounded up to a millisecond; 0, which is no deadline, where
// that is beyond what the protocol can say.
func deadlineIn(d time.Duration) uint64 {
	d = min(max(0, d), math.MaxInt64-1<<60)
	ms := max(1, uint64((monotonic()+int64(d)+int64(time.Millisecond)-1)/int64(time.Millisecond)))
	if ms > proto.MaxClock {
		return 0
	}
	return ms
}

func checkName(name string) error {
	if name == "" || len(name) > maxName {
		return &TaskError{Subroutine: name, Status: StatusUnknownSubroutine, Text: "a name has 1 to 255 bytes"}
	}
	return nil
}
