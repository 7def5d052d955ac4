package probe

import (
	"context"
	"iter"
	"net"
	"net/netip"
)

// Options are what a scan may be told beside its description. Zero means the default.
type Options struct {
	// Dial makes the connections, through a jump host for example; default: the system's own sockets.
	Dial DialFunc
	// Lookup finds the addresses of a name, of which the first is probed; default: the system's resolver.
	Lookup func(ctx context.Context, name string) ([]netip.Addr, error)
	// Allow says which addresses may be probed; default: all.
	Allow func(netip.Addr) bool
	// Status is called with what the scan is at, about every second and at the end, by the goroutine that gets the results.
	Status func(Status)
}

// Run scans from this machine, without a gateway, and yields the answers as they come. After the last, an error is yielded
// with the zero Result if the scan did not come to its end: ErrBadScan, or why ctx ended. When the loop ends, nothing of
// the scan is under way any more. Each position has one result, but for those that Scan says have theirs.
func Run(ctx context.Context, s Scan, o Options) iter.Seq2[Result, error] {
	return func(yield func(Result, error) bool) {
		e, err := prepare(&s, o, nil)
		if err != nil {
			yield(Result{}, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		end := make(chan error, 1)
		go func() { end <- e.run(ctx) }()
		enough := false
		defer func() {
			cancel()
			err := <-end
			if err != nil && !enough {
				yield(Result{}, err)
			}
		}()
		var list []finding
		for {
			var status *Status
			var ok bool
			if list, status, ok = e.out.take(context.WithoutCancel(ctx), list); !ok {
				return
			}
			for i := range list {
				r := e.plan.result(&list[i])
				r.More = i < len(list)-1
				if !yield(r, nil) {
					enough = true
					return
				}
			}
			e.out.release(len(list))
			if status != nil && o.Status != nil {
				o.Status(*status)
			}
		}
	}
}

// prepare makes an engine of a description. Its run is still to be called.
func prepare(s *Scan, o Options, b *budget) (*engine, error) {
	p, err := newPlan(s)
	if err != nil {
		return nil, err
	}
	opts, err := s.options()
	if err != nil {
		return nil, err
	}
	answered := newTracker(p.total, s.From)
	if err := answered.restore(s.Answered); err != nil {
		return nil, badScan("answered: %w", err)
	}
	opts.allow, opts.budget = o.Allow, b
	if o.Lookup != nil {
		opts.lookup = o.Lookup
	}
	opts.service.dial = o.Dial
	if o.Dial == nil {
		opts.service.dial = new(net.Dialer).DialContext
	}
	c := newConnector()
	if o.Dial != nil {
		c = newDialConnector(o.Dial)
	}
	return newEngine(p, answered, opts, c), nil
}
