package main

import (
	"context"
	"fmt"
	"net"

	"storj.io/drpc"
	"storj.io/drpc/drpcconn"
	"storj.io/drpc/drpcserver"

	"shoal/bench/internal/workload"
	"shoal/netio/table"
)

// rawEncoding carries *[]byte as it is; drpc is done with what it was given when MsgSend returns.
type rawEncoding struct{}

func (rawEncoding) Marshal(m drpc.Message) ([]byte, error) {
	b, ok := m.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("raw encoding: %T", m)
	}
	return *b, nil
}

func (rawEncoding) Unmarshal(data []byte, m drpc.Message) error {
	b, ok := m.(*[]byte)
	if !ok {
		return fmt.Errorf("raw encoding: %T", m)
	}
	*b = append((*b)[:0], data...)
	return nil
}

type drpcHandler struct {
	table *table.Table
	batch int
}

func (h *drpcHandler) HandleRPC(stream drpc.Stream, name string) error {
	if name == drpcFeed {
		return feedDRPC(stream)
	}
	var message, answer []byte
	for {
		if err := stream.MsgRecv(&message, rawEncoding{}); err != nil {
			return err
		}
		answer = workload.AppendAnswer(append(answer[:0], message[:idSize]...), message[idSize:], h.batch, h.table)
		if err := stream.MsgSend(&answer, rawEncoding{}); err != nil {
			return err
		}
	}
}

func serveDRPC(l load, t *table.Table) (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := drpcserver.New(&drpcHandler{t, l.Batch})
	go func() { _ = s.Serve(context.Background(), ln) }()
	return ln.Addr().String(), nil
}

func dialDRPC(address string, l load) (driver, error) {
	return newPipes(l, func(int) (pipe, error) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return nil, err
		}
		c := drpcconn.New(conn)
		stream, err := c.NewStream(context.Background(), "/table.Table/Stream", rawEncoding{})
		if err != nil {
			_ = c.Close()
			return nil, err
		}
		return &drpcPipe{Conn: c, stream: stream}, nil
	})
}

// drpcPipe is a stream with a connection of its own: drpc has one at a time. It writes each message by itself.
type drpcPipe struct {
	*drpcconn.Conn
	stream drpc.Stream
	answer []byte
}

func (p *drpcPipe) send(message []byte) error { return p.stream.MsgSend(&message, rawEncoding{}) }
func (p *drpcPipe) flush() error              { return nil }

func (p *drpcPipe) recv() ([]byte, bool, error) {
	err := p.stream.MsgRecv(&p.answer, rawEncoding{})
	return p.answer, false, err
}
