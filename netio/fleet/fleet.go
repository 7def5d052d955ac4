package fleet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"iter"
	"log/slog"
	"slices"
	"sync"
	"time"

	"shoal/netio"
)

// Config is what a fleet can be told. Zero means the default, everywhere.
type Config struct {
	// Swarm is the configuration of the swarm to each gateway. Its Wait is not used: a task that a draining gateway refuses
	// goes to another one. A zero GiveUp is 10 s here.
	Swarm netio.SwarmConfig

	Subset int               // gateways that this client uses of those that reach a target; default 20
	Labels map[string]string // only gateways that have all of these are used; default: all

	// Target returns the target of a task from its argument: the task goes to a gateway that reaches it. An empty one is reached
	// by all. Default: no task has a target.
	Target func(name string, argument []byte) string
}

// Fleet is a client of many gateways. It has the methods of a netio.Swarm. All its methods are safe for concurrent use.
type Fleet struct {
	config Config
	log    *slog.Logger
	seed   maphash.Seed // of the rendezvous hashes

	ctx     context.Context // ends with Close
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu       sync.Mutex          // guards what follows, and the gateways' fields
	gateways map[string]*gateway // by URL
	ranked   []*gateway          // all of them, in this client's order of preference
	changed  chan struct{}       // closed when something about a gateway has changed
	told     bool                // a gateway has told who the members are
}

