package main

import (
	"net"
	"net/rpc"

	"shoal/bench/internal/workload"
	"shoal/netio/table"
)

// Table is the service of net/rpc.
type Table struct {
	table *table.Table
	batch int
}

// Answer answers a message.
func (t *Table) Answer(message, answer *[]byte) error {
	*answer = workload.AppendAnswer(make([]byte, 0, t.batch*(4+workload.AnswerSize)), *message, t.batch, t.table)
	return nil
}

func serveNetRPC(l load, t *table.Table) (string, error) {
	s := rpc.NewServer()
	if err := s.Register(&Table{t, l.Batch}); err != nil {
		return "", err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go s.Accept(ln)
	return ln.Addr().String(), nil
}

func dialNetRPC(address string, l load) (driver, error) {
	var conns []*rpc.Client
	for range l.Conns {
		c, err := rpc.Dial("tcp", address)
		if err != nil {
			closeAll(conns)
			return nil, err
		}
		conns = append(conns, c)
	}
	return newCallers(l, func(user int, message []byte) (answer []byte, err error) {
		err = conns[user%len(conns)].Call("Table.Answer", &message, &answer)
		return answer, err
	}), nil
}
