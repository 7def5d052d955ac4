package workload

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"shoal/netio"
	"shoal/netio/table"
)

const (
	Entries    = 100_000 // of the table, without those that wait
	KeySize    = 24      // bytes
	AnswerSize = 64      // bytes
	KeyStart   = 'h'     // the first byte of every key, and of its answer

	tableSeed  = 1
	ClientSeed = 2 // of the order in which clients ask
)

// ErrWrongAnswer says that an answer is not what the table holds.
var ErrWrongAnswer = errors.New("an answer is not what the table says")

// Keys returns the keys of the table one after another, shuffled. Clients walk through them with ClientSeed, which is not the
// table's seed, so that the server has to look anywhere in its memory.
func Keys(seed uint64) []byte {
	keys := make([]byte, 0, Entries*KeySize)
	for _, i := range rand.New(rand.NewPCG(seed, 0)).Perm(Entries) {
		keys = fmt.Appendf(keys, "host-%08d:uptime-abc", i)
	}
	return keys
}

// NewTable returns the table: every key without a wait, and one entry for each of the waits (see WaitKey).
func NewTable(waits ...time.Duration) *table.Table {
	entries := make(map[string]table.Entry, Entries)
	for keys := Keys(tableSeed); len(keys) > 0; keys = keys[KeySize:] {
		answer := make([]byte, AnswerSize)
		copy(answer, keys[:KeySize])
		entries[string(keys[:KeySize])] = table.Entry{Response: answer}
	}
	for _, wait := range waits {
		entries[string(WaitKey(wait))] = table.Entry{Response: make([]byte, AnswerSize), Wait: wait}
	}
	return table.New(entries)
}

// WaitKey returns the key of the entry that waits so long.
func WaitKey(wait time.Duration) []byte {
	key := make([]byte, KeySize)
	copy(key, "wait")
	binary.LittleEndian.PutUint64(key[16:], uint64(wait))
	return key
}

// AppendAnswer appends the answer to a message. A message of one task is a key, and its answer the table's; one of a batch
// is a list of keys, each after its length as a u32, and so is the answer.
func AppendAnswer(dst, message []byte, batch int, t *table.Table) []byte {
	if batch == 1 {
		answer, _, _ := t.Lookup(message)
		return append(dst, answer...)
	}
	var keys [table.LookupsTogether][]byte
	var found [table.LookupsTogether]table.Found
	for len(message) >= 4 {
		n := 0
		for ; n < len(keys) && len(message) >= 4; n++ {
			end := min(uint64(binary.LittleEndian.Uint32(message))+4, uint64(len(message)))
			keys[n], message = message[4:end], message[end:]
		}
		t.LookupAll(keys[:n], found[:n])
		for i := range found[:n] {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(len(found[i].Response)))
			dst = append(dst, found[i].Response...)
		}
	}
	return dst
}

// CheckAnswer says whether the answer to a message has the size and, of every task, the first byte that it should have.
func CheckAnswer(answer []byte, batch int) error {
	if batch == 1 {
		if len(answer) != AnswerSize || answer[0] != KeyStart {
			return ErrWrongAnswer
		}
		return nil
	}
	if len(answer) != batch*(4+AnswerSize) {
		return ErrWrongAnswer
	}
	for ; len(answer) > 0; answer = answer[4+AnswerSize:] {
		if answer[4] != KeyStart {
			return ErrWrongAnswer
		}
	}
	return nil
}

// UserBatch returns a netio.BatchFunc as an embedder would write it, over the same table.
func UserBatch(t *table.Table) netio.BatchFunc {
	return func(tasks []netio.Task) {
		var keys [table.LookupsTogether][]byte
		var found [table.LookupsTogether]table.Found
		for len(tasks) > 0 {
			n := min(len(tasks), len(keys))
			for i := range tasks[:n] {
				keys[i] = tasks[i].Body()
			}
			t.LookupAll(keys[:n], found[:n])
			for i := range tasks[:n] {
				if found[i].OK {
					tasks[i].Finish(found[i].Response, nil)
				} else {
					tasks[i].Finish(nil, netio.ErrUnknownTask)
				}
			}
			tasks = tasks[n:]
		}
	}
}
