package bench

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"shoal/netio"
)

const sendChunk = 64 << 10

// BenchmarkSend: a body sent in chunks of 64 KiB over one connection, beside the floor.
func BenchmarkSend(b *testing.B) {
	gateway, floor := startChild(b, spec{Role: roleGateway}), startChild(b, spec{Role: roleFloor})
	sw := dialShoal(b, gateway.address, netio.SwarmConfig{Connections: 1})
	all := contest(b, planFor(b),
		side{"shoal", gateway, func(d time.Duration) *work {
			body := &endless{stop: after(d)}
			answer, err := sw.Send(b.Context(), "store", nil, body)
			return sent(b, body, answer, err)
		}},
		side{"floor", floor, func(d time.Duration) *work {
			body := &endless{stop: after(d)}
			answer, err := floorSend(dialFloorConn(b, floor.address, floorStore), body)
			return sent(b, body, answer, err)
		}})
	reportBytes(b, "send, 64 KiB chunks", "MiB/s", 1<<20, sendChunk, all[0], all[1])
}

// endless is a body without an end, until told to stop.
type endless struct {
	stop *atomic.Bool
	n    int
}

func (e *endless) Read(p []byte) (int, error) {
	if e.stop.Load() {
		return 0, io.EOF
	}
	e.n += len(p)
	return len(p), nil
}

func sent(b *testing.B, body *endless, answer []byte, err error) *work {
	if want := binary.LittleEndian.AppendUint64(nil, uint64(body.n)); err == nil && !bytes.Equal(answer, want) {
		err = fmt.Errorf("answer %x for %d bytes", answer, body.n)
	}
	if err != nil {
		b.Error("send:", err)
	}
	return &work{tasks: body.n}
}

func floorSend(conn net.Conn, body io.Reader) ([]byte, error) {
	defer conn.Close()
	frame := make([]byte, 4+sendChunk)
	for {
		n, err := io.ReadFull(body, frame[4:])
		if err == io.EOF {
			break
		}
		binary.LittleEndian.PutUint32(frame, uint32(n))
		if _, err := conn.Write(frame[:4+n]); err != nil {
			return nil, err
		}
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		return nil, err
	}
	return io.ReadAll(conn)
}
