package main

import (
	"context"
	"net"

	"storj.io/drpc"
	"storj.io/drpc/drpcconn"
)

const drpcFeed = "/table.Table/Feed"

// feedDRPC ends with the stream.
func feedDRPC(stream drpc.Stream) error {
	var request []byte
	if err := stream.MsgRecv(&request, rawEncoding{}); err != nil {
		return err
	}
	chunk := make([]byte, chunkSize)
	for ident := uint64(0); ; ident++ {
		putIdent(chunk, ident)
		if err := stream.MsgSend(&chunk, rawEncoding{}); err != nil {
			return err
		}
	}
}

// dialDRPCFeed gives each stream a connection of its own, which ends with it.
func dialDRPCFeed(address string, l load) (driver, error) {
	return &feeds{l.Conns, func(_ int, take func([]byte) bool) error {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		c := drpcconn.New(conn)
		defer c.Close()
		stream, err := c.NewStream(context.Background(), drpcFeed, rawEncoding{})
		if err != nil {
			return err
		}
		if err := stream.MsgSend(&[]byte{}, rawEncoding{}); err != nil {
			return err
		}
		for chunk := []byte(nil); ; {
			if err := stream.MsgRecv(&chunk, rawEncoding{}); err != nil {
				return err
			}
			if !take(chunk) {
				return nil
			}
		}
	}}, nil
}
