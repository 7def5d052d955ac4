package netio

import (
	"fmt"

	"shoal/netio/internal/session"
	"shoal/proto"
)

// gainedShared takes shared credit, and wakes those who wait for it. The caller holds mu.
func (l *lane) gainedShared(bytes int) error {
	if err := l.shared.Gained(bytes); err != nil {
		return err
	}
	for i, s := range l.creditFor {
		s.wakeSender()
		l.creditFor[i] = nil
	}
	l.creditFor = l.creditFor[:0]
	return nil
}

// streamFrame handles a frame of streams that is the same at both ends.
func (l *lane) streamFrame(f *proto.Frame) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	next := l.nextChunk
	if f.Kind == proto.KindCredit {
		next = l.nextCredit
	}
	rest, err := next(f.Payload)
	for err == nil && len(rest) > 0 {
		rest, err = next(rest)
	}
	return err
}

// nextChunk handles the chunk at the start of src; one of a stream that is over is dropped.
func (l *lane) nextChunk(src []byte) (rest []byte, err error) {
	c, rest, err := proto.NextChunk(src)
	if err != nil {
		return rest, err
	}
	if !l.shared.Arrived(len(c.Body)) {
		return rest, fmt.Errorf("%w: chunk on stream %d without credit of its lane", proto.ErrMalformed, c.Stream)
	}
	if s := l.streams[c.Stream]; s != nil {
		return rest, s.arrived(c)
	}
	if l.shared.Consumed(session.ChunkCost(len(c.Body))) {
		l.giveShared()
	}
	return rest, nil
}

// nextCredit handles the credit at the start of src.
func (l *lane) nextCredit(src []byte) (rest []byte, err error) {
	id, bytes, rest, err := proto.NextCredit(src)
	if s := l.streams[id]; err == nil && s != nil {
		err = s.credited(int(bytes))
	} else if err == nil && id == proto.WholeLane {
		err = l.gainedShared(int(bytes))
	}
	return rest, err
}

func (s *stream) credited(bytes int) error {
	if s.client && s.shape == proto.ShapeStream || !s.client && s.shape == proto.ShapeSend {
		return fmt.Errorf("%w: credit for the direction of stream %d that has no chunks", proto.ErrMalformed, s.id)
	}
	if err := s.credit.Gained(bytes); err != nil {
		return err
	}
	if s.client {
		s.progress.Taken += s.delivery.Gained(bytes)
	}
	wake(s.sendWake)
	return nil
}
