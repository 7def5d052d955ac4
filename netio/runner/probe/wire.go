package probe

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// The subroutine answers with chunks, numbered by their idents from 0 on without a gap. The first byte of a chunk says what
// it holds:
//
//	0 hello    JSON: v (1) and total, the number of positions; the first chunk, and no other
//	1 answers  answers one after another, each: the difference from the position of the one before it in this chunk, at first
//	           from 0, as a zigzag varint; one byte, the answer (1 open, 2 closed, 3 filtered, 4 unreachable, 5 not tried);
//	           microseconds from the start to the answer as an unsigned varint
//	2 result   one answer in this form, then JSON: address, reason, attempts, and what of the service a Result has
//	3 status   JSON of a Status
//
// What else an answer has, the reader knows: the target and the port are those of its position.
const (
	chunkHello   = 0
	chunkAnswers = 1
	chunkResult  = 2
	chunkStatus  = 3
)

// helloJSON is what the first chunk holds.
type helloJSON struct {
	Version int    `json:"v"`
	Total   uint64 `json:"total"`
}

// moreJSON is the JSON of a result chunk.
type moreJSON struct {
	Address   string `json:"address,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Attempts  int    `json:"attempts,omitempty"`
	*services `json:",omitempty"`
}

// errWire says that the other side does not keep to the format.
var errWire = errors.New("malformed chunk of a scan")

// appendAnswer appends an answer; last is the position of the one before it.
func appendAnswer(dst []byte, last uint64, f *finding) []byte {
	dst = binary.AppendVarint(dst, int64(f.position-last))
	dst = append(dst, byte(f.answer))
	return binary.AppendUvarint(dst, uint64(max(0, f.elapsed.Microseconds())))
}

// parseAnswer reads the answer at the start of src.
func parseAnswer(src []byte, last uint64) (f finding, rest []byte, err error) {
	diff, n := binary.Varint(src)
	if n <= 0 || len(src) == n {
		return f, nil, errWire
	}
	f.position, f.answer = last+uint64(diff), Answer(src[n])
	micros, m := binary.Uvarint(src[n+1:])
	if m <= 0 || !f.answer.valid() || micros > uint64(1<<40) {
		return f, nil, errWire
	}
	f.elapsed = time.Duration(micros) * time.Microsecond
	return f, src[n+1+m:], nil
}

// appendResult appends what follows the first byte of a result chunk.
func appendResult(dst []byte, f *finding) ([]byte, error) {
	dst = appendAnswer(dst, 0, f)
	body, err := json.Marshal(moreJSON{addressText(f.more.address), f.more.reason, f.more.attempts, f.more.service.form()})
	return append(dst, body...), err
}

// parseResult reads what appendResult appends.
func parseResult(src []byte) (finding, error) {
	f, rest, err := parseAnswer(src, 0)
	if err != nil {
		return f, err
	}
	j := moreJSON{services: &services{}}
	if err := json.Unmarshal(rest, &j); err != nil {
		return f, fmt.Errorf("%w: %w", errWire, err)
	}
	f.more = &details{reason: j.Reason, attempts: j.Attempts}
	if f.more.address, err = parseAddress(j.Address); err != nil {
		return f, fmt.Errorf("%w: %w", errWire, err)
	}
	if *j.services != (services{}) {
		if f.more.service, err = j.services.service(); err != nil {
			return f, fmt.Errorf("%w: %w", errWire, err)
		}
	}
	return f, nil
}
