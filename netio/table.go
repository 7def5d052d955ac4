package netio

import "sync/atomic"

// Table is the built-in subroutine that emulates remote commands: it looks a task up, waits as long as the table says,
// and answers what the table says. Waits are timers: they hold a slot of the gateway's workers, and no goroutine.
// Looking up takes no lock; Swap replaces all of it at once. Register it with Gateway.HandleTable.
type Table struct {
	index atomic.Pointer[tableIndex]
}

// NewTable returns a table of these entries, by what clients send. They are copied.
func NewTable(entries map[string]TableEntry) *Table {
	t := &Table{}
	t.Swap(entries)
	return t
}

// Swap replaces the entries by a copy of these; tasks that wait go on with the old ones.
func (t *Table) Swap(entries map[string]TableEntry) { t.index.Store(newTableIndex(entries)) }

// Len returns how many entries there are.
func (t *Table) Len() int { return t.load().count }

var noEntries = newTableIndex(nil)

// load returns the entries; the zero Table has none.
func (t *Table) load() *tableIndex {
	if index := t.index.Load(); index != nil {
		return index
	}
	return noEntries
}

// Run is the TaskFunc. A task that is not in the table ends with StatusUnknownTask.
func (t *Table) Run(task *Task) {
	index := t.load()
	response, wait, ok := index.find(task.Body(), index.hash(task.Body()))
	switch {
	case !ok:
		task.Finish(nil, ErrUnknownTask)
	case wait <= 0:
		task.Finish(response, nil)
	default:
		task.FinishAfter(wait, response, nil)
	}
}

// runMany is Run for several tasks.
func (t *Table) runMany(tasks []Task) {
	index := t.load()
	var hashes [lookupsTogether]uint64
	for len(tasks) > 0 {
		some := tasks[:min(len(tasks), lookupsTogether)]
		for i := range some {
			hashes[i] = index.hash(some[i].body)
		}
		index.fetch(hashes[:len(some)])
		for i := range some {
			var ok bool
			if some[i].result, some[i].wait, ok = index.find(some[i].body, hashes[i]); !ok {
				some[i].err = ErrUnknownTask
			}
		}
		tasks = tasks[len(some):]
	}
}
