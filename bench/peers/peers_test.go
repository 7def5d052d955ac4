package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"
)

// TestMain lets the test binary be its own children.
func TestMain(m *testing.M) {
	if spec := os.Getenv(roleVariable); spec != "" {
		if err := runChild(spec); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// TestEveryPeer puts every peer under every load for a moment.
func TestEveryPeer(t *testing.T) {
	var outcomes []outcome
	for _, l := range loads {
		o := newOutcome(l, contest(l, peers, plan{1, 20 * time.Millisecond, 2, t.Logf}))
		for _, r := range o.results {
			if r.err != nil || len(r.rounds) != 1 || r.rate() <= 0 {
				t.Errorf("%s, %s: %d rounds, %v", l.Name, r.peer.name, len(r.rounds), r.err)
			}
		}
		outcomes = append(outcomes, o)
	}
	var b bytes.Buffer
	if err := writeSVG(&b, outcomes); err != nil {
		t.Fatal(err)
	}
	for d := xml.NewDecoder(&b); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal("plot:", err)
		}
	}
}

func TestHeadlineAndRatios(t *testing.T) {
	rounds := func(rates ...float64) (s []sample) {
		for _, r := range rates {
			s = append(s, sample{rate: r})
		}
		return s
	}
	o := newOutcome(load{Title: "x"}, []result{
		{peer: peer{name: "floor"}, rounds: rounds(100, 200, 400)},
		{peer: peer{name: "shoal-calls"}, rounds: rounds(50)},
		{peer: peer{name: "shoal-map"}, rounds: rounds(50, 300, 200)},
		{peer: peer{name: "gone"}, err: io.ErrUnexpectedEOF},
	})
	var b strings.Builder
	o.print(&b)
	for _, want := range []string{"shoal-map / it", "| floor | 200 | 0.50 |", "| **shoal-map** | 200 | – |", "| gone | failed: unexpected EOF |"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in\n%s", want, b.String())
		}
	}
}

func TestAnswers(t *testing.T) {
	entries := newTable()
	c := newCursor(tableKeys(clientSeed), 3)
	for _, batch := range []int{1, 16} {
		message := c.appendMessage(nil, batch)
		answer := entries.appendAnswer([]byte("id"), message, batch)[2:]
		if err := checkAnswer(answer, batch); err != nil {
			t.Errorf("batch of %d: %v", batch, err)
		}
		if err := checkAnswer(answer[1:], batch); !errors.Is(err, errWrongAnswer) {
			t.Errorf("batch of %d: a short answer gave %v", batch, err)
		}
	}
}

func TestChoosePeers(t *testing.T) {
	chosen, err := choosePeers("grpc,shoal-map")
	if err != nil || len(chosen) != 3 {
		t.Errorf("chose %d, %v", len(chosen), err)
	}
	if _, err := choosePeers("shoal,gnet"); err == nil {
		t.Error("gnet was found")
	}
}
