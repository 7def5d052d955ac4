package main

import (
	"iter"
	"sync"

	"shoal/netio"
	"shoal/netio/rollout"
	"shoal/netio/runner"
	"shoal/netio/table"
	"shoal/netio/target"
)

// execWork is commands that a roll-out runs, and how they are reported.
type execWork struct {
	via    string // the runner
	config rollout.Config
	tasks  iter.Seq[rollout.Task]
	// take returns what a task is, once, by its number in this run.
	take  func(index int) execTask
	total int               // tasks of this run; 0: not known
	log   *jobLog           // nil: none
	prior func() doneBefore // what the job log had; nil: nothing
	err   func() error      // why there were fewer tasks than there should have been; nil: it cannot be

	hosts []string // for their ssh_config: the first of the targets, as far as they are known before

	options    netio.MapOptions
	output     string // the format
	failedFile string
}

// execTask is one command on one target.
type execTask struct {
	task
	host, command string
}

// targetFeed gives a task for each target of a set, without those that a job log has. One goroutine takes tasks from it while
// another asks for them.
type targetFeed struct {
	set      target.Set
	template runner.Request
	command  string
	log      *jobLog // nil: none

	mu       sync.Mutex   // guards what follows
	underWay map[int]task // only where there is a job log: otherwise the number says which target it is
	done     doneBefore
}

// count returns how many tasks are to be done.
func (f *targetFeed) count() int {
	if f.log == nil {
		return int(f.set.Len())
	}
	for host := range f.set.All() {
		f.log.expect(table.Key(host, f.command))
	}
	f.log.checked()
	return int(f.set.Len()) - f.log.expected
}

// tasks yields what is to be done.
func (f *targetFeed) tasks(yield func(rollout.Task) bool) {
	sent := 0
	for host := range f.set.All() {
		if f.log != nil && !f.note(host, sent) {
			continue
		}
		sent++
		r := f.template
		r.Target = host
		if !yield(requestTask(r)) {
			return
		}
	}
}

// note remembers a task for the job log; false means that the log has it already.
func (f *targetFeed) note(host string, index int) bool {
	t := task{text: host, key: table.Key(host, f.command)}
	var status string
	t.n, status = f.log.next(t.key)
	f.mu.Lock()
	defer f.mu.Unlock()
	if status != "" {
		f.done.leaveOut(status)
		return false
	}
	f.underWay[index] = t
	return true
}

func (f *targetFeed) take(index int) execTask {
	if f.log == nil {
		host := f.set.At(uint64(index))
		return execTask{task{text: host}, host, f.command}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.underWay[index]
	delete(f.underWay, index)
	return execTask{t, t.text, f.command}
}

func (f *targetFeed) before() doneBefore {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.done
}
