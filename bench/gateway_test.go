package bench

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"time"

	"shoal/bench/internal/workload"
	"shoal/netio"
	"shoal/netio/table"
)

// gatewayWorker is a child process that serves as a gateway.
type gatewayWorker struct{ gw *netio.Gateway }

const chunkSize = 1 << 10

// newTable returns the table of the gateway and of the floor, with the waits that benchmarks ask for.
func newTable() *table.Table { return workload.NewTable(time.Second, 100*time.Millisecond) }

func newGatewayWorker(s spec) (*gatewayWorker, error) {
	gw := netio.NewGateway(netio.GatewayConfig{Listen: []string{"tcp://127.0.0.1:0"}, Workers: s.Workers})
	answers := newTable()
	gw.HandleBatch(tableName, answers.Run)
	gw.HandleBatch(userName, workload.UserBatch(answers))
	gw.HandleStream("feed", func(_ context.Context, _ []byte, out *netio.Stream) error {
		chunk := make([]byte, chunkSize)
		for i := int64(0); ; i++ {
			if err := out.Send(i, chunk); err != nil {
				return err
			}
		}
	})
	gw.HandleStream("wait", func(ctx context.Context, _ []byte, _ *netio.Stream) error {
		<-ctx.Done()
		return ctx.Err()
	})
	gw.HandleSend("store", func(_ context.Context, _ []byte, body io.Reader) ([]byte, error) {
		total, err := swallow(body)
		return binary.LittleEndian.AppendUint64(nil, total), err
	})
	return &gatewayWorker{gw}, gw.Start()
}

func (w *gatewayWorker) address() string  { return w.gw.URLs()[0] }
func (w *gatewayWorker) order(string) int { return 0 }

func (w *gatewayWorker) close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = w.gw.Shutdown(ctx)
	return nil
}

// swallow reads to the end as a subroutine would that does something with the bytes.
func swallow(r io.Reader) (total uint64, err error) {
	buf := make([]byte, 64<<10)
	for {
		n, err := r.Read(buf)
		total += uint64(n)
		if errors.Is(err, io.EOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
