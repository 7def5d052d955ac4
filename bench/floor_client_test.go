package bench

import (
	"bufio"
	"encoding/binary"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"shoal/bench/internal/latency"
	"shoal/bench/internal/workload"
)

// floorClient drives the floor: for each connection a goroutine that writes and one that reads. The reader hands the
// ids of a burst of answers back together, and the clock is looked at once a burst.
type floorClient struct {
	b     *testing.B
	conns []*floorConn
	batch int
}

type floorConn struct {
	conn   net.Conn
	r      *bufio.Reader
	w      *bufio.Writer
	batch  int // tasks of a frame
	cursor workload.Cursor
	sent   []time.Duration // when each id was written, after start
	start  time.Time
	hist   *latency.Histogram
	stop   atomic.Bool

	wake chan struct{} // one slot: ids were handed back

	mu   sync.Mutex
	free []uint32
}

// dialFloor opens connections that together keep so many tasks in flight.
func dialFloor(b *testing.B, address string, keys []byte, conns, inflight, batch int) *floorClient {
	b.Helper()
	c := &floorClient{b: b, batch: batch}
	for i := range conns {
		conn := dialFloorConn(b, address, map[bool]byte{false: floorSingles, true: floorBatches}[batch > 1])
		ids := inflight / conns / batch
		fc := &floorConn{conn: conn, r: bufio.NewReaderSize(conn, floorBuffer), w: bufio.NewWriterSize(conn, floorBuffer),
			batch: batch, cursor: workload.NewCursor(keys, i), sent: make([]time.Duration, ids), wake: make(chan struct{}, 1)}
		for id := range ids {
			fc.free = append(fc.free, uint32(id))
		}
		c.conns = append(c.conns, fc)
	}
	return c
}

func dialFloorConn(b *testing.B, address string, mode byte) net.Conn {
	b.Helper()
	conn, err := net.Dial("tcp", address)
	check(b, err)
	b.Cleanup(func() { _ = conn.Close() })
	_, err = conn.Write([]byte{mode})
	check(b, err)
	return conn
}

// run keeps the window full for so long and waits for the last answers.
func (c *floorClient) run(d time.Duration) *work {
	start := time.Now()
	total := &latency.Histogram{}
	var running sync.WaitGroup
	for _, fc := range c.conns {
		fc.start, fc.hist = start, &latency.Histogram{}
		fc.stop.Store(false)
		running.Go(func() { c.ended(fc, fc.write()) })
		running.Go(func() { c.ended(fc, fc.read()) })
	}
	time.Sleep(d)
	for _, fc := range c.conns {
		fc.stop.Store(true)
	}
	running.Wait()
	for _, fc := range c.conns {
		total.Merge(fc.hist)
	}
	return &work{tasks: total.N * c.batch, latencies: total}
}

// ended makes both goroutines of a connection end when one has failed.
func (c *floorClient) ended(fc *floorConn, err error) {
	if err == nil {
		return
	}
	c.b.Error("floor:", err)
	fc.stop.Store(true)
	_ = fc.conn.Close()
	select {
	case fc.wake <- struct{}{}:
	default:
	}
}

// lastID is that of the frame after which a round is over: the server answers in order.
const lastID = ^uint32(0)

// write sends a task for each free id, once at least, until told to stop.
func (fc *floorConn) write() error {
	var ids []uint32
	for first := true; first || !fc.stop.Load(); first = false {
		fc.mu.Lock()
		ids, fc.free = fc.free, ids[:0]
		fc.mu.Unlock()
		if len(ids) == 0 {
			<-fc.wake
			continue
		}
		now := time.Since(fc.start)
		for _, id := range ids {
			fc.sent[id] = now
			fc.frame(id)
		}
		if err := fc.w.Flush(); err != nil {
			return err
		}
	}
	fc.frame(lastID)
	return fc.w.Flush()
}

func (fc *floorConn) frame(id uint32) {
	if fc.w.Available() < 1<<10 {
		_ = fc.w.Flush() // the error stays for the next
	}
	buf := fc.w.AvailableBuffer()
	buf = append(buf, 0, 0, 0, 0)
	buf = binary.LittleEndian.AppendUint32(buf, id)
	buf = fc.cursor.AppendMessage(buf, fc.batch)
	binary.LittleEndian.PutUint32(buf, uint32(len(buf)-4))
	_, _ = fc.w.Write(buf)
}

// read takes answers until that of the last frame.
func (fc *floorConn) read() error {
	var back []uint32
	now := time.Duration(0)
	for {
		header, err := fc.r.Peek(8)
		if err != nil {
			return err
		}
		size, id := 4+int(binary.LittleEndian.Uint32(header)), binary.LittleEndian.Uint32(header[4:])
		frame, err := fc.r.Peek(size)
		if err != nil {
			return err
		}
		if id != lastID && frame[len(frame)-workload.AnswerSize] != workload.KeyStart {
			return workload.ErrWrongAnswer
		}
		_, _ = fc.r.Discard(size)
		if id == lastID {
			fc.mu.Lock()
			fc.free = append(fc.free, back...)
			fc.mu.Unlock()
			return nil
		}
		if len(back) == 0 {
			now = time.Since(fc.start)
		}
		fc.hist.Add(now - fc.sent[id])
		if back = append(back, id); fc.r.Buffered() == 0 || len(back) == len(fc.sent) {
			fc.mu.Lock()
			fc.free = append(fc.free, back...)
			fc.mu.Unlock()
			back = back[:0]
			select {
			case fc.wake <- struct{}{}:
			default:
			}
		}
	}
}
