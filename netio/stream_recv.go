package netio

import (
	"context"
	"fmt"
	"io"

	"shoal/netio/internal/session"
	"shoal/proto"
)

// Recv returns the next chunk; body is valid until the next call. It waits for one. After the last it returns io.EOF,
// or the error by which the stream ended.
func (s *stream) Recv() (ident int64, body []byte, err error) {
	ident, body, _, err = s.recv()
	return ident, body, err
}

// recv is Recv; it also says whether another chunk is there already.
func (s *stream) recv() (ident int64, body []byte, more bool, err error) {
	for {
		if s.dropped.Load() {
			s.taken.Drop()
		}
		if ident, body, ok := s.taken.Pop(); ok {
			s.last.Store(ident)
			s.received.Add(1)
			s.consumed(session.ChunkCost(len(body)))
			if !s.taken.More() {
				_, _ = s.take()
			}
			return ident, body, s.taken.More(), nil
		}
		if some, err := s.take(); some {
			continue
		} else if err != nil {
			if s.client {
				s.cancel(context.Canceled) // else the caller's context keeps it for as long as it lives itself
			}
			return 0, nil, false, err
		}
		s.waited = true
		select {
		case <-s.recvWake:
		case <-s.ctx.Done():
			if s.client {
				s.abort(s.ctx.Err())
			} else {
				return 0, nil, false, context.Cause(s.ctx)
			}
		}
	}
}

// take takes what has arrived. Where nothing has, the error says how the stream has ended, if it has.
func (s *stream) take() (some bool, err error) {
	s.lane.mu.Lock()
	defer s.lane.mu.Unlock()
	switch {
	case s.taken.TakeAll(&s.in):
		return true, nil
	case s.err != nil:
		return false, s.failure()
	case s.peerEnded:
		return false, io.EOF
	}
	return false, nil
}

// creditGrowth is how many times SwarmConfig.StreamCredit the windows of the streams of one connection may grow to in all.
// More of it is faster while a stream has the connection for itself, and what others want then comes later.
const creditGrowth = 3

// consumed gives credit back, half a window at a time. At the client the window grows while its reader has to wait for more,
// since then it is the window, or the way, that holds the stream up. One that is not read keeps the window that it has.
func (s *stream) consumed(cost int) {
	if s.lane.shared.Bounds() {
		s.consumedShared(int64(cost))
	}
	if s.owed += cost; s.owed < s.window/2 {
		return
	}
	l := s.lane
	l.mu.Lock()
	defer l.mu.Unlock()
	if s.peerEnded || s.over {
		return
	}
	give := s.credit.Give(&l.windows, s.owed, s.waited)
	s.window, s.owed, s.waited = s.credit.Window(), 0, false
	b := l.out.Entry(proto.KindCredit, session.FrameKey{}, 8, session.NoLimit)
	b.B = proto.AppendCredit(b.B, s.id, uint32(give))
	l.appended()
}

// consumedShared gives the lane's shared credit back for a chunk that was consumed, unless that was done when the stream ended.
func (s *stream) consumedShared(cost int64) {
	for {
		left := s.arrivedCost.Load()
		if left == 0 {
			return
		}
		cost = min(cost, left)
		if s.arrivedCost.CompareAndSwap(left, left-cost) {
			break
		}
	}
	if l := s.lane; l.shared.Consumed(int(cost)) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.giveShared()
	}
}

// dropShared gives the lane's shared credit back for everything that has arrived and was not consumed. The caller holds the
// lane's mu.
func (s *stream) dropShared() {
	if cost := s.arrivedCost.Swap(0); cost > 0 && s.lane.shared.Consumed(int(cost)) {
		s.lane.giveShared()
	}
}

// giveShared gives shared credit back where there is enough of it. The caller holds mu.
func (l *lane) giveShared() {
	give := l.shared.Give()
	if give == 0 {
		return
	}
	b := l.out.Entry(proto.KindCredit, session.FrameKey{}, 8, session.NoLimit)
	b.B = proto.AppendCredit(b.B, proto.WholeLane, give)
	l.appended()
}

// arrived takes a chunk in. A chunk for a stream that was aborted here is dropped.
func (s *stream) arrived(c proto.Chunk) error {
	if s.peerEnded || !s.credit.Arrived(len(c.Body)) {
		return fmt.Errorf("%w: chunk on stream %d without credit or after its end", proto.ErrMalformed, c.Stream)
	}
	if s.lane.shared.Bounds() {
		s.arrivedCost.Add(int64(session.ChunkCost(len(c.Body))))
	}
	if s.err == nil {
		s.in.Push(c.Ident, c.Body)
		wake(s.recvWake)
	} else {
		s.dropShared()
	}
	return nil
}

// drop frees what has arrived and nobody will consume. The caller holds the lane's mu.
func (s *stream) drop() {
	s.dropped.Store(true)
	s.in.Drop()
	s.dropShared()
}
