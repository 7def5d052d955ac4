package main

import (
	"context"

	"google.golang.org/grpc"
)

const grpcFeed = "/table.Table/Feed"

// feedStream ends with the stream.
func feedStream(_ any, stream grpc.ServerStream) error {
	var request []byte
	if err := stream.RecvMsg(&request); err != nil {
		return err
	}
	chunk := make([]byte, chunkSize)
	for ident := uint64(0); ; ident++ {
		putIdent(chunk, ident)
		if err := stream.SendMsg(&chunk); err != nil {
			return err
		}
	}
}

func dialGRPCFeed(address string, l load) (driver, error) {
	conns, err := dialGRPCs(address, l.Conns)
	if err != nil {
		return nil, err
	}
	return &feeds{l.Conns, func(i int, take func([]byte) bool) error {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		stream, err := conns[i].NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, grpcFeed)
		if err != nil {
			return err
		}
		if err := stream.SendMsg(&[]byte{}); err != nil {
			return err
		}
		if err := stream.CloseSend(); err != nil {
			return err
		}
		for chunk := []byte(nil); ; {
			if err := stream.RecvMsg(&chunk); err != nil {
				return err
			}
			if !take(chunk) {
				return nil
			}
		}
	}}, nil
}
