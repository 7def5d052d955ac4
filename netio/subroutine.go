package netio

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"
	"sync"
	"sync/atomic"

	"shoal/proto"
)

// CallFunc is a subroutine that takes bytes and gives bytes. In is valid until it returns; what it returns is copied
// before in is used again, so it may be a part of in. The context ends with the caller's deadline, its cancel, its
// leaving for good, and when the function has returned.
type CallFunc func(ctx context.Context, in []byte) ([]byte, error)

// TaskFunc is a call that may finish later: it must see to it that Task.Finish is called exactly once, before or after
// it returns. Until then the task keeps its slot of the gateway's workers, but no goroutine. It must not block: answers
// of the tasks before it leave when it has returned.
type TaskFunc func(t Task)

// BatchFunc is a TaskFunc for several tasks of one frame, at most 32 of them: what it does for all of them at once, and the
// settling of those that are finished when it returns, costs one step. It must see to it that Finish or FinishAfter is
// called exactly once for each task, before or after it returns. The slice is its own until it returns. It must not
// block. If it panics, all tasks of the call end as panicked.
type BatchFunc func(tasks []Task)

// StreamFunc is a subroutine that answers with many chunks. Returning nil ends the stream.
type StreamFunc func(ctx context.Context, in []byte, out *Stream) error

// SendFunc is a subroutine that takes a body of any size. Returning before the end of body stops the sender.
type SendFunc func(ctx context.Context, in []byte, body io.Reader) ([]byte, error)

// DuplexFunc is a subroutine that reads and writes chunks at the same time.
type DuplexFunc func(ctx context.Context, in []byte, s *Stream) error

// Shape says what a subroutine takes and gives.
type Shape = proto.Shape

// The shapes of subroutines.
const (
	ShapeCall   = proto.ShapeCall
	ShapeStream = proto.ShapeStream
	ShapeSend   = proto.ShapeSend
	ShapeDuplex = proto.ShapeDuplex
)

// SubroutineInfo describes a registered subroutine.
type SubroutineInfo struct {
	Name        string `json:"name"`
	Shape       Shape  `json:"shape"`
	Description string `json:"description,omitempty"`
}

// subroutine is what is registered under a name; it never changes, so that those that run finish with what they began.
type subroutine struct {
	info  SubroutineInfo
	pace  *pace
	call  CallFunc                                                                // a call that ends when it returns
	task  TaskFunc                                                                // a call that may finish later
	batch BatchFunc                                                               // the same for several tasks
	open  func(ctx context.Context, in []byte, s *Stream) (out []byte, err error) // set for the other shapes
}

// registry finds subroutines by name. Reading takes no lock: each change makes a new map.
type registry struct {
	mu    sync.Mutex // serialises changes
	names atomic.Pointer[map[string]*subroutine]
}

func (r *registry) find(name []byte) *subroutine {
	if m := r.names.Load(); m != nil {
		return (*m)[string(name)]
	}
	return nil
}

func (r *registry) change(name string, s *subroutine) {
	r.update(name, func(*subroutine) *subroutine { return s })
}

// update puts what is made of the one that is there in its place; nil: there is none.
func (r *registry) update(name string, change func(*subroutine) *subroutine) {
	r.mu.Lock()
	defer r.mu.Unlock()
	next := map[string]*subroutine{}
	if m := r.names.Load(); m != nil {
		for k, v := range *m {
			next[k] = v
		}
	}
	if s := change(next[name]); s == nil {
		delete(next, name)
	} else {
		next[name] = s
	}
	r.names.Store(&next)
}

func (r *registry) list() []SubroutineInfo {
	var infos []SubroutineInfo
	if m := r.names.Load(); m != nil {
		for _, s := range *m {
			infos = append(infos, s.info)
		}
	}
	sort.Slice(infos, func(i, j int) bool { return infos[i].Name < infos[j].Name })
	return infos
}

// maxName is the longest name of a subroutine, in bytes.
const maxName = 255

// register adds or replaces; a name that cannot cross the wire is a programming error.
func (g *Gateway) register(name string, shape Shape, s *subroutine) {
	if name == "" || len(name) > maxName {
		panic(fmt.Sprintf("netio: the name of a subroutine has 1 to %d bytes, %q has %d", maxName, name, len(name)))
	}
	s.info.Name, s.info.Shape, s.pace = name, shape, &pace{}
	g.subroutines.change(name, s)
}

// Programming errors in Handle methods: they panic with an error that matches one of these by errors.Is.
var (
	// ErrNoFunction says that the function of a subroutine is nil.
	ErrNoFunction = errors.New("subroutine without a function")
	// ErrReservedName says that the gateway answers under this name itself.
	ErrReservedName = errors.New("name is the gateway's own")
)

// handle registers what a user gives.
func (g *Gateway) handle(name string, shape Shape, missing bool, s *subroutine) {
	switch {
	case name == nameList || name == nameStats || name == nameStop:
		panic(fmt.Errorf("netio: %q: %w", name, ErrReservedName))
	case missing:
		panic(fmt.Errorf("netio: %q: %w", name, ErrNoFunction))
	}
	g.register(name, shape, s)
}

// HandleCall registers fn under name, in place of what was there. Those that run finish with the old one. Safe for
// concurrent use, before and while the gateway serves, as are the other Handle methods, Describe and Remove. A nil fn, a name of the gateway's
// own (shoal.list, shoal.stats, shoal.stop) and one that cannot cross the wire are programming errors: all Handle methods panic.
func (g *Gateway) HandleCall(name string, fn CallFunc) {
	g.handle(name, ShapeCall, fn == nil, &subroutine{call: fn})
}

// HandleTask registers a call that may finish later.
func (g *Gateway) HandleTask(name string, fn TaskFunc) {
	g.handle(name, ShapeCall, fn == nil, &subroutine{task: fn})
}

// HandleBatch registers a call that takes several tasks at once.
func (g *Gateway) HandleBatch(name string, fn BatchFunc) {
	g.handle(name, ShapeCall, fn == nil, &subroutine{batch: fn})
}

// HandleStream registers a stream. It runs on a goroutine of its own, not on a worker.
func (g *Gateway) HandleStream(name string, fn StreamFunc) {
	g.handle(name, ShapeStream, fn == nil, &subroutine{open: func(ctx context.Context, in []byte, s *Stream) ([]byte, error) {
		return nil, fn(ctx, in, s)
	}})
}

// HandleSend registers a send. It runs on a goroutine of its own.
func (g *Gateway) HandleSend(name string, fn SendFunc) {
	g.handle(name, ShapeSend, fn == nil, &subroutine{open: func(ctx context.Context, in []byte, s *Stream) ([]byte, error) {
		return fn(ctx, in, s.Reader())
	}})
}

// HandleDuplex registers a duplex stream. It runs on a goroutine of its own.
func (g *Gateway) HandleDuplex(name string, fn DuplexFunc) {
	g.handle(name, ShapeDuplex, fn == nil, &subroutine{open: func(ctx context.Context, in []byte, s *Stream) ([]byte, error) {
		return nil, fn(ctx, in, s)
	}})
}

// Describe gives a registered subroutine a description of one line, for those who list them.
func (g *Gateway) Describe(name, description string) {
	g.subroutines.update(name, func(s *subroutine) *subroutine {
		if s == nil {
			return nil
		}
		described := *s
		described.info.Description = description
		return &described
	})
}

// Remove takes a subroutine away; those that run finish.
func (g *Gateway) Remove(name string) { g.subroutines.change(name, nil) }

// Subroutines lists what is registered, by name.
func (g *Gateway) Subroutines() []SubroutineInfo { return g.subroutines.list() }
