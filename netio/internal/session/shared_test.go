package session

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"shoal/proto"
)

// What one end may send on all streams is never more than the other has granted, and it never waits for credit for ever.
func TestSharedModel(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rng := rand.New(rand.NewPCG(seed, 1))
	for range 200 {
		var receiver, sender Shared
		receiver.Offer(1 + rng.IntN(2000))
		receiver.Begin(0, false)
		sender.Begin(uint32(receiver.window), true)
		var inFlight, held []int
		var granted []uint32
		for range 300 {
			switch rng.IntN(4) {
			case 0:
				if sender.CanSend() {
					size := rng.IntN(700)
					sender.Sent(size)
					inFlight = append(inFlight, size)
				}
			case 1:
				if len(inFlight) > 0 {
					if !receiver.Arrived(inFlight[0]) {
						t.Fatal("a chunk that had credit is refused")
					}
					held, inFlight = append(held, inFlight[0]), inFlight[1:]
				}
			case 2:
				if len(held) > 0 && receiver.Consumed(ChunkCost(held[0])) {
					granted = append(granted, receiver.Give())
				}
				held = held[min(1, len(held)):]
			case 3:
				if len(granted) > 0 {
					if err := sender.Gained(int(granted[0])); err != nil {
						t.Fatal(err)
					}
					granted = granted[1:]
				}
			}
			if sender.credit > receiver.allowed {
				t.Fatalf("the sender has %d, the receiver allows %d", sender.credit, receiver.allowed)
			}
		}
		if len(inFlight)+len(held)+len(granted) == 0 && !sender.CanSend() {
			t.Fatalf("all is consumed, and the sender has %d of %d", sender.credit, receiver.window)
		}
	}
}

func TestSharedRefuses(t *testing.T) {
	var none, some Shared
	if err := none.Gained(1); !errors.Is(err, proto.ErrMalformed) {
		t.Errorf("credit that was not named: %v", err)
	}
	if !none.CanSend() || !none.Arrived(1<<20) || none.Consumed(1<<20) || none.Give() != 0 {
		t.Error("a lane without shared credit has a bound")
	}
	some.Begin(1, true)
	if err := some.Gained(maxCredit); !errors.Is(err, proto.ErrMalformed) {
		t.Errorf("credit beyond reason: %v", err)
	}
	some.Offer(100)
	if !some.Arrived(1000) || some.Arrived(0) {
		t.Error("one chunk may exceed the credit, and no other")
	}
}
