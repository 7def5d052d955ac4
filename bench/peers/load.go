package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"

	shoaltable "shoal/netio/table"
)

// load is one of the loads that every peer is put under.
type load struct {
	Name     string
	Title    string
	Headline string // the peer that ratios are of
	Conns    int

	Stream bool // a stream of chunks over each connection: no tasks, and what follows does not count

	InFlight int    // tasks
	Batch    int    // tasks of a message
	Open     string // the title with an offered rate in place of so many in flight; "": only a closed loop
}

// loads are those that shoal's figures are asked for.
var loads = []load{
	{Name: "one", Title: "One task in flight", Headline: "shoal-calls", Conns: 1, InFlight: 1, Batch: 1},
	{Name: "64", Title: "64 tasks in flight over 4 connections", Headline: "shoal-map", Conns: 4, InFlight: 64, Batch: 1,
		Open: "Tasks over 4 connections"},
	{Name: "1024", Title: "1024 tasks in flight over 8 connections", Headline: "shoal-map", Conns: 8, InFlight: 1024, Batch: 1,
		Open: "Tasks over 8 connections"},
	{Name: "batch", Title: "Batches of 16 tasks a message, 1024 tasks in flight over 8 connections", Headline: "shoal-map",
		Conns: 8, InFlight: 1024, Batch: 16, Open: "Batches of 16 tasks a message over 8 connections"},
	{Name: "stream1", Title: "One stream of 1 KiB chunks over one connection", Headline: "shoal-feed", Conns: 1, Batch: 1, Stream: true},
	{Name: "stream4", Title: "4 streams of 1 KiB chunks over 4 connections", Headline: "shoal-feed", Conns: 4, Batch: 1, Stream: true},
}

// messages returns how many messages are in flight.
func (l load) messages() int { return l.InFlight / l.Batch }

// openMessages is how many messages may be in flight in an open loop. Those that are due beyond it wait, and the wait
// counts.
const openMessages = 8192

// slots returns how many messages may be in flight on one connection, at most.
func (l load) slots() int { return max(l.messages(), openMessages) / l.Conns }

// unit is what is counted.
func (l load) unit() string {
	if l.Stream {
		return "chunk"
	}
	return "task"
}

func findLoad(name string) (load, error) {
	for _, l := range loads {
		if l.Name == name {
			return l, nil
		}
	}
	return load{}, fmt.Errorf("no load %q", name)
}

const (
	tableEntries = 100_000
	keySize      = 24
	answerSize   = 64
	idSize       = 4 // of a message on a stream

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

// table is what the servers look tasks up in: shoal's own map for everybody, so that a lookup costs the same.
type table map[string]shoaltable.Entry

func newTable() table {
	entries := make(table, tableEntries)
	for keys := tableKeys(tableSeed); len(keys) > 0; keys = keys[keySize:] {
		answer := make([]byte, answerSize)
		copy(answer, keys[:keySize])
		entries[string(keys[:keySize])] = shoaltable.Entry{Response: answer}
	}
	return entries
}

// appendAnswer appends the answer to a message: of a single task the answer to its key, of a batch one after another
// a u32 length and the answer to a u32 length and a key.
func (t table) appendAnswer(dst, message []byte, batch int) []byte {
	if batch == 1 {
		return append(dst, t[string(message)].Response...)
	}
	for len(message) >= 4 {
		end := 4 + int(binary.LittleEndian.Uint32(message))
		if end > len(message) {
			break
		}
		answer := t[string(message[4:end])].Response
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(answer)))
		dst = append(dst, answer...)
		message = message[end:]
	}
	return dst
}

// checkAnswer tells whether an answer has the size and, of every task, the first byte that it should have.
func checkAnswer(answer []byte, batch int) error {
	if batch == 1 {
		if len(answer) != answerSize || answer[0] != 'h' {
			return errWrongAnswer
		}
		return nil
	}
	if len(answer) != batch*(4+answerSize) {
		return errWrongAnswer
	}
	for ; len(answer) > 0; answer = answer[4+answerSize:] {
		if answer[4] != 'h' {
			return errWrongAnswer
		}
	}
	return nil
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

// appendMessage appends the next message.
func (c *cursor) appendMessage(dst []byte, batch int) []byte {
	if batch == 1 {
		return append(dst, c.next()...)
	}
	for range batch {
		dst = binary.LittleEndian.AppendUint32(dst, keySize)
		dst = append(dst, c.next()...)
	}
	return dst
}
