package files

import (
	"errors"
	"io"
	"io/fs"

	"github.com/zeebo/xxh3"
)

// sender reads files and sends their content, hashed on the way. One goroutine uses it.
type sender struct {
	src   source
	out   *chunkWriter
	hash  xxh3.Hasher
	block []byte            // one block, where it is looked at before it is sent
	sent  func(bytes int64) // told of content that was sent; may be nil
	spare func(bytes int64) // told of content that the receiver had; may be nil
}

// request says what is wanted of one file.
type request struct {
	path    string
	want    attributes // what the list said
	have    *sum       // hash of what the receiver has: what is the same is not sent
	sumOnly bool       // with have: what differs is not sent either
}

// whole sends a file: its content, then an end with what it is now; or why it cannot be sent, which is also returned.
// The second error ends the stream.
func (s *sender) whole(r request) (*Error, error) {
	failed := func(err error) (*Error, error) {
		e := fileError(r.path, err)
		return e, s.out.failed(e)
	}
	f, before, err := s.open(r.path)
	if err != nil {
		return failed(err)
	}
	defer func() { _ = f.Close() }()
	for try := 0; ; try++ {
		content, err := s.content(f, r, before)
		if fatal(err) {
			return nil, err
		}
		if err != nil {
			return failed(err)
		}
		info, err := f.Stat()
		if err != nil {
			return failed(err)
		}
		after := attributesOf(info)
		if after.size == before.size && after.modified == before.modified {
			if content != 0 {
				if err := s.out.record(content, nil); err != nil {
					return nil, err
				}
			}
			return nil, s.out.record(recEnd, after.append(nil))
		}
		if try > 0 {
			return failed(&Error{r.path, CodeChanged, ""})
		}
		if err := s.out.record(recAgain, nil); err != nil {
			return nil, err
		}
		_ = f.Close()
		if f, before, err = s.open(r.path); err != nil {
			return failed(err)
		}
	}
}

// open opens a regular file.
func (s *sender) open(p string) (fs.File, attributes, error) {
	f, err := s.src.open(p)
	if err != nil {
		return nil, attributes{}, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = refuse(CodeNotRegular, p, "no regular file any more")
		if info.IsDir() {
			err = refuse(CodeFolder, p, "is a folder now")
		}
	}
	if err != nil {
		_ = f.Close()
		return nil, attributes{}, err
	}
	return f, attributesOf(info), nil
}

// content sends a file's content, or returns the record that says why that is not needed.
func (s *sender) content(f fs.File, r request, now attributes) (instead byte, err error) {
	if r.have != nil {
		at, ok := f.(io.ReaderAt)
		if !ok {
			return 0, refuse(CodeOther, r.path, "cannot be compared: its file system reads in one go only")
		}
		own, err := s.sumFile(at, now.size)
		if err != nil {
			return 0, fileError(r.path, err)
		}
		if own == *r.have {
			return recSame, nil
		}
		if r.sumOnly {
			return recDiffer, nil
		}
	}
	return 0, s.stream(f, r.path, now.size)
}

// stream sends size bytes from where f is, or fewer if there are no more. A small file goes into one chunk, so that
// the receiver writes it in one call.
func (s *sender) stream(f io.Reader, p string, size int64) error {
	const rest = int64(3*header + len(sum{}) + 20) // what else is said of a file with one block
	if size+rest <= chunkSize {
		if err := s.out.room(int(size + rest - header)); err != nil {
			return err
		}
	}
	for size > 0 {
		n, err := s.readBlock(f, p, min(size, blockSize))
		if n == 0 || err != nil {
			return err
		}
		size -= n
	}
	return nil
}

// readBlock sends the next block, read straight into the chunks, and its hash. It returns how many bytes there were.
func (s *sender) readBlock(f io.Reader, p string, size int64) (int64, error) {
	s.hash.Reset()
	done := int64(0)
	var whole sum
	for done < size {
		dst, err := s.out.free(size - done)
		if err != nil {
			return done, err
		}
		n, err := io.ReadAtLeast(f, dst, min(len(dst), 4<<10))
		if n > 0 {
			if int64(n) == size {
				whole = sumOf(dst[:n])
			} else {
				_, _ = s.hash.Write(dst[:n])
			}
			s.out.data(n)
			done += int64(n)
			s.tell(n)
		}
		if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
			break
		}
		if err != nil {
			return done, fileError(p, err)
		}
	}
	if done == 0 {
		return 0, nil
	}
	if whole == (sum{}) {
		whole = s.hash.Sum128().Bytes()
	}
	return done, s.out.record(recSum, whole[:])
}

func (s *sender) tell(n int) {
	if s.sent != nil {
		s.sent(int64(n))
	}
}

// span sends a range of a file whose attributes must be those wanted, block by block; a block that has the hash in
// have is not sent.
func (s *sender) span(r request, offset, length int64, have []sum) (*Error, error) {
	failed := func(err error) (*Error, error) {
		e := fileError(r.path, err)
		return e, s.out.failed(e)
	}
	f, before, err := s.open(r.path)
	if err != nil {
		return failed(err)
	}
	defer f.Close()
	at, ok := f.(io.ReaderAt)
	if !ok || before.size != r.want.size || before.modified != r.want.modified {
		return failed(&Error{r.path, CodeChanged, ""})
	}
	for done := int64(0); done < length; done += blockSize {
		size := min(length-done, blockSize)
		section := io.NewSectionReader(at, offset+done, size)
		var err error
		if i := int(done / blockSize); i < len(have) {
			err = s.blockUnless(section, r.path, size, have[i])
		} else {
			_, err = s.readBlock(section, r.path, size)
		}
		if fatal(err) {
			return nil, err
		}
		if err != nil {
			return failed(err)
		}
	}
	info, err := f.Stat()
	if err != nil {
		return failed(err)
	}
	after := attributesOf(info)
	if after.size != before.size || after.modified != before.modified {
		return failed(&Error{r.path, CodeChanged, ""})
	}
	return nil, s.out.record(recEnd, after.append(nil))
}

// blockUnless sends one block unless it has this hash.
func (s *sender) blockUnless(f *io.SectionReader, p string, size int64, have sum) error {
	block := s.scratch()[:size]
	if _, err := io.ReadFull(f, block); err != nil {
		return fileError(p, err)
	}
	if sumOf(block) == have {
		if s.spare != nil {
			s.spare(size)
		}
		return s.out.record(recSame, nil)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return fileError(p, err)
	}
	_, err := s.readBlock(f, p, size)
	return err
}

func (s *sender) scratch() []byte {
	if s.block == nil {
		s.block = make([]byte, blockSize)
	}
	return s.block
}

// sumFile returns the hash of a file of that size.
func (s *sender) sumFile(f io.ReaderAt, size int64) (sum, error) {
	return sumFile(f, size, s.scratch())
}

func sumFile(f io.ReaderAt, size int64, block []byte) (sum, error) {
	var sums []byte
	for offset := int64(0); offset < size; offset += blockSize {
		part := block[:min(blockSize, size-offset)]
		if _, err := f.ReadAt(part, offset); err != nil && !(err == io.EOF && offset+int64(len(part)) == size) {
			return sum{}, err
		}
		one := sumOf(part)
		sums = append(sums, one[:]...)
	}
	return sumOf(sums), nil
}
