package main

import (
	"iter"
	"sync"
)

// task is one that is under way.
type task struct {
	id   int    // its place among the tasks of the input, from 0
	text string // what the output calls it
	key  []byte // what is sent
	n    int    // which of several equal ones it is, from 1; only where there is a job log
}

// taskFeed gives the tasks of an input that are still to be done, and knows those under way. One goroutine takes tasks from
// it while another asks for them by their number in this run.
type taskFeed struct {
	input *taskInput
	log   *jobLog // nil: none

	mu       sync.Mutex // guards what follows
	underWay map[int]task
	done     doneBefore
	err      error
}

// doneBefore counts the tasks that are not sent, since the job log has them.
type doneBefore struct {
	tasks, notOK int
	exit         int // the exit status that those ask for which did not end with ok
}

// leaveOut counts a task that the job log has, by how it ended.
func (d *doneBefore) leaveOut(status string) {
	d.tasks++
	if status != statusOK {
		d.notOK++
		d.exit = max(d.exit, exitOf(status))
	}
}

// openFeed opens the input and, where it has a name, the job log. The caller closes it.
func openFeed(p *process, names []string, flags inputFlags, format taskFormat, logged jobLogFlags, subroutine string) (*taskFeed, error) {
	f := &taskFeed{underWay: map[int]task{}}
	var err error
	if f.log, err = logged.open(p, subroutine); err != nil {
		return nil, err
	}
	var check func(key []byte)
	if f.log != nil {
		check = f.log.expect
	}
	if f.input, err = openTasks(p.ctx, names, flags, format, check); err != nil {
		f.close()
		if p.ctx.Err() != nil {
			return nil, p.interrupted()
		}
		return nil, err
	}
	if f.log != nil {
		f.log.checked()
	}
	return f, nil
}

// close closes the job log too: what is in it is on the disk.
func (f *taskFeed) close() {
	if f.input != nil {
		f.input.close()
	}
	if f.log != nil {
		_ = f.log.close()
	}
}

// items yields what is to be sent.
func (f *taskFeed) items() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		id, sent := 0, 0
		err := f.input.tasks(func(text string, key []byte) bool {
			t := task{id: id, text: text, key: key}
			id++
			if f.log != nil {
				var status string
				if t.n, status = f.log.next(key); status != "" {
					f.leaveOut(status)
					return true
				}
			}
			f.mu.Lock()
			f.underWay[sent] = t
			f.mu.Unlock()
			sent++
			return yield(key)
		})
		f.mu.Lock()
		defer f.mu.Unlock()
		f.err = err
	}
}

func (f *taskFeed) leaveOut(status string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.done.leaveOut(status)
}

// get returns a task that is under way.
func (f *taskFeed) get(index int) task {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.underWay[index]
}

// take returns a task and forgets it.
func (f *taskFeed) take(index int) task {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.underWay[index]
	delete(f.underWay, index)
	return t
}

// failed says why there were fewer tasks than there should have been.
func (f *taskFeed) failed() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// before returns what was left out so far.
func (f *taskFeed) before() doneBefore {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.done
}

// expected is how many tasks the job log has of those that the check has seen.
func (f *taskFeed) expected() int {
	if f.log == nil {
		return 0
	}
	return f.log.expected
}
