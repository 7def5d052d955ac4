package probe

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// DialFunc makes a connection for a probe. It returns when ctx ends. Its error is judged by the system error in its chain.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// dialConnector makes each connection by a dial function on a goroutine of its own, which ends with the dial.
type dialConnector struct {
	dial   DialFunc
	ctx    context.Context
	cancel context.CancelFunc
	wakeup chan struct{}
	dials  sync.WaitGroup
	slots  map[int]*dialing // the loop's

	mu    sync.Mutex // guards what follows
	ended []*dialing
}

// dialing is one dial.
type dialing struct {
	slot   int
	cancel context.CancelFunc
	conn   net.Conn // the dialing goroutine's until wait has reported the end
	err    error

	reported bool // the loop's
}

func newDialConnector(dial DialFunc) *dialConnector {
	c := &dialConnector{dial: dial, wakeup: make(chan struct{}, 1), slots: map[int]*dialing{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

var errNoICMP = errors.New("not on this system")

func (c *dialConnector) start(slot int, d door, to netip.Addr) (bool, error) {
	if d == icmpDoor {
		return true, &icmpError{errNoICMP}
	}
	ctx, cancel := context.WithCancel(c.ctx)
	dl := &dialing{slot: slot, cancel: cancel}
	c.slots[slot] = dl
	c.dials.Go(func() {
		dl.conn, dl.err = c.dial(ctx, "tcp", net.JoinHostPort(to.String(), strconv.Itoa(int(d))))
		if dl.conn != nil && isSelf(dl.conn) {
			_ = dl.conn.Close()
			dl.conn, dl.err = nil, errSelfConnect
		}
		c.mu.Lock()
		c.ended = append(c.ended, dl)
		c.mu.Unlock()
		c.wake()
	})
	return false, nil
}

func isSelf(conn net.Conn) bool { return conn.LocalAddr().String() == conn.RemoteAddr().String() }

func (c *dialConnector) wait(d time.Duration, ended func(slot int, err error)) {
	if d > 0 {
		timer := time.NewTimer(d)
		select {
		case <-c.wakeup:
		case <-timer.C:
		}
		timer.Stop()
	}
	c.mu.Lock()
	list := c.ended
	c.ended = nil
	c.mu.Unlock()
	for _, dl := range list {
		if c.slots[dl.slot] != dl { // dropped
			dl.close()
			continue
		}
		dl.reported = true
		if dl.err != nil {
			delete(c.slots, dl.slot)
			dl.cancel()
		}
		ended(dl.slot, dl.err)
	}
}

func (d *dialing) close() {
	d.cancel()
	if d.conn != nil {
		abortive(d.conn)
	}
}

func (c *dialConnector) take(slot int) (net.Conn, error) {
	dl := c.slots[slot]
	delete(c.slots, slot)
	return &cancelingConn{dl.conn, dl.cancel}, nil
}

// cancelingConn ends the context of its dial when it is closed, and not before: a connection may depend on it.
type cancelingConn struct {
	net.Conn
	cancel context.CancelFunc
}

func (c *cancelingConn) Close() error {
	defer c.cancel()
	return c.Conn.Close()
}

func (c *dialConnector) drop(slot int) {
	dl := c.slots[slot]
	if dl == nil {
		return
	}
	delete(c.slots, slot)
	if dl.reported {
		dl.close()
	} else { // wait closes what still comes
		dl.cancel()
	}
}

func (c *dialConnector) wake() {
	select {
	case c.wakeup <- struct{}{}:
	default:
	}
}

func (c *dialConnector) close() {
	c.cancel()
	c.dials.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, dl := range c.ended {
		dl.close()
	}
	for _, dl := range c.slots {
		dl.close()
	}
}

// abortive closes a connection by a reset: it leaves no port of this machine in TIME_WAIT.
func abortive(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}
