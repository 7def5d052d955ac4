//go:build !linux

package netio

import (
	"errors"
	"time"
)

// poller is for Linux; elsewhere each connection has a goroutine that reads.
type poller struct{}

func newPoller(func() bool, time.Duration) (*poller, error) { return nil, errors.ErrUnsupported }

func (p *poller) close() {}

func (p *poller) add(*link, polled) bool { return false }
