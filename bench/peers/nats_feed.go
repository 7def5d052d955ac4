package main

import (
	"errors"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"shoal/netio/table"
)

// NATS drops what a subscriber is too slow for, so that who sends has to know how far the other end has come: the client
// acknowledges every quarter of a window, and the server sends a window beyond what is acknowledged.
const (
	natsFeed     = "feed."
	natsWindow   = 1024 // chunks
	natsAck      = natsWindow / 4
	natsPatience = 10 * time.Second
)

func serveNATSFeed(l load, _ *table.Table) (string, error) {
	s, err := startNATS()
	if err != nil {
		return "", err
	}
	for i := range l.Conns {
		c, err := nats.Connect(s.ClientURL())
		if err != nil {
			return "", err
		}
		if _, err := c.Subscribe(natsFeed+strconv.Itoa(i), func(m *nats.Msg) { _ = feedNATS(c, m) }); err != nil {
			return "", err
		}
		if err := c.Flush(); err != nil {
			return "", err
		}
	}
	return s.ClientURL(), nil
}

// feedNATS sends chunks to the request's reply subject, and takes acknowledgements on the subject that it names. It ends
// when one is not empty, or when none comes.
func feedNATS(c *nats.Conn, request *nats.Msg) error {
	acks := make(chan *nats.Msg, 2*natsWindow/natsAck)
	sub, err := c.ChanSubscribe(string(request.Data), acks)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := c.Flush(); err != nil {
		return err
	}
	silence := time.NewTimer(natsPatience)
	defer silence.Stop()
	chunk := make([]byte, chunkSize)
	for ident, acked := uint64(0), uint64(0); ; ident++ {
		for ident-acked >= natsWindow || len(acks) > 0 {
			select {
			case m := <-acks:
				if len(m.Data) > 0 {
					return nil
				}
				acked += natsAck
				silence.Reset(natsPatience)
			case <-silence.C:
				return errors.New("no acknowledgement")
			}
		}
		putIdent(chunk, ident)
		if err := c.Publish(request.Reply, chunk); err != nil {
			return err
		}
	}
}

func dialNATSFeed(url string, l load) (driver, error) {
	conns := make([]*nats.Conn, l.Conns)
	for i := range conns {
		c, err := nats.Connect(url)
		if err != nil {
			for _, opened := range conns[:i] {
				opened.Close()
			}
			return nil, err
		}
		conns[i] = c
	}
	return &feeds{l.Conns, func(i int, take func([]byte) bool) error {
		return readNATS(conns[i], natsFeed+strconv.Itoa(i), take)
	}}, nil
}

func readNATS(c *nats.Conn, subject string, take func([]byte) bool) error {
	chunks := make(chan *nats.Msg, 2*natsWindow)
	inbox, acks := nats.NewInbox(), nats.NewInbox()
	sub, err := c.ChanSubscribe(inbox, chunks)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := c.PublishRequest(subject, inbox, []byte(acks)); err != nil {
		return err
	}
	silence := time.NewTimer(natsPatience)
	defer silence.Stop()
	for n := 1; ; n++ {
		var m *nats.Msg
		select {
		case m = <-chunks:
		case <-silence.C:
			return errors.New("no chunk")
		}
		if !take(m.Data) {
			return c.Publish(acks, []byte("end"))
		}
		if n%natsAck == 0 {
			silence.Reset(natsPatience)
			if err := c.Publish(acks, nil); err != nil {
				return err
			}
		}
	}
}
