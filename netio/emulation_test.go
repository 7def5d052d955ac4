package netio

import "time"

// entry is what an emulation answers to one task, and how long it waits before.
type entry struct {
	response []byte
	wait     time.Duration
}

// emulation is a subroutine that answers and waits as its entries say, as package table does.
type emulation map[string]entry

// run is its TaskFunc.
func (e emulation) run(t Task) {
	switch answer, ok := e[string(t.Body())]; {
	case !ok:
		t.Finish(nil, ErrUnknownTask)
	case answer.wait != 0:
		t.FinishAfter(answer.wait, answer.response, nil)
	default:
		t.Finish(answer.response, nil)
	}
}

// runBatch is its BatchFunc.
func (e emulation) runBatch(tasks []Task) {
	for i := range tasks {
		e.run(tasks[i])
	}
}
