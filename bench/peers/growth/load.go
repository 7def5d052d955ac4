package main

import (
	"math/rand/v2"
	"time"

	"shoal/netio/table"
)

// load is what a gateway and a client are put to at one point.
type load struct {
	Conns    int
	Swarm    int // connections of a swarm, at most
	InFlight int // tasks, of all swarms
	Entries  int // of the table
	Workers  int
	Size     int           // of a task's body; 0: it is a key of the table
	Wait     time.Duration // of each task
	Sleeps   bool          // it waits in a goroutine; otherwise on a timer
}

// usual is what does not grow.
var usual = load{Conns: 8, Swarm: 8, InFlight: 1024, Entries: 100_000, Workers: 1024}

const (
	keySize    = 24
	answerSize = 64
	shuffled   = 1 // seed of the order in which a client walks through the table

	tableName = "table" // subroutines
	takeName  = "take"
	sleepName = "sleep"
)

func (l load) subroutine() string {
	switch {
	case l.Size > 0:
		return takeName
	case l.Sleeps:
		return sleepName
	}
	return tableName
}

// newTable returns a table whose keys share one piece of memory, as do its answers, so that ten million are soon there.
func newTable(l load) *table.Table {
	keys := make([]byte, 0, l.Entries*keySize)
	for i := range l.Entries {
		keys = appendKey(keys, i)
	}
	text, answers := string(keys), make([]byte, l.Entries*answerSize)
	entries := make(map[string]table.Entry, l.Entries)
	for i := range l.Entries {
		key, answer := text[i*keySize:][:keySize], answers[i*answerSize:][:answerSize:answerSize]
		copy(answer, key)
		entries[key] = table.Entry{Response: answer, Wait: l.Wait}
	}
	return table.New(entries)
}

const keyForm = "host-00000000:uptime-abc"

func appendKey(dst []byte, i int) []byte {
	dst = append(dst, keyForm...)
	for digit := len(dst) - keySize + len("host-00000000") - 1; i > 0; digit-- {
		dst[digit] += byte(i % 10)
		i /= 10
	}
	return dst
}

// shuffledKeys returns all keys of the table one after another, in an order that is not that of its memory.
func shuffledKeys(entries int) []byte {
	order := rand.New(rand.NewPCG(shuffled, 0)).Perm(entries)
	keys := make([]byte, 0, entries*keySize)
	for _, i := range order {
		keys = appendKey(keys, i)
	}
	return keys
}
