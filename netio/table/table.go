package table

import (
	"sync/atomic"
	"time"

	"shoal/netio"
)

// Table is a subroutine that emulates remote commands: it looks a task up, waits as long as the table says, and answers what
// the table says. Waits are timers: they hold a slot of the gateway's workers, and no goroutine. Register Run with
// Gateway.HandleBatch. The zero Table has no entries. All methods are safe for concurrent use; looking up takes no lock.
type Table struct {
	index atomic.Pointer[index]
}

// New returns a table of these entries, by what clients send: see Key. They are copied.
func New(entries map[string]Entry) *Table {
	t := &Table{}
	t.Swap(entries)
	return t
}

// Swap replaces all entries at once by a copy of these. Tasks that wait go on with the old ones.
func (t *Table) Swap(entries map[string]Entry) { t.index.Store(newIndex(entries)) }

// Len returns how many entries there are.
func (t *Table) Len() int { return t.load().count }

var noEntries = newIndex(nil)

func (t *Table) load() *index {
	if x := t.index.Load(); x != nil {
		return x
	}
	return noEntries
}

// Lookup returns the entry of a task. The response is the table's: it must not be changed.
func (t *Table) Lookup(key []byte) (response []byte, wait time.Duration, ok bool) {
	x := t.load()
	return x.find(key, x.hash(key))
}

// Run is the netio.BatchFunc. A task that is not in the table ends with netio.ErrUnknownTask.
func (t *Table) Run(tasks []netio.Task) {
	x := t.load()
	var hashes [lookupsTogether]uint64
	for len(tasks) > 0 {
		some := tasks[:min(len(tasks), lookupsTogether)]
		for i := range some {
			hashes[i] = x.hash(some[i].Body())
		}
		x.fetch(hashes[:len(some)])
		for i := range some {
			response, wait, ok := x.find(some[i].Body(), hashes[i])
			switch {
			case !ok:
				some[i].Finish(nil, netio.ErrUnknownTask)
			case wait > 0:
				some[i].FinishAfter(wait, response, nil)
			default:
				some[i].Finish(response, nil)
			}
		}
		tasks = tasks[len(some):]
	}
}
