package engine

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/panjf2000/gnet/v2"
)

// readSize is how many bytes one read takes at most. Each loop has one buffer of this size.
const readSize = 128 << 10

// Handler is told what happens to one connection. Its methods are called by the connection's loop, one at a time. They must
// not block.
type Handler interface {
	// Opened is the first call. From now on c can be written to.
	Opened(c *Conn)
	// Received hands over what has arrived. The bytes are valid during the call.
	// It may be none, after Conn.AskTurn.
	Received(src []byte)
	// Closed is the last call: the connection has ended. The error says why; it is never nil.
	Closed(err error)
}

// Engine is a set of event loops. Its methods are safe for concurrent use.
type Engine struct {
	gnet.BuiltinEventEngine
	client *gnet.Client

	adding  sync.RWMutex // held for reading by Add: an enrolment that begins after the loops' end would never return
	stopped bool
}

// ErrStopped is the error of Add after Stop.
var ErrStopped = errors.New("engine is stopped")

// Start starts an engine with so many loops, each a goroutine. It logs to log. Stop ends it.
func Start(log *slog.Logger, loops int) (*Engine, error) {
	e := &Engine{}
	client, err := gnet.NewClient(e, gnet.WithNumEventLoop(loops), gnet.WithReadBufferCap(readSize), gnet.WithLogger(gnetLog{log}))
	if err != nil {
		return nil, fmt.Errorf("event loops: %w", err)
	}
	if err := client.Start(); err != nil {
		return nil, fmt.Errorf("event loops: %w", err)
	}
	e.client = client
	return e, nil
}

// Stop ends the loops and closes the connections that are left. It returns when both is done.
func (e *Engine) Stop() {
	e.adding.Lock()
	stopped := e.stopped
	e.stopped = true
	e.adding.Unlock()
	if !stopped {
		_ = e.client.Stop()
	}
}

// Takes reports whether Add takes a connection of this type: one with a descriptor whose bytes are those of the wire.
func Takes(conn net.Conn) bool {
	switch conn.(type) {
	case *net.TCPConn, *net.UnixConn:
		return true
	}
	return false
}

// Add has a loop read conn from now on, and returns when the loop has called h.Opened. The connection belongs to the engine
// in any case: conn must not be used any more. After an error h is not called again.
func (e *Engine) Add(conn net.Conn, h Handler) error {
	e.adding.RLock()
	defer e.adding.RUnlock()
	if e.stopped {
		_ = conn.Close()
		return ErrStopped
	}
	for _, addr := range []net.Addr{conn.RemoteAddr(), conn.LocalAddr()} {
		if tcp, ok := addr.(*net.TCPAddr); ok {
			tcp.Zone = "" // gnet gives the memory of zones back to a pool that it did not come from
		}
	}
	c := &Conn{handler: h}
	if _, err := e.client.EnrollContext(conn, c); err != nil {
		return fmt.Errorf("event loop: %w", err)
	}
	if !c.opened.Load() { // gnet reports success though epoll has refused the descriptor
		return errors.New("event loop does not take the connection")
	}
	return nil
}

// OnOpen is called by a loop before it reads a connection.
func (e *Engine) OnOpen(gc gnet.Conn) ([]byte, gnet.Action) {
	c := gc.Context().(*Conn)
	c.loop.claim()
	c.conn = gc
	c.mu.Lock()
	c.fd, c.open = gc.Fd(), true
	c.mu.Unlock()
	c.opened.Store(true)
	c.handler.Opened(c)
	return nil, gnet.None
}

// OnTraffic is called by a loop when a read has brought something.
func (e *Engine) OnTraffic(gc gnet.Conn) gnet.Action {
	c := gc.Context().(*Conn)
	c.loop.check()
	acquireWire()
	src, _ := gc.Next(-1)
	c.handler.Received(src)
	return gnet.None
}

// OnClose is called by a loop before it closes the descriptor.
func (e *Engine) OnClose(gc gnet.Conn, err error) gnet.Action {
	c := gc.Context().(*Conn)
	c.loop.check()
	c.release()
	if err == nil {
		err = net.ErrClosed
	}
	c.handler.Closed(err)
	return gnet.None
}

// gnetLog gives gnet's own messages to a logger. What gnet says of its normal work is of no interest to an operator.
type gnetLog struct{ log *slog.Logger }

func (l gnetLog) Debugf(format string, args ...any) { l.log.Debug(fmt.Sprintf(format, args...)) }
func (l gnetLog) Infof(format string, args ...any)  { l.log.Debug(fmt.Sprintf(format, args...)) }
func (l gnetLog) Warnf(format string, args ...any)  { l.log.Debug(fmt.Sprintf(format, args...)) }
func (l gnetLog) Errorf(format string, args ...any) { l.log.Warn(fmt.Sprintf(format, args...)) }
func (l gnetLog) Fatalf(format string, args ...any) { l.log.Error(fmt.Sprintf(format, args...)) }
