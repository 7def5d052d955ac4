package execrun

import (
	"errors"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"shoal/netio/runner"
)

// outputs carries what a program reads and writes. A goroutine for each stream ends with the stream, at the latest in finish.
type outputs struct {
	*runner.Output
	pipes   [2]*os.File // ours of stdout and stderr
	input   *os.File    // ours of stdin; nil: there is none
	copying sync.WaitGroup
	held    atomic.Bool // somebody outside of the family has the other end
}

// heldFor is how long the end of an output is waited for once the family is gone. It comes at once unless a process outside
// of the family was handed the other end; what the family has written is in the pipe and is read all the same.
const heldFor = time.Second

// newOutputs makes the pipes of a launch.
func newOutputs(l *launch, req *runner.Request, budget *runner.Budget, live runner.Live) (*outputs, error) {
	o := &outputs{Output: runner.NewOutput(req, budget, live)}
	var err error
	if len(req.Stdin) > 0 {
		l.files[0], o.input, err = os.Pipe()
	} else {
		l.files[0], err = os.Open(os.DevNull)
	}
	for i := range o.pipes {
		if err == nil {
			o.pipes[i], l.files[i+1], err = os.Pipe()
		}
	}
	if err != nil {
		for _, f := range append(append(l.files[:], o.pipes[:]...), o.input) {
			if f != nil {
				_ = f.Close()
			}
		}
		return nil, err
	}
	if o.input != nil {
		input := req.Stdin
		o.copying.Go(func() { // ends when the program has read it all, or with finish
			_, _ = o.input.Write(input)
			_ = o.input.Close()
		})
	}
	o.copying.Go(func() { o.copy(o.pipes[0], runner.Stdout) })
	o.copying.Go(func() { o.copy(o.pipes[1], runner.Stderr) })
	return o, nil
}

// started lets go of the child's side, once the child has it or there will be none.
func (o *outputs) started(l *launch) {
	for _, f := range l.files {
		_ = f.Close()
	}
}

// pieces are the buffers that outputs are read into.
var pieces = sync.Pool{New: func() any { return new([32 << 10]byte) }}

// copy reads one output to its end.
func (o *outputs) copy(pipe *os.File, stream runner.Stream) {
	piece := pieces.Get().(*[32 << 10]byte)
	defer pieces.Put(piece)
	for {
		n, err := pipe.Read(piece[:])
		if n > 0 {
			o.Take(stream, piece[:n])
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			o.held.Store(true)
			o.rest(pipe, stream, piece[:])
			return
		}
		if err != nil {
			return
		}
	}
}

// restMax bounds what is read of a pipe that somebody else still writes to: more than the largest pipe holds.
const restMax = 2 << 20

// rest reads what is in the pipe already.
func (o *outputs) rest(pipe *os.File, stream runner.Stream, piece []byte) {
	_ = pipe.SetReadDeadline(time.Time{})
	raw, err := pipe.SyscallConn()
	if err != nil {
		return
	}
	for total := 0; total < restMax; {
		n := 0
		_ = raw.Read(func(fd uintptr) bool {
			n, _ = syscall.Read(int(fd), piece) // the pipe does not block
			return true
		})
		if n <= 0 {
			return
		}
		o.Take(stream, piece[:n])
		total += n
	}
}

// finish waits for the ends of the outputs, once the family is gone, and reports whether one of them did not come.
func (o *outputs) finish() (held bool) {
	deadline := time.Now().Add(heldFor)
	for _, pipe := range o.pipes {
		_ = pipe.SetReadDeadline(deadline)
	}
	if o.input != nil {
		_ = o.input.SetWriteDeadline(time.Now())
	}
	o.copying.Wait()
	for _, pipe := range o.pipes {
		_ = pipe.Close()
	}
	return o.held.Load()
}
