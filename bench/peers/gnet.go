package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"

	"github.com/panjf2000/gnet/v2"
	"go.uber.org/zap"

	"shoal/bench/internal/workload"
	"shoal/netio/table"
)

// Raw gnet is the engine that shoal's gateway runs on, without the gateway: a server that answers the floor's frames on its
// event loops, one write for all frames of a read. It has no pool, no status, no session and no limit. Its clients are the
// floor's.

// gnetServer answers on the event loops of gnet.
type gnetServer struct {
	gnet.BuiltinEventEngine
	table *table.Table
	batch int
	ready chan gnetReady
}

// gnetReady is where a gnetServer listens, or why it does not.
type gnetReady struct {
	address string
	err     error
}

// gnetConn is the context of a connection: it belongs to the connection's event loop.
type gnetConn struct{ answers []byte }

func serveGnet(l load, t *table.Table) (string, error) {
	s := &gnetServer{table: t, batch: l.Batch, ready: make(chan gnetReady, 1)}
	go func() {
		err := gnet.Run(s, "tcp://127.0.0.1:0", gnet.WithMulticore(true), gnet.WithNumEventLoop(runtime.GOMAXPROCS(0)),
			gnet.WithLogger(zap.NewNop().Sugar()))
		s.ready <- gnetReady{err: fmt.Errorf("gnet ended: %w", err)}
	}()
	r := <-s.ready
	return r.address, r.err
}

// OnBoot finds out the port: gnet itself reports port 0.
func (s *gnetServer) OnBoot(engine gnet.Engine) gnet.Action {
	address, err := gnetAddress(engine)
	s.ready <- gnetReady{address, err}
	return gnet.None
}

func gnetAddress(engine gnet.Engine) (string, error) {
	fd, err := engine.Dup()
	if err != nil {
		return "", err
	}
	file := os.NewFile(uintptr(fd), "listener")
	defer file.Close()
	ln, err := net.FileListener(file)
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// OnOpen gives the connection its context.
func (s *gnetServer) OnOpen(c gnet.Conn) ([]byte, gnet.Action) {
	c.SetContext(&gnetConn{})
	return nil, gnet.None
}

// OnTraffic answers all whole frames that have come; the rest stays with gnet.
func (s *gnetServer) OnTraffic(c gnet.Conn) gnet.Action {
	in, err := c.Peek(-1)
	if err != nil {
		return gnet.Close
	}
	conn := c.Context().(*gnetConn)
	out, rest := conn.answers[:0], in
	for len(rest) >= floorHeader {
		size := floorHeader + int(binary.LittleEndian.Uint32(rest))
		if size < floorHeader+idSize {
			return gnet.Close
		}
		if size > len(rest) {
			break
		}
		start := len(out)
		out = append(out, 0, 0, 0, 0)
		out = append(out, rest[floorHeader:floorHeader+idSize]...)
		out = workload.AppendAnswer(out, rest[floorHeader+idSize:size], s.batch, s.table)
		binary.LittleEndian.PutUint32(out[start:], uint32(len(out)-start-floorHeader))
		rest = rest[size:]
	}
	conn.answers = out
	if len(rest) == len(in) {
		return gnet.None
	}
	_, discarded := c.Discard(len(in) - len(rest))
	_, written := c.Write(out)
	if errors.Join(discarded, written) != nil {
		return gnet.Close
	}
	return gnet.None
}
