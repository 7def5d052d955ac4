package main

import (
	"errors"
	"strconv"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"shoal/bench/internal/workload"
	"shoal/netio/table"
)

// The broker and those who answer are one process, joined by TCP as they would be as two. Each connection of a client
// has a subject and, behind the broker, a connection of its own that answers.

// startNATS starts a broker that ends with the process.
func startNATS() (*natsserver.Server, error) {
	s, err := natsserver.NewServer(&natsserver.Options{Host: "127.0.0.1", Port: natsserver.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		return nil, err
	}
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		return nil, errors.New("the NATS server does not start")
	}
	return s, nil
}

func serveNATS(l load, t *table.Table) (string, error) {
	s, err := startNATS()
	if err != nil {
		return "", err
	}
	for i := range l.Conns {
		c, err := nats.Connect(s.ClientURL())
		if err != nil {
			return "", err
		}
		answerTo := func(id int) nats.MsgHandler {
			var answer []byte // the client copies what it publishes
			return func(m *nats.Msg) {
				answer = workload.AppendAnswer(append(answer[:0], m.Data[:id]...), m.Data[id:], l.Batch, t)
				_ = c.Publish(m.Reply, answer) // what fails here is missed by the client
			}
		}
		for subject, id := range map[string]int{natsCalls: 0, natsPipe: idSize} {
			sub, err := c.Subscribe(subject+strconv.Itoa(i), answerTo(id))
			if err != nil {
				return "", err
			}
			if err := sub.SetPendingLimits(-1, -1); err != nil {
				return "", err
			}
		}
		if err := c.Flush(); err != nil {
			return "", err
		}
	}
	return s.ClientURL(), nil
}

// What subjects begin with: plain messages, and those that begin with an id.
const (
	natsCalls = "calls."
	natsPipe  = "pipe."
)

func dialNATSCalls(url string, l load) (driver, error) {
	conns := make([]*nats.Conn, l.Conns)
	subjects := make([]string, l.Conns)
	for i := range conns {
		c, err := nats.Connect(url)
		if err != nil {
			for _, opened := range conns[:i] {
				opened.Close()
			}
			return nil, err
		}
		conns[i], subjects[i] = c, natsCalls+strconv.Itoa(i)
	}
	return newCallers(l, func(user int, message []byte) ([]byte, error) {
		m, err := conns[user%len(conns)].Request(subjects[user%len(conns)], message, 10*time.Second)
		if err != nil {
			return nil, err
		}
		return m.Data, nil
	}), nil
}

func dialNATSPipe(url string, l load) (driver, error) {
	return newPipes(l, func(i int) (pipe, error) {
		c, err := nats.Connect(url)
		if err != nil {
			return nil, err
		}
		p := &natsPipeConn{conn: c, subject: natsPipe + strconv.Itoa(i), inbox: nats.NewInbox(),
			answers: make(chan *nats.Msg, l.slots()+1), closed: make(chan struct{})}
		if _, err := c.ChanSubscribe(p.inbox, p.answers); err != nil {
			c.Close()
			return nil, err
		}
		return p, c.Flush()
	})
}

// natsPipeConn asks with one inbox for all answers. The client writes by itself.
type natsPipeConn struct {
	conn    *nats.Conn
	subject string
	inbox   string
	answers chan *nats.Msg
	closed  chan struct{}
}

func (p *natsPipeConn) send(message []byte) error {
	return p.conn.PublishRequest(p.subject, p.inbox, message)
}

func (p *natsPipeConn) flush() error { return nil }

func (p *natsPipeConn) recv() ([]byte, bool, error) {
	select {
	case m := <-p.answers:
		return m.Data, len(p.answers) > 0, nil
	case <-p.closed:
		return nil, false, nats.ErrConnectionClosed
	}
}

func (p *natsPipeConn) Close() error {
	select {
	case <-p.closed:
	default:
		close(p.closed)
	}
	p.conn.Close()
	return nil
}
