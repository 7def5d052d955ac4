package netio

import (
	"context"
	"fmt"
	"io"
	"iter"
	"sync"
)

// Streams opens the same stream n times over the swarm's connections, as one goes faster that is bound by its source,
// and yields the chunks of all as they come. It ends when all have ended, or with the first error. Breaking the loop
// aborts them all. Idents tell the chunks apart; InOrder puts them in order.
func (s *Swarm) Streams(ctx context.Context, name string, in []byte, n int) iter.Seq2[Chunk, error] {
	if n <= 1 {
		return s.Stream(ctx, name, in)
	}
	return func(yield func(Chunk, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel() // also where the loop's body panics
		// Each reader hands over one chunk and waits until it has been consumed: its bytes are the stream's until then.
		type piece struct {
			chunk Chunk
			err   error
			done  chan struct{}
		}
		pieces := make(chan piece)
		var readers sync.WaitGroup
		for range n {
			readers.Go(func() {
				done := make(chan struct{}, 1)
				st, err := s.OpenStream(ctx, name, in)
				if err == nil {
					defer st.Abort()
				}
				for {
					var c Chunk
					if err == nil {
						c.Ident, c.Body, c.More, err = st.recv()
					}
					if err == io.EOF {
						return
					}
					select {
					case pieces <- piece{c, err, done}:
					case <-ctx.Done():
						return
					}
					if err != nil {
						return
					}
					select {
					case <-done:
					case <-ctx.Done():
						return
					}
				}
			})
		}
		go func() {
			readers.Wait()
			close(pieces)
		}()
		ended := false
		for p := range pieces {
			if !ended && !yield(p.chunk, p.err) || p.err != nil {
				ended = true
				cancel()
			}
			p.done <- struct{}{}
		}
		err := ctx.Err() // a reader that saw it first said nothing
		cancel()
		if err != nil && !ended {
			yield(Chunk{}, taskErrorFor(name, err))
		}
	}
}

// InOrder yields chunks by ident, from first on without a gap, holding back at most window that came early. More than
// that early, or an ident that was there already, ends it with an error. Bodies of chunks that were held back are
// copies.
func InOrder(chunks iter.Seq2[Chunk, error], first int64, window int) iter.Seq2[Chunk, error] {
	return func(yield func(Chunk, error) bool) {
		early := map[int64][]byte{}
		next := first
		for c, err := range chunks {
			if err != nil {
				yield(Chunk{}, err)
				return
			}
			if _, twice := early[c.Ident]; twice || c.Ident < next {
				yield(Chunk{}, fmt.Errorf("%w: chunk with ident %d came twice", ErrFailed, c.Ident))
				return
			}
			if c.Ident != next {
				if len(early) == window {
					yield(Chunk{}, fmt.Errorf("%w: chunk with ident %d did not come within %d others", ErrFailed, next, window))
					return
				}
				early[c.Ident] = append([]byte(nil), c.Body...)
				continue
			}
			if !yield(c, nil) {
				return
			}
			for next++; ; next++ {
				body, ok := early[next]
				if !ok {
					break
				}
				delete(early, next)
				if !yield(Chunk{Ident: next, Body: body}, nil) {
					return
				}
			}
		}
		if len(early) > 0 {
			yield(Chunk{}, fmt.Errorf("%w: the streams ended without a chunk with ident %d", ErrFailed, next))
		}
	}
}
