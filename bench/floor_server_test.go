package bench

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"time"

	"shoal/bench/internal/workload"
	"shoal/netio/table"
)

// The floor is the least that does the work: plain net.Conn, a goroutine a connection, bufio, no pool, no status, no
// session, no limit. The first byte of a connection says what it is for. A frame is a u32, how many bytes follow, a u32,
// the id, and the body: a key or an answer, or of a batch one after another a u32 length and a key or an answer.

const (
	floorSingles = 't'
	floorBatches = 'b'
	floorFeed    = 'f' // the server sends messages, u32 length and body, until the connection ends
	floorStore   = 's' // the client sends them; the server answers at the end with a u64, the bytes of the bodies
)

const (
	floorBuffer = 64 << 10
	floorBatch  = 16 // tasks of a frame of batches
)

type floorServer struct {
	ln    net.Listener
	table *table.Table // as the gateway's
}

func newFloorServer() (*floorServer, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &floorServer{ln, newTable()}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go s.serve(conn)
		}
	}()
	return s, nil
}

func (s *floorServer) address() string  { return s.ln.Addr().String() }
func (s *floorServer) order(string) int { return 0 }
func (s *floorServer) close() error     { return s.ln.Close() }

func (s *floorServer) serve(conn net.Conn) {
	defer conn.Close()
	r, w := bufio.NewReaderSize(conn, floorBuffer), bufio.NewWriterSize(conn, floorBuffer)
	mode, err := r.ReadByte()
	for err == nil {
		switch mode {
		case floorSingles:
			err = s.answer(r, w, 1)
		case floorBatches:
			err = s.answer(r, w, floorBatch)
		case floorFeed:
			err = feed(w)
		case floorStore:
			err = store(r, conn)
		default:
			return
		}
		if err == nil && r.Buffered() == 0 {
			err = w.Flush()
		}
	}
}

// answer answers the tasks of one frame in one frame.
func (s *floorServer) answer(r *bufio.Reader, w *bufio.Writer, batch int) error {
	frame, err := r.Peek(8)
	if err != nil {
		return err
	}
	size := 4 + int(binary.LittleEndian.Uint32(frame))
	if frame, err = r.Peek(size); err != nil {
		return err
	}
	if w.Available() < 4<<10 {
		if err := w.Flush(); err != nil {
			return err
		}
	}
	b := append(w.AvailableBuffer(), 0, 0, 0, 0)
	b = append(b, frame[4:8]...)
	b = workload.AppendAnswer(b, frame[8:], batch, s.table)
	binary.LittleEndian.PutUint32(b, uint32(len(b)-4))
	_, _ = w.Write(b)
	_, _ = r.Discard(size)
	return nil
}

func feed(w *bufio.Writer) error {
	body := make([]byte, chunkSize)
	var header [4]byte
	binary.LittleEndian.PutUint32(header[:], chunkSize)
	for {
		_, _ = w.Write(header[:])
		if _, err := w.Write(body); err != nil {
			return err
		}
	}
}

func store(r *bufio.Reader, conn net.Conn) error {
	buf := make([]byte, 64<<10)
	var header [4]byte
	total := uint64(0)
	for {
		if _, err := io.ReadFull(r, header[:]); err == io.EOF {
			_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
			_, _ = conn.Write(binary.LittleEndian.AppendUint64(nil, total))
			return err
		} else if err != nil {
			return err
		}
		n, err := io.ReadFull(r, buf[:binary.LittleEndian.Uint32(header[:])])
		total += uint64(n)
		if err != nil {
			return err
		}
	}
}
