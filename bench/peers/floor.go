package main

import (
	"bufio"
	"encoding/binary"
	"net"

	"shoal/bench/internal/workload"
	"shoal/netio/table"
)

// The floor is the least that does the work: plain net.Conn, a goroutine a connection, bufio, no pool, no status, no
// session, no limit. A frame is a u32, how many bytes follow, and a message that begins with its id.

const (
	floorBuffer = 64 << 10
	floorHeader = 4
)

func serveFloor(l load, t *table.Table) (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			go answerFloor(conn, t, l.Batch)
		}
	}()
	return ln.Addr().String(), nil
}

// answerFloor ends with the connection.
func answerFloor(conn net.Conn, t *table.Table, batch int) {
	defer conn.Close()
	r, w := bufio.NewReaderSize(conn, floorBuffer), bufio.NewWriterSize(conn, floorBuffer)
	for {
		frame, err := peekFrame(r)
		if err != nil {
			return
		}
		if w.Available() < 4<<10 {
			if w.Flush() != nil {
				return
			}
		}
		b := append(w.AvailableBuffer(), 0, 0, 0, 0)
		b = append(b, frame[floorHeader:floorHeader+idSize]...)
		b = workload.AppendAnswer(b, frame[floorHeader+idSize:], batch, t)
		binary.LittleEndian.PutUint32(b, uint32(len(b)-floorHeader))
		_, _ = w.Write(b)
		_, _ = r.Discard(len(frame))
		if r.Buffered() == 0 && w.Flush() != nil {
			return
		}
	}
}

// peekFrame waits for a whole frame.
func peekFrame(r *bufio.Reader) ([]byte, error) {
	header, err := r.Peek(floorHeader)
	if err != nil {
		return nil, err
	}
	return r.Peek(floorHeader + int(binary.LittleEndian.Uint32(header)))
}

func dialFloor(address string, l load) (driver, error) {
	return newPipes(l, func(int) (pipe, error) {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return nil, err
		}
		return &floorPipe{Conn: conn, r: bufio.NewReaderSize(conn, floorBuffer), w: bufio.NewWriterSize(conn, floorBuffer)}, nil
	})
}

type floorPipe struct {
	net.Conn
	r    *bufio.Reader
	w    *bufio.Writer
	last int // bytes of the frame that recv returned
}

func (p *floorPipe) send(message []byte) error {
	if p.w.Available() < floorHeader+len(message) {
		_ = p.w.Flush() // the error stays for the write
	}
	b := binary.LittleEndian.AppendUint32(p.w.AvailableBuffer(), uint32(len(message)))
	_, err := p.w.Write(append(b, message...))
	return err
}

func (p *floorPipe) flush() error { return p.w.Flush() }

func (p *floorPipe) recv() ([]byte, bool, error) {
	_, _ = p.r.Discard(p.last)
	frame, err := peekFrame(p.r)
	if err != nil {
		return nil, false, err
	}
	p.last = len(frame)
	return frame[floorHeader:], p.r.Buffered() > p.last, nil
}
