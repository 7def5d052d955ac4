package main

import (
	"errors"
	"fmt"
	"hash/maphash"
	"io"
)

// checkedFile reads a regular file twice: once to check it, and again to send what is in it. It keeps a sum of each block, so
// that the second reading gives what the first one saw, or an error: a file may be written to meanwhile, by any program.
// One goroutine may use it.
type checkedFile struct {
	in    io.ReadSeeker
	start int64 // where the first reading begins, which is not 0 on a standard input that somebody has read from
	seed  maphash.Seed
	sums  []uint64 // of each block of the first reading
	size  int64    // of the first reading

	again bool
	block []byte // the block that is read now
	rest  []byte // of it
}

// checkedBlock is how much is read at once. A sum of eight bytes for each costs little.
const checkedBlock = 64 << 10

var errChanged = errors.New("the file has changed since it was checked")

func newCheckedFile(in io.ReadSeeker, start int64) *checkedFile {
	return &checkedFile{in: in, start: start, seed: maphash.MakeSeed(), block: make([]byte, checkedBlock)}
}

// rewind begins the second reading, or it once more.
func (f *checkedFile) rewind() error {
	f.again, f.rest = true, nil
	_, err := f.in.Seek(f.start, io.SeekStart)
	return err
}

// Read gives no byte of a block that is not as it was. What was appended to the file meanwhile is not read.
func (f *checkedFile) Read(p []byte) (int, error) {
	if len(f.rest) == 0 {
		if err := f.next(); err != nil {
			return 0, err
		}
	}
	n := copy(p, f.rest)
	f.rest = f.rest[n:]
	return n, nil
}

func (f *checkedFile) next() error {
	block := f.block
	at, _ := f.in.Seek(0, io.SeekCurrent)
	at -= f.start
	if f.again {
		block = block[:min(int64(len(block)), f.size-at)]
		if len(block) == 0 {
			return io.EOF
		}
	}
	n, err := io.ReadFull(f.in, block)
	ended := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	switch {
	case err != nil && !ended:
		return err
	case !f.again && n == 0:
		return io.EOF
	}
	f.rest = block[:n]
	sum := maphash.Bytes(f.seed, f.rest)
	if !f.again {
		f.sums = append(f.sums, sum)
		f.size += int64(n)
		return nil
	}
	if number := int(at / checkedBlock); n < len(block) || f.sums[number] != sum {
		f.rest = nil
		return fmt.Errorf("%w: what was not checked is not sent", errChanged)
	}
	return nil
}
