package files

import (
	"context"
	"sync"
	"time"
)

// pace keeps a transfer, all of its streams together, to so many bytes a second. A nil pace lets everything through.
type pace struct {
	rate float64 // bytes a second

	mu   sync.Mutex // guards what follows
	next time.Time  // when the next byte is due
}

func newPace(bytesPerSecond int64) *pace {
	if bytesPerSecond <= 0 {
		return nil
	}
	return &pace{rate: float64(bytesPerSecond)}
}

// wait returns when so many bytes more may pass.
func (p *pace) wait(ctx context.Context, size int) error {
	if p == nil {
		return nil
	}
	p.mu.Lock()
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	due := p.next
	p.next = p.next.Add(time.Duration(float64(size) / p.rate * float64(time.Second)))
	p.mu.Unlock()
	if !due.After(now) {
		return nil
	}
	timer := time.NewTimer(due.Sub(now))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
