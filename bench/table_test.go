package bench

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"shoal/netio/table"
)

const (
	tableEntries = 100_000
	keySize      = 24
	answerSize   = 64
	keyStart     = 'h' // every key begins so, and every answer with its key

	tableSeed  = 1
	clientSeed = 2
)

var errWrongAnswer = errors.New("an answer is not what the table says")

// tableKeys returns the keys of the table one after another, shuffled. Clients walk through them with a seed that is
// not the table's, so that the server has to look anywhere in its memory.
func tableKeys(seed uint64) []byte {
	keys := make([]byte, 0, tableEntries*keySize)
	for _, i := range rand.New(rand.NewPCG(seed, 0)).Perm(tableEntries) {
		keys = fmt.Appendf(keys, "host-%08d:uptime-abc", i)
	}
	return keys
}

// newTable returns the table: those keys without a wait, and one for each of the waits.
func newTable() map[string]table.Entry {
	entries := make(map[string]table.Entry, tableEntries)
	for keys := tableKeys(tableSeed); len(keys) > 0; keys = keys[keySize:] {
		answer := make([]byte, answerSize)
		copy(answer, keys[:keySize])
		entries[string(keys[:keySize])] = table.Entry{Response: answer}
	}
	for _, wait := range []time.Duration{time.Second, 100 * time.Millisecond} {
		entries[string(waitKey(wait))] = table.Entry{Response: make([]byte, answerSize), Wait: wait}
	}
	return entries
}

// waitKey is the key of an entry that waits.
func waitKey(wait time.Duration) []byte {
	key := make([]byte, keySize)
	copy(key, "wait")
	binary.LittleEndian.PutUint64(key[16:], uint64(wait))
	return key
}

// cursor walks through the keys of the table; each user starts elsewhere.
type cursor struct {
	keys []byte
	at   int
}

func newCursor(keys []byte, user int) cursor {
	return cursor{keys, user * 7919 % tableEntries * keySize}
}

func (c *cursor) next() []byte {
	key := c.keys[c.at : c.at+keySize : c.at+keySize]
	if c.at += keySize; c.at == len(c.keys) {
		c.at = 0
	}
	return key
}
