//go:build zmq

package main

// #include <zmq.h>
import "C"

import (
	"fmt"
	"strings"

	"shoal/bench/internal/workload"
	"shoal/netio/table"
)

// A socket of ZeroMQ has one user at a time, so that a connection has two at each end: a PUSH that one goroutine writes
// to and a PULL that another reads. The server binds, the client connects.

// zmqPeers are those that need libzmq.
var zmqPeers = []peer{
	{name: "zmq", about: "libzmq " + zmqVersion() + ", a PUSH and a PULL at each end of a connection, bursts handed over to C",
		serve: serveZMQ, dial: dialZMQ},
	{name: "zmq-feed", about: "libzmq, PUSH to PULL, bursts handed over to C", feed: true, serve: serveZMQFeed, dial: dialZMQFeed},
}

func zmqVersion() string {
	var major, minor, patch C.int
	C.zmq_version(&major, &minor, &patch)
	return fmt.Sprintf("%d.%d.%d", major, minor, patch)
}

// zmqBetween stands between the addresses of a server.
const zmqBetween = ","

// serveZMQ returns two addresses for each connection: where it pulls, and where it pushes.
func serveZMQ(l load, t *table.Table) (string, error) {
	var addresses []string
	for range l.Conns {
		in, from, err := bindZMQ(C.ZMQ_PULL)
		if err != nil {
			return "", err
		}
		out, to, err := bindZMQ(C.ZMQ_PUSH)
		if err != nil {
			return "", err
		}
		addresses = append(addresses, from, to)
		go func() { _ = answerZMQ(in, out, t, l.Batch) }() // what fails here is missed by the client
	}
	return strings.Join(addresses, zmqBetween), nil
}

func bindZMQ(kind C.int) (*zmqSocket, string, error) {
	s, err := newZMQ(kind)
	if err != nil {
		return nil, "", err
	}
	address, err := s.bind()
	return s, address, err
}

func connectZMQ(kind C.int, address string) (*zmqSocket, error) {
	s, err := newZMQ(kind)
	if err != nil {
		return nil, err
	}
	if err := s.connect(address); err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// answerZMQ ends with the process.
func answerZMQ(in, out *zmqSocket, t *table.Table, batch int) error {
	var answer []byte
	for {
		message, more, err := in.recv()
		if err != nil {
			return err
		}
		answer = workload.AppendAnswer(answer[:0], message[idSize:], batch, t)
		if err := out.append(message[:idSize], answer); err != nil {
			return err
		}
		if !more {
			if err := out.flush(); err != nil {
				return err
			}
		}
	}
}

func dialZMQ(address string, l load) (driver, error) {
	addresses := strings.Split(address, zmqBetween)
	return newPipes(l, func(i int) (pipe, error) {
		out, err := connectZMQ(C.ZMQ_PUSH, addresses[2*i])
		if err != nil {
			return nil, err
		}
		in, err := connectZMQ(C.ZMQ_PULL, addresses[2*i+1])
		if err != nil {
			_ = out.Close()
			return nil, err
		}
		return &zmqPipe{out, in}, nil
	})
}

type zmqPipe struct{ out, in *zmqSocket }

func (p *zmqPipe) send(message []byte) error   { return p.out.append(message) }
func (p *zmqPipe) flush() error                { return p.out.flush() }
func (p *zmqPipe) recv() ([]byte, bool, error) { return p.in.recv() }

// Close interrupts both ends of the pipe, since others may be using the sockets; these go with the process.
func (p *zmqPipe) Close() error {
	p.out.interrupt()
	p.in.interrupt()
	return nil
}

// serveZMQFeed returns an address for each stream.
func serveZMQFeed(l load, _ *table.Table) (string, error) {
	var addresses []string
	for range l.Conns {
		out, address, err := bindZMQ(C.ZMQ_PUSH)
		if err != nil {
			return "", err
		}
		addresses = append(addresses, address)
		go func() { _ = feedZMQ(out) }()
	}
	return strings.Join(addresses, zmqBetween), nil
}

// feedZMQ ends with the process: without a subscriber it waits.
func feedZMQ(out *zmqSocket) error {
	chunk := make([]byte, chunkSize)
	for ident := uint64(0); ; ident++ {
		putIdent(chunk, ident)
		if err := out.append(chunk); err != nil {
			return err
		}
	}
}

func dialZMQFeed(address string, l load) (driver, error) {
	addresses := strings.Split(address, zmqBetween)
	return &feeds{l.Conns, func(i int, take func([]byte) bool) error {
		in, err := connectZMQ(C.ZMQ_PULL, addresses[i])
		if err != nil {
			return err
		}
		defer in.Close()
		for {
			chunk, _, err := in.recv()
			if err != nil {
				return err
			}
			if !take(chunk) {
				return nil
			}
		}
	}}, nil
}
