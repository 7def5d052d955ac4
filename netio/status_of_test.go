package netio

import (
	"errors"
	"fmt"
	"testing"
)

// An error that matches several of the named ones has the same status every time.
func TestStatusOfIsTheSameEveryTime(t *testing.T) {
	err := fmt.Errorf("%w after %w", ErrLost, errors.Join(ErrBusy, ErrTimeout))
	for range 100 {
		if got := StatusOf(err); got != StatusTimeout {
			t.Fatal(got)
		}
	}
	for status, named := range statusErrors {
		if got := StatusOf(fmt.Errorf("wrapped: %w", named)); got != status {
			t.Errorf("%v has %v, want %v", named, got, status)
		}
	}
}
