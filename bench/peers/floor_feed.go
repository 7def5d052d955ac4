package main

import (
	"bufio"
	"encoding/binary"
	"net"

	"shoal/netio/table"
)

// A stream of the floor is a connection on which the server writes frames until it ends.

func serveFloorFeed(load, *table.Table) (string, error) {
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
			go feedFloor(conn)
		}
	}()
	return ln.Addr().String(), nil
}

// feedFloor ends with the connection.
func feedFloor(conn net.Conn) {
	defer conn.Close()
	w := bufio.NewWriterSize(conn, floorBuffer)
	frame := make([]byte, floorHeader+chunkSize)
	binary.LittleEndian.PutUint32(frame, chunkSize)
	for ident := uint64(0); ; ident++ {
		putIdent(frame[floorHeader:], ident)
		if _, err := w.Write(frame); err != nil {
			return
		}
	}
}

func dialFloorFeed(address string, l load) (driver, error) {
	return &feeds{l.Conns, func(_ int, take func([]byte) bool) error {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return err
		}
		defer conn.Close()
		r := bufio.NewReaderSize(conn, floorBuffer)
		for {
			frame, err := peekFrame(r)
			if err != nil {
				return err
			}
			if !take(frame[floorHeader:]) {
				return nil
			}
			_, _ = r.Discard(len(frame))
		}
	}}, nil
}
