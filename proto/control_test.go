package proto

import (
	"bytes"
	"testing"
)

func TestAckRoundTrip(t *testing.T) {
	for _, want := range []uint64{0, 1, 65536, 1<<64 - 1} {
		wire := checkAppend(t, func(dst []byte) []byte { return AppendAck(dst, want) })
		if len(wire) != AckSize {
			t.Errorf("ack of %d bytes, want %d", len(wire), AckSize)
		}
		if got, err := ParseAck(payloadOf(t, wire, KindAck)); err != nil || got != want {
			t.Errorf("got %d, error %v, want %d", got, err, want)
		}
	}
	checkTruncations(t, make([]byte, 8), never, errOf(ParseAck))
	checkMalformed(t, errOf(ParseAck), map[string][]byte{"too long": make([]byte, 9)})
}

func TestDrainRoundTrip(t *testing.T) {
	for _, want := range []uint32{0, 1, 30000, 1<<32 - 1} {
		wire := checkAppend(t, func(dst []byte) []byte { return AppendDrain(dst, want) })
		if got, err := ParseDrain(payloadOf(t, wire, KindDrain)); err != nil || got != want {
			t.Errorf("got %d, error %v, want %d", got, err, want)
		}
	}
	checkTruncations(t, make([]byte, 4), never, errOf(ParseDrain))
	checkMalformed(t, errOf(ParseDrain), map[string][]byte{"too long": make([]byte, 5)})
}

func TestPingPong(t *testing.T) {
	for _, size := range []int{0, 1, PingLimit} {
		payload := bytes.Repeat([]byte{9}, size)
		ping, pong := asFrame(KindPing, payload), asFrame(KindPong, payload)
		if !bytes.Equal(payloadOf(t, ping, KindPing), payloadOf(t, pong, KindPong)) {
			t.Errorf("a ping of %d bytes and its pong differ", size)
		}
	}
}

func TestControlAllocs(t *testing.T) {
	dst, payload := make([]byte, 0, 64), make([]byte, 8)
	checkAllocs(t, "AppendAck", func() { AppendAck(dst, 1) })
	checkAllocs(t, "ParseAck", func() { ParseAck(payload) })
	checkAllocs(t, "AppendDrain", func() { AppendDrain(dst, 1) })
	checkAllocs(t, "ParseDrain", func() { ParseDrain(payload[:4]) })
}
