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

// LookupsTogether is how many lookups LookupAll has under way at once: more than a processor's loads of memory. Giving it
// more keys at once gains nothing.
const LookupsTogether = 32

// Found is what LookupAll has found of one key.
type Found struct {
	Response []byte // the table's: it must not be changed
	Wait     time.Duration
	OK       bool // there is an entry
}

// LookupAll looks up keys[i] for found[i]; found is at least as long as keys. The loads of memory of up to LookupsTogether keys
// wait side by side, so that in a large table it takes about half as long as a Lookup for each.
func (t *Table) LookupAll(keys [][]byte, found []Found) {
	x := t.load()
	var hashes [LookupsTogether]uint64
	for len(keys) > 0 {
		n := min(len(keys), LookupsTogether)
		for i, key := range keys[:n] {
			hashes[i] = x.hash(key)
		}
		x.fetch(hashes[:n])
		for i, key := range keys[:n] {
			f := &found[i]
			f.Response, f.Wait, f.OK = x.find(key, hashes[i])
		}
		keys, found = keys[n:], found[n:]
	}
}

// Run is the netio.BatchFunc. A task that is not in the table ends with netio.ErrUnknownTask.
func (t *Table) Run(tasks []netio.Task) {
	var keys [LookupsTogether][]byte
	var found [LookupsTogether]Found
	for len(tasks) > 0 {
		n := min(len(tasks), LookupsTogether)
		for i := range tasks[:n] {
			keys[i] = tasks[i].Body()
		}
		t.LookupAll(keys[:n], found[:n])
		for i := range tasks[:n] {
			switch f := &found[i]; {
			case !f.OK:
				tasks[i].Finish(nil, netio.ErrUnknownTask)
			case f.Wait > 0:
				tasks[i].FinishAfter(f.Wait, f.Response, nil)
			default:
				tasks[i].Finish(f.Response, nil)
			}
		}
		tasks = tasks[n:]
	}
}
