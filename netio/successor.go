package netio

import (
	"errors"
	"fmt"

	"shoal/proto"
)

// target is the address of a gateway.
type target struct {
	url, network, address string
	inTLS                 bool
}

func newTarget(url string) (t target, err error) {
	t.url = url
	if t.network, t.address, err = splitURL(url); t.network == "tls" {
		t.network, t.inTLS = "tcp", true
	}
	return t, err
}

// checkSuccessor says what is wrong with the successor of a gateway's configuration.
func checkSuccessor(url string) error {
	if url == "" {
		return nil
	}
	if _, err := newTarget(url); err != nil {
		return fmt.Errorf("successor: %w", err)
	}
	if len(url) > proto.SuccessorLimit {
		return fmt.Errorf("%w: Successor has %d bytes; it has to have at most %d", ErrBadConfig, len(url), proto.SuccessorLimit)
	}
	return nil
}

// target returns the gateway to connect to: the successor that one has named last, and where nobody welcomes the lane there,
// every other time, the gateway that the swarm was made for.
func (l *swarmLane) target() target {
	if next := l.swarm.successor.Load(); next != nil && l.failed%2 == 0 {
		return *next
	}
	return l.swarm.origin
}

// follow takes note of the successor that a goodbye names; false means that none is named.
func (l *swarmLane) follow(err error) bool {
	var g *goodbyeError
	if !errors.As(err, &g) || g.Successor == "" {
		return false
	}
	next, err := newTarget(g.Successor)
	if err != nil {
		l.swarm.log.Warn("gateway names a successor that has no address", "successor", g.Successor, "error", err)
		return false
	}
	if old := l.swarm.successor.Swap(&next); old == nil || *old != next {
		l.swarm.log.Info("gateway has a successor", "url", next.url)
	}
	l.failed = 0
	return true
}
