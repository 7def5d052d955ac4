package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/mem"

	"shoal/bench/internal/workload"
	"shoal/netio/table"
)

// The service is written by hand and its messages are raw bytes, so that gRPC is charged for no protobuf.

const (
	grpcUnary  = "/table.Table/Answer"
	grpcStream = "/table.Table/Stream"
)

// rawCodec carries *[]byte as it is.
type rawCodec struct{}

func (rawCodec) Name() string { return "raw" }

// Marshal copies, as protobuf's codec would, because gRPC keeps what it is given beyond SendMsg.
func (rawCodec) Marshal(v any) (mem.BufferSlice, error) {
	b, ok := v.(*[]byte)
	if !ok {
		return nil, fmt.Errorf("raw codec: %T", v)
	}
	return mem.BufferSlice{mem.Copy(*b, mem.DefaultBufferPool())}, nil
}

func (rawCodec) Unmarshal(data mem.BufferSlice, v any) error {
	b, ok := v.(*[]byte)
	if !ok {
		return fmt.Errorf("raw codec: %T", v)
	}
	*b = slices.Grow((*b)[:0], data.Len())[:data.Len()]
	data.CopyTo(*b)
	return nil
}

type grpcService struct {
	table *table.Table
	batch int
}

func serveGRPC(l load, t *table.Table) (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := grpc.NewServer(grpc.ForceServerCodecV2(rawCodec{}))
	s.RegisterService(&grpc.ServiceDesc{
		ServiceName: "table.Table",
		HandlerType: (*any)(nil),
		Methods:     []grpc.MethodDesc{{MethodName: "Answer", Handler: answerUnary}},
		Streams: []grpc.StreamDesc{
			{StreamName: "Stream", Handler: answerStream, ServerStreams: true, ClientStreams: true},
			{StreamName: "Feed", Handler: feedStream, ServerStreams: true},
		},
	}, &grpcService{t, l.Batch})
	go func() { _ = s.Serve(ln) }()
	return ln.Addr().String(), nil
}

func answerUnary(srv any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	s := srv.(*grpcService)
	var message []byte
	if err := decode(&message); err != nil {
		return nil, err
	}
	answer := workload.AppendAnswer(make([]byte, 0, s.batch*(4+workload.AnswerSize)), message, s.batch, s.table)
	return &answer, nil
}

func answerStream(srv any, stream grpc.ServerStream) error {
	s := srv.(*grpcService)
	var message, answer []byte
	for {
		if err := stream.RecvMsg(&message); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		answer = workload.AppendAnswer(append(answer[:0], message[:idSize]...), message[idSize:], s.batch, s.table)
		if err := stream.SendMsg(&answer); err != nil {
			return err
		}
	}
}

func dialGRPC(address string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///"+address, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.ForceCodecV2(rawCodec{})))
}

// dialGRPCs returns so many connections.
func dialGRPCs(address string, n int) ([]*grpc.ClientConn, error) {
	var conns []*grpc.ClientConn
	for range n {
		c, err := dialGRPC(address)
		if err != nil {
			closeAll(conns)
			return nil, err
		}
		conns = append(conns, c)
	}
	return conns, nil
}

func dialGRPCUnary(address string, l load) (driver, error) {
	conns, err := dialGRPCs(address, l.Conns)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	return newCallers(l, func(user int, message []byte) (answer []byte, err error) {
		err = conns[user%len(conns)].Invoke(ctx, grpcUnary, &message, &answer)
		return answer, err
	}), nil
}

func dialGRPCStream(address string, l load) (driver, error) {
	return newPipes(l, func(int) (pipe, error) {
		c, err := dialGRPC(address)
		if err != nil {
			return nil, err
		}
		desc := &grpc.StreamDesc{ServerStreams: true, ClientStreams: true}
		stream, err := c.NewStream(context.Background(), desc, grpcStream)
		if err != nil {
			_ = c.Close()
			return nil, err
		}
		return &grpcPipe{ClientConn: c, stream: stream}, nil
	})
}

// grpcPipe is a stream with a connection of its own. gRPC says nothing of what else has come, so that every answer is
// a burst of its own; and it writes by itself.
type grpcPipe struct {
	*grpc.ClientConn
	stream grpc.ClientStream
	answer []byte
}

func (p *grpcPipe) send(message []byte) error { return p.stream.SendMsg(&message) }
func (p *grpcPipe) flush() error              { return nil }

func (p *grpcPipe) recv() ([]byte, bool, error) {
	err := p.stream.RecvMsg(&p.answer)
	return p.answer, false, err
}
