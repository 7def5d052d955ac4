package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"
)

// lookups finds the addresses of names, a few at once, and remembers them. The loop calls get, start and take; the
// goroutines end with their lookup or with the context.
type lookups struct {
	ctx    context.Context
	lookup func(ctx context.Context, name string) ([]netip.Addr, error)
	wake   func()
	tasks  sync.WaitGroup
	turns  chan struct{}
	known  map[uint64]resolved // the loop's

	mu   sync.Mutex // guards what follows
	done []resolvedTarget
}

// resolved is a target's address, or why it has none.
type resolved struct {
	address netip.Addr
	named   bool // the target is a name
	err     error
}

type resolvedTarget struct {
	target uint64
	resolved
}

const (
	lookupsAtOnce = 16
	lookupTimeout = 15 * time.Second
	namesKept     = 1 << 14
)

func newLookups(ctx context.Context, lookup func(context.Context, string) ([]netip.Addr, error), wake func()) *lookups {
	return &lookups{ctx: ctx, lookup: lookup, wake: wake, turns: make(chan struct{}, lookupsAtOnce), known: map[uint64]resolved{}}
}

// get returns what a finished lookup gave. An error that may pass is forgotten with it.
func (l *lookups) get(target uint64) (resolved, bool) {
	f, ok := l.known[target]
	if ok && f.err != nil && !isNoSuchHost(f.err) {
		delete(l.known, target)
	}
	return f, ok
}

// start looks a name up; take tells the end. The engine bounds the names that wait by the jobs that it parks.
func (l *lookups) start(target uint64, name string) {
	l.tasks.Go(func() {
		select {
		case l.turns <- struct{}{}:
		case <-l.ctx.Done():
			return
		}
		ctx, cancel := context.WithTimeout(l.ctx, lookupTimeout)
		addresses, err := l.lookup(ctx, name)
		cancel()
		<-l.turns
		f := resolvedTarget{target, resolved{named: true}}
		if len(addresses) > 0 {
			f.address = addresses[0].Unmap()
		} else if f.err = err; err == nil {
			f.err = &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
		}
		l.mu.Lock()
		l.done = append(l.done, f)
		l.mu.Unlock()
		l.wake()
	})
}

// take returns the targets whose lookups have ended since, for get.
func (l *lookups) take() []uint64 {
	l.mu.Lock()
	done := l.done
	l.done = nil
	l.mu.Unlock()
	if len(l.known)+len(done) > namesKept {
		clear(l.known)
	}
	var targets []uint64
	for _, f := range done {
		l.known[f.target] = f.resolved
		targets = append(targets, f.target)
	}
	return targets
}

// wait returns when no goroutine is left; the context has ended.
func (l *lookups) wait() { l.tasks.Wait() }

func systemLookup(ctx context.Context, name string) ([]netip.Addr, error) {
	return net.DefaultResolver.LookupNetIP(ctx, "ip", name)
}

func isNoSuchHost(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

// lookupReason is what the resolver said, without the name.
func lookupReason(err error) string {
	var dns *net.DNSError
	if errors.As(err, &dns) {
		return dns.Err
	}
	return err.Error()
}
