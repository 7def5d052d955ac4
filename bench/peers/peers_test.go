package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"shoal/bench/internal/workload"
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

// TestEveryPeer puts every peer under every load for a moment, and then under every offered rate that it keeps up with.
func TestEveryPeer(t *testing.T) {
	pl := plan{1, 20 * time.Millisecond, 2, t.Logf}
	m := measured{}
	var tables strings.Builder
	m.closedLoops(&tables, loads, peers, pl)
	for _, o := range m.outcomes {
		if len(o.results) < len(feeding) {
			t.Errorf("%s: %d results", o.load.Name, len(o.results))
		}
		for _, r := range o.results {
			if r.err != nil || len(r.rounds) != 1 || r.rate() <= 0 {
				t.Errorf("%s, %s: %d rounds, %v", o.load.Name, r.peer.name, len(r.rounds), r.err)
			}
		}
	}
	pl.round = openPart * 60 * time.Millisecond // long enough for a stall of the machine
	m.openLoops(&tables, peers, pl)
	if len(m.ladders) != 3 {
		t.Errorf("%d open loops", len(m.ladders))
	}
	for _, l := range m.ladders {
		for i, rung := range l.rungs {
			for _, r := range rung.results {
				if r.err != nil || len(r.rounds) != 1 || r.answered() > 1 || i == 0 && r.answered() == 0 || r.p99() < r.p50() || r.p50() <= 0 {
					t.Errorf("%s, %s at %.0f tasks/s: %v, %v", l.load.Name, r.peer.name, rung.rate, r.rounds, r.err)
				}
			}
		}
		if len(l.rungs[0].results) < len(answering)-2 {
			t.Errorf("%s: %d took part", l.load.Name, len(l.rungs[0].results))
		}
	}
	folder := t.TempDir()
	if err := m.plot(folder); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{rateFile, latencyFile} {
		checkXML(t, filepath.Join(folder, name))
	}
}

func checkXML(t *testing.T, name string) {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for d := xml.NewDecoder(f); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(name, err)
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
	o := newOutcome(load{Title: "x", Headline: "shoal-map"}, []result{
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
	entries := workload.NewTable()
	c := workload.NewCursor(workload.Keys(workload.ClientSeed), 3)
	for _, batch := range []int{1, 16} {
		message := c.AppendMessage(nil, batch)
		answer := workload.AppendAnswer([]byte("id"), message, batch, entries)[2:]
		if err := workload.CheckAnswer(answer, batch); err != nil {
			t.Errorf("batch of %d: %v", batch, err)
		}
		if err := workload.CheckAnswer(answer[1:], batch); !errors.Is(err, workload.ErrWrongAnswer) {
			t.Errorf("batch of %d: a short answer gave %v", batch, err)
		}
	}
}

func TestChoosePeers(t *testing.T) {
	chosen, err := choosePeers("grpc,shoal-map")
	if err != nil || len(chosen) != 4 {
		t.Errorf("chose %d, %v", len(chosen), err)
	}
	if _, err := choosePeers("shoal,gnet"); err == nil {
		t.Error("gnet was found")
	}
}