// Dial connects to the gateways at the URLs and returns once one of them is reached. Where that gateway tells who else is there,
// the fleet uses them all, and follows changes. The context bounds Dial alone. When no gateway is reached, the error is
// that of the first URL.
func Dial(ctx context.Context, urls []string, config *Config) (*Fleet, error) {
	if len(urls) == 0 {
		urls = []string{netio.DefaultURL}
	}
	f := &Fleet{seed: maphash.MakeSeed(), gateways: map[string]*gateway{}, changed: make(chan struct{})}
	if config != nil {
		f.config = *config
	}
	if f.config.Subset < 0 {
		return nil, fmt.Errorf("%w: Subset is %d; zero is the default", netio.ErrBadConfig, f.config.Subset)
	}
	f.config.Subset = cmp.Or(f.config.Subset, 20)
	f.config.Swarm.Wait = 0
	f.config.Swarm.GiveUp = cmp.Or(f.config.Swarm.GiveUp, 10*time.Second)
	if f.log = f.config.Swarm.Logger; f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.mu.Lock()
	for _, url := range urls {
		f.add(Member{URL: url}, true)
	}
	f.start(f.ranked)
	f.mu.Unlock()
	f.running.Go(f.follow)
	if err := f.reachOne(ctx, urls[0]); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// reachOne waits until a gateway is connected and has told of the members, if it does that, or all have been tried in vain.
func (f *Fleet) reachOne(ctx context.Context, first string) error {
	for {
		f.mu.Lock()
		changed, failed := f.changed, 0
		for _, g := range f.gateways {
			if g.up() && (f.told || g.silent) {
				f.mu.Unlock()
				return nil
			}
			if g.err != nil {
				failed++
			}
		}
		err, all := f.gateways[first].err, failed == len(f.gateways)
		f.mu.Unlock()
		if all {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("%w at %s: %w", netio.ErrUnreachable, first, ctx.Err())
		}
	}
}

// Close leaves all gateways: what is under way is cancelled. It returns when no goroutine of the fleet is left.
func (f *Fleet) Close() error {
	f.cancel()
	f.mu.Lock()
	gateways := slices.Clone(f.ranked)
	f.mu.Unlock()
	var leaving sync.WaitGroup
	for _, g := range gateways {
		leaving.Go(func() { f.leave(g) })
	}
	leaving.Wait()
	f.running.Wait()
	return nil
}

// Members returns the gateways that are known, by URL, and whether each is connected.
func (f *Fleet) Members() []MemberState {
	f.mu.Lock()
	defer f.mu.Unlock()
	var all []MemberState
	for _, g := range f.ranked {
		all = append(all, MemberState{g.member, g.up(), int(g.inflight.Load()), time.Duration(g.latency.Load()), g.err})
	}
	slices.SortFunc(all, func(a, b MemberState) int { return cmp.Compare(a.URL, b.URL) })
	return all
}

// MemberState is a member as this client sees it.
type MemberState struct {
	Member
	Connected bool          // this client has a connection to it
	InFlight  int           // of this client's tasks
	Latency   time.Duration // about how long its answers take; zero: not known
	Err       error         // why it could not be reached, the last time
}

// Changed returns a channel that is closed when something about a member has changed.
func (f *Fleet) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// wake tells those who wait for a change. The caller holds mu.
func (f *Fleet) wake() {
	close(f.changed)
	f.changed = make(chan struct{})
}

// target returns the target of a task.
func (f *Fleet) target(name string, argument []byte) string {
	if f.config.Target == nil {
		return ""
	}
	return f.config.Target(name, argument)
}

// do runs something at a gateway that reaches the host. Where that gateway certainly did not run it, it goes to another one, each
// at most once.
func (f *Fleet) do(ctx context.Context, host string, run func(s *netio.Swarm) error) error {
	var tried []*gateway
	var last error
	for {
		g, err := f.pick(ctx, host, tried, nil)
		if err != nil {
			return cmp.Or(last, err)
		}
		g.inflight.Add(1)
		begun := time.Now()
		err = run(g.swarm)
		g.inflight.Add(-1)
		if err == nil {
			g.took(time.Since(begun))
		}
		if !NeverRan(err) || ctx.Err() != nil {
			return err
		}
		f.refused(g, err)
		tried, last = append(tried, g), err
	}
}

// NeverRan reports whether an error says that a task certainly did not run, so that it may run elsewhere.
func NeverRan(err error) bool {
	return errors.Is(err, netio.ErrDraining) || errors.Is(err, netio.ErrUnreachable) || errors.Is(err, netio.ErrBusy) ||
		errors.Is(err, netio.ErrClosed) && !errors.Is(err, netio.ErrCanceled)
}

// Call is Swarm.Call at a gateway that reaches the task's target.
func (f *Fleet) Call(ctx context.Context, name string, in []byte) (out []byte, err error) {
	err = f.do(ctx, f.target(name, in), func(s *netio.Swarm) (err error) {
		out, err = s.Call(ctx, name, in)
		return err
	})
	return out, err
}

// OpenStream is Swarm.OpenStream at a gateway that reaches the stream's target.
func (f *Fleet) OpenStream(ctx context.Context, name string, in []byte) (st *netio.ClientStream, err error) {
	err = f.do(ctx, f.target(name, in), func(s *netio.Swarm) (err error) {
		st, err = s.OpenStream(ctx, name, in)
		return err
	})
	return st, err
}

// Duplex is Swarm.Duplex at a gateway that reaches the stream's target.
func (f *Fleet) Duplex(ctx context.Context, name string, in []byte) (st *netio.ClientStream, err error) {
	err = f.do(ctx, f.target(name, in), func(s *netio.Swarm) (err error) {
		st, err = s.Duplex(ctx, name, in)
		return err
	})
	return st, err
}

// Stream is Swarm.Stream at a gateway that reaches the stream's target.
func (f *Fleet) Stream(ctx context.Context, name string, in []byte) iter.Seq2[netio.Chunk, error] {
	return func(yield func(netio.Chunk, error) bool) {
		g, err := f.pick(ctx, f.target(name, in), nil, nil)
		if err != nil {
			yield(netio.Chunk{}, err)
			return
		}
		g.swarm.Stream(ctx, name, in)(yield)
	}
}

// Send is Swarm.Send at a gateway that reaches the target. A body that was begun is not sent to another gateway.
func (f *Fleet) Send(ctx context.Context, name string, in []byte, body io.Reader) ([]byte, error) {
	g, err := f.pick(ctx, f.target(name, in), nil, nil)
	if err != nil {
		return nil, err
	}
	return g.swarm.Send(ctx, name, in, body)
}
