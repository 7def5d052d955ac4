package netio

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
)

// Streams in the simulation. Each has two ways, up to the gateway and down to the client. Whatever becomes of connections, on
// each way chunks arrive in order, none twice and none missing; and the stream ends
//
//	well      after all that was sent down, provided that its subroutine returned
//	canceled  provided that the client aborted it
//	draining  provided that a gateway drained, and it never began
//	lost      provided that the age of its lane has ended, but not by a clean drain after it began, or that a gateway
//	          drained and it never began; the error says what was delivered
type simulatedStream struct {
	st                      *ClientStream
	age                     int // of the lane that it was opened on
	began, aborted, shut    bool
	returned, drained, over bool
	up, down                streamWay
	end                     chan struct{} // the subroutine is to return
}

// streamWay is one way of a stream; send and read have one item for each chunk that is to be sent or read.
type streamWay struct {
	send, read     chan struct{}
	sent, received int // chunks
	bytes, taken   int64
}

func newStreamWay() streamWay {
	return streamWay{send: make(chan struct{}, 1<<12), read: make(chan struct{}, 1<<12)}
}

// chunkOf is what chunk n has in it: nothing, a little, and more than a stream's credit in a few.
func chunkOf(n int) []byte {
	return bytes.Repeat([]byte{byte(n), byte(n >> 8)}, []int{0, 3, 500, 20_000, 35_000}[n%5])
}

func (s *simulation) handleStreams(g *Gateway) {
	g.HandleDuplex("both", func(ctx context.Context, in []byte, st *Stream) error {
		s.mu.Lock()
		x := s.streams[binary.LittleEndian.Uint32(in)]
		if x.began && !s.silent {
			s.t.Error("a stream began twice")
		}
		x.began = true
		s.mu.Unlock()
		go s.sendWay(ctx, &st.stream, &x.down)
		go s.readWay(ctx, &st.stream, &x.up, func(err error) {
			if err == io.EOF && (!x.shut || x.up.received != x.up.sent) {
				s.t.Errorf("a stream's way up ended without all chunks: %+v", x)
			}
		})
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-x.end:
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		x.returned = true
		return nil
	})
}

// sendWay sends chunks as it is told to, until one cannot be sent or ctx ends.
func (s *simulation) sendWay(ctx context.Context, st *stream, way *streamWay) {
	for n := 0; ; n++ {
		select {
		case <-way.send:
		case <-ctx.Done():
			return
		}
		body := chunkOf(n)
		if st.Send(int64(n), body) != nil {
			return
		}
		s.mu.Lock()
		way.sent++
		way.bytes += int64(len(body))
		s.mu.Unlock()
	}
}

// readWay reads chunks as it is told to, and tells ended, with mu held, how the way ended.
func (s *simulation) readWay(ctx context.Context, st *stream, way *streamWay, ended func(error)) {
	for n := 0; ; n++ {
		select {
		case <-way.read:
		case <-ctx.Done():
			return
		}
		ident, body, err := st.Recv()
		s.mu.Lock()
		if err != nil {
			if !s.silent {
				ended(err)
			}
			s.mu.Unlock()
			return
		}
		if ident != int64(n) || !bytes.Equal(body, chunkOf(n)) || n >= way.sent {
			s.t.Errorf("chunk %d of %d bytes came in place of %d, %d were sent", ident, len(body), n, way.sent)
		}
		way.received, way.taken = n+1, way.taken+int64(len(body))
		s.mu.Unlock()
	}
}

// streamOver checks how a stream ended at the client.
func (s *simulation) streamOver(x *simulatedStream, err error) {
	x.over = true
	ok := false
	var lost *StreamError
	switch {
	case err == io.EOF:
		ok = x.returned && x.down.received == x.down.sent
	case errors.Is(err, ErrCanceled):
		ok = x.aborted
	case errors.Is(err, ErrDraining):
		ok = s.model.drained && !x.began
	case errors.As(err, &lost) && StatusOf(err) == StatusLost:
		p := lost.Progress
		gone := s.model.age > x.age || s.model.drained && !x.began
		ok = gone && !x.drained && p.Received == int64(x.down.received) && p.LastIdent == p.Received-1 &&
			p.Sent == x.up.bytes && p.Taken <= x.up.taken
	}
	if !ok {
		s.t.Errorf("in age %d a stream ended with %v, %+v", s.model.age, err, x)
	}
}

// streamStep does one operation on a stream; they take turns.
func (s *simulation) streamStep(op int) {
	if op < 3 {
		s.openStream()
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.streams) == 0 {
		return
	}
	s.turn++
	switch x := s.streams[s.turn%len(s.streams)]; op {
	case 3, 4:
		push(x.up.send, 1)
	case 5, 6, 7:
		push(x.down.send, op)
	case 8, 9:
		push(x.down.read, op)
	case 10, 11:
		push(x.up.read, 1)
	case 12:
		x.shut = true
		x.st.CloseSend()
	case 13, 14:
		x.endSubroutine()
	case 15:
		x.aborted = true
		x.st.Abort()
	}
}

func push(to chan struct{}, n int) {
	for range min(n, cap(to)-len(to)) {
		to <- struct{}{}
	}
}

func (x *simulatedStream) endSubroutine() {
	select {
	case <-x.end:
	default:
		close(x.end)
	}
}

func (s *simulation) openStream() {
	s.mu.Lock()
	x := &simulatedStream{age: s.laneAge, up: newStreamWay(), down: newStreamWay(), end: make(chan struct{})}
	s.streams = append(s.streams, x)
	argument := binary.LittleEndian.AppendUint32(nil, uint32(len(s.streams)-1))
	s.mu.Unlock()
	var err error
	if x.st, err = s.swarm.Duplex(s.ctx, "both", argument); err != nil {
		s.streams = s.streams[:len(s.streams)-1]
		return
	}
	go s.sendWay(s.ctx, &x.st.stream, &x.up)
	go s.readWay(s.ctx, &x.st.stream, &x.down, func(err error) { s.streamOver(x, err) })
}

// endStreams lets all streams end, and reads what is there of them. Clean says that a drain has just ended that lost nothing.
func (s *simulation) endStreams(clean bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, x := range s.streams {
		x.endSubroutine()
		push(x.up.read, 1<<10)
		push(x.down.read, 1<<10)
		x.drained = x.drained || clean && x.began && x.age == s.model.age
	}
}
