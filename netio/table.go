package netio

import (
	"sync/atomic"
)

// Table is the built-in subroutine that emulates remote commands: it looks a task up, waits as long as the table says,
// and answers what the table says. Waits are timers: they hold a slot of the gateway's workers, and no goroutine.
// Looking up takes no lock; Swap replaces all of it at once. Register it with Gateway.HandleTable.
type Table struct {
	entries atomic.Pointer[map[string]TableEntry]
}

// NewTable returns a table of these entries, by what clients send; the map must not change any more.
func NewTable(entries map[string]TableEntry) *Table {
	t := &Table{}
	t.Swap(entries)
	return t
}

// Swap replaces the entries; tasks that wait go on with the old ones. The map must not change any more.
func (t *Table) Swap(entries map[string]TableEntry) { t.entries.Store(&entries) }

// Len returns how many entries there are.
func (t *Table) Len() int { return len(*t.entries.Load()) }

// Run is the TaskFunc. A task that is not in the table ends with StatusUnknownTask.
func (t *Table) Run(task *Task) {
	entry, ok := (*t.entries.Load())[string(task.Body())]
	switch {
	case !ok:
		task.Finish(nil, ErrUnknownTask)
	case entry.Wait <= 0:
		task.Finish(entry.Response, nil)
	default:
		task.FinishAfter(entry.Wait, entry.Response, nil)
	}
}

// runMany is Run for several tasks: the lookups one after another, with nothing between them that the processor would
// wait for before it begins the next.
func (t *Table) runMany(tasks []Task) {
	entries := *t.entries.Load()
	for i := range tasks {
		entry, ok := entries[string(tasks[i].body)]
		tasks[i].result, tasks[i].wait = entry.Response, entry.Wait
		if !ok {
			tasks[i].err = ErrUnknownTask
		}
	}
}
