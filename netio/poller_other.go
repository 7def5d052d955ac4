//go:build !linux

package netio

import "errors"

// poller is for Linux; elsewhere each connection has a goroutine that reads.
type poller struct{}

func newPoller(func() bool, *spinner) (*poller, error) { return nil, errors.ErrUnsupported }

func (p *poller) close() {}

func (p *poller) add(*link, polled) bool { return false }
