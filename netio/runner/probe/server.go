package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"shoal/netio"
	"shoal/netio/target"
)

// Subroutine is the name under which Serve registers the scans.
const Subroutine = "probe"

// ServerConfig is what a gateway can be told about the scans that it offers. Zero means the default.
type ServerConfig struct {
	Allow      target.Set // addresses that may be probed; default: all
	MaxScans   int        // at once; others are refused as busy; default 16
	MaxSockets int        // of all scans together; default: three quarters of the descriptor limit
	MaxRate    int        // starts a second of each scan; default: what the scan says
}

// Server is the scans of a gateway.
type Server struct {
	config ServerConfig
	budget *budget
	turns  chan struct{} // one for each scan that runs

	mu      sync.Mutex // guards what follows
	stopped bool
	cancels map[*context.CancelCauseFunc]struct{}
}

// Serve registers the stream subroutine "probe" with a gateway: its argument is the JSON form of a Scan, its chunks are
// described in the package documentation. A gateway that is about to drain calls Stop first.
func Serve(gw *netio.Gateway, c ServerConfig) *Server {
	if c.MaxScans <= 0 {
		c.MaxScans = 16
	}
	if c.MaxSockets <= 0 {
		c.MaxSockets = socketsAllowed()
	}
	s := &Server{config: c, budget: &budget{limit: int64(c.MaxSockets)}, turns: make(chan struct{}, c.MaxScans),
		cancels: map[*context.CancelCauseFunc]struct{}{}}
	gw.HandleStream(Subroutine, s.scan)
	gw.Describe(Subroutine, "find out which ports of many addresses are open")
	return s
}

// errStopped is why scans end when the gateway drains.
var errStopped = &netio.StatusError{Status: netio.StatusDraining, Text: "the gateway ends; the scan goes on elsewhere from where it is"}

// Stop ends the scans that run, and refuses others, as draining. A scan may take hours: its client goes on with it at the
// gateway's successor.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	for cancel := range s.cancels {
		(*cancel)(errStopped)
	}
}

// begin returns the context of a scan, which Stop ends.
func (s *Server) begin(ctx context.Context) (context.Context, func(), error) {
	select {
	case s.turns <- struct{}{}:
	default:
		return nil, nil, &netio.StatusError{Status: netio.StatusBusy, Text: fmt.Sprintf("%d scans are under way", cap(s.turns))}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		cancel(errStopped)
	}
	s.cancels[&cancel] = struct{}{}
	return ctx, func() {
		cancel(nil)
		s.mu.Lock()
		delete(s.cancels, &cancel)
		s.mu.Unlock()
		<-s.turns
	}, nil
}

// scan is the subroutine.
func (s *Server) scan(ctx context.Context, in []byte, out *netio.Stream) error {
	var d Scan
	if err := json.Unmarshal(in, &d); err != nil {
		return fmt.Errorf("%w: %w", netio.ErrBadArgument, err)
	}
	ctx, end, err := s.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if s.config.MaxRate > 0 && (d.Rate == 0 || d.Rate > s.config.MaxRate) {
		d.Rate = min(s.config.MaxRate, DefaultRate)
	}
	o := Options{}
	if s.config.Allow.Len() > 0 {
		o.Allow = func(a netip.Addr) bool { return s.config.Allow.Contains(a.String()) }
	}
	e, err := prepare(&d, o, s.budget)
	if errors.Is(err, ErrBadScan) {
		return fmt.Errorf("%w: %w", netio.ErrBadArgument, err)
	} else if err != nil {
		return err
	}
	return serveScan(ctx, e, out)
}

// serveScan runs an engine and sends what it finds.
func serveScan(ctx context.Context, e *engine, out *netio.Stream) error {
	running, cancel := context.WithCancel(ctx)
	end := make(chan error, 1)
	go func() { end <- e.run(running) }()
	s := &sender{out: out}
	err := s.sendJSON(chunkHello, helloJSON{scanVersion, e.plan.total})
	if err == nil {
		err = s.sendAll(ctx, e.out)
	}
	cancel()
	// What ended the scan comes first: a failed Send is only how this goroutine saw it.
	if runErr := <-end; runErr != nil && !errors.Is(runErr, context.Canceled) {
		return runErr
	}
	return err
}

// sender writes chunks in the order of its calls: a status after all answers that came before it.
type sender struct {
	out   *netio.Stream
	ident int64
	buf   []byte
}

// fullChunk is when a chunk of answers is sent though more are there.
const fullChunk = 16 << 10

// sendAll sends findings until they end.
func (s *sender) sendAll(ctx context.Context, q *findings) error {
	var list []finding
	for {
		var status *Status
		var ok bool
		if list, status, ok = q.take(context.WithoutCancel(ctx), list); !ok {
			return nil
		}
		if err := s.sendFindings(list); err != nil {
			return err
		}
		q.release(len(list))
		if status != nil {
			if err := s.sendJSON(chunkStatus, status); err != nil {
				return err
			}
		}
	}
}

func (s *sender) sendFindings(list []finding) error {
	var last uint64
	s.buf = append(s.buf[:0], chunkAnswers)
	for i := range list {
		f := &list[i]
		if f.more == nil {
			s.buf = appendAnswer(s.buf, last, f)
			last = f.position
		} else {
			result, err := appendResult([]byte{chunkResult}, f)
			if err == nil {
				err = s.send(result)
			}
			if err != nil {
				return err
			}
		}
		if len(s.buf) > 1 && (len(s.buf) >= fullChunk || i == len(list)-1) {
			if err := s.send(s.buf); err != nil {
				return err
			}
			s.buf, last = s.buf[:1], 0
		}
	}
	return nil
}

func (s *sender) sendJSON(kind byte, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.send(append([]byte{kind}, body...))
}

func (s *sender) send(chunk []byte) error {
	err := s.out.Send(s.ident, chunk)
	s.ident++
	return err
}
