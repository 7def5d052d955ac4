package main

import (
	"bufio"
	"fmt"
	"io"
	"sync"
)

// lineSource gives the lines of an input as the items of a map, and remembers the text of those that are under way.
type lineSource struct {
	in *bufio.Reader

	mu    sync.Mutex // guards what follows: lines are read on one goroutine and answered on another
	texts map[int]string
	err   error
}

func newLineSource(r io.Reader) *lineSource {
	return &lineSource{in: bufio.NewReaderSize(r, 64<<10), texts: map[int]string{}}
}

// all yields the lines without their ends.
func (s *lineSource) all(yield func([]byte) bool) {
	for index := 0; ; index++ {
		line, err := s.in.ReadBytes('\n')
		if len(line) == 0 && err != nil {
			if err != io.EOF {
				s.mu.Lock()
				s.err = fmt.Errorf("standard input: %w", err)
				s.mu.Unlock()
			}
			return
		}
		if line[len(line)-1] == '\n' {
			line = line[:len(line)-1]
		}
		s.mu.Lock()
		s.texts[index] = string(line)
		s.mu.Unlock()
		if !yield(line) {
			return
		}
	}
}

// text returns a line, once.
func (s *lineSource) text(index int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := s.texts[index]
	delete(s.texts, index)
	return text
}

// failed says why reading ended early.
func (s *lineSource) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
