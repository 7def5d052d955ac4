package table

import (
	"encoding/binary"
	"hash/maphash"
	"time"
)

// index is a table as it is looked up in: it never changes. A map costs four loads of memory for a lookup, each of
// which has to wait for the one before: control bytes, the key's header, its bytes, the response's. Here a slot leads to
// a record that has everything side by side, and the slots and records of several tasks are loaded together, so that
// the processor waits for all of them at once.
type index struct {
	seed  maphash.Seed
	count int
	// slots is a hash table with linear probing, at most two thirds full; a power of two long. A slot is the upper bits
	// of a key's hash and, in its lower recordBits, where the record begins, plus one; 0: nothing.
	slots []uint64
	// records are one after another: u32 length of the key, u32 length of the response, i64 wait in nanoseconds, the
	// key, the response.
	records []byte
}

const (
	recordBits   = 40
	recordMask   = 1<<recordBits - 1
	recordHeader = 16
	cacheLine    = 64
)

// newIndex copies the entries.
func newIndex(entries map[string]Entry) *index {
	size, slots := 0, 1
	for key, e := range entries {
		size += recordHeader + len(key) + len(e.Response)
	}
	for slots*2 < len(entries)*3 {
		slots *= 2
	}
	x := &index{seed: maphash.MakeSeed(), count: len(entries), slots: make([]uint64, slots), records: make([]byte, 0, size+cacheLine)}
	for key, e := range entries {
		hash := maphash.String(x.seed, key)
		i := hash & uint64(slots-1)
		for x.slots[i] != 0 {
			i = (i + 1) & uint64(slots-1)
		}
		x.slots[i] = hash&^recordMask | uint64(len(x.records)+1)
		x.records = binary.LittleEndian.AppendUint32(x.records, uint32(len(key)))
		x.records = binary.LittleEndian.AppendUint32(x.records, uint32(len(e.Response)))
		x.records = binary.LittleEndian.AppendUint64(x.records, uint64(max(0, e.Wait)))
		x.records = append(x.records, key...)
		x.records = append(x.records, e.Response...)
	}
	x.records = append(x.records, make([]byte, cacheLine)...) // so that a line after the start of any record is there
	return x
}

// hash returns what a key is found by.
func (x *index) hash(key []byte) uint64 { return maphash.Bytes(x.seed, key) }

// find returns the entry of a key whose hash this is; the response is the index's.
func (x *index) find(key []byte, hash uint64) (response []byte, wait time.Duration, ok bool) {
	last := uint64(len(x.slots) - 1)
	for i := hash & last; x.slots[i] != 0; i = (i + 1) & last {
		slot := x.slots[i]
		if (slot^hash)&^recordMask != 0 {
			continue
		}
		record := x.records[slot&recordMask-1:]
		size := int(binary.LittleEndian.Uint32(record))
		if size != len(key) || string(record[recordHeader:recordHeader+size]) != string(key) {
			continue
		}
		end := recordHeader + size + int(binary.LittleEndian.Uint32(record[4:]))
		return record[recordHeader+size : end : end], time.Duration(binary.LittleEndian.Uint64(record[8:])), true
	}
	return nil, 0, false
}

// fetch begins the lookups of at most LookupsTogether hashes: it loads the memory that find will look at, of all of
// them side by side. What it returns means nothing; it keeps the compiler from leaving the loads out.
func (x *index) fetch(hashes []uint64) (loaded byte) {
	last := uint64(len(x.slots) - 1)
	var starts [LookupsTogether]uint64
	for i, hash := range hashes {
		starts[i] = x.slots[hash&last]
	}
	for _, slot := range starts[:len(hashes)] {
		if slot != 0 {
			at := slot&recordMask - 1
			loaded |= x.records[at] | x.records[at+cacheLine]
		}
	}
	return loaded
}
