package main

import (
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
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

// TestEveryPeer puts every peer under every load for a moment, and draws what came out.
func TestEveryPeer(t *testing.T) {
	m := measured{}
	var tables strings.Builder
	m.closedLoops(&tables, loads, peers, moment(t))
	for _, o := range m.outcomes {
		if want := len(slices.DeleteFunc(slices.Clone(peers), func(p peer) bool { return !p.does(o.load) })); len(o.results) != want {
			t.Errorf("%s: %d results of %d peers", o.load.Name, len(o.results), want)
		}
		for _, r := range o.results {
			if r.err != nil || len(r.rounds) != 1 || r.rate() <= 0 {
				t.Errorf("%s, %s: %d rounds, %v", o.load.Name, r.peer.name, len(r.rounds), r.err)
			}
		}
	}
	if strings.Contains(tables.String(), "failed") {
		t.Error(tables.String())
	}
	folder := t.TempDir()
	if err := m.plot(folder); err != nil {
		t.Fatal(err)
	}
	checkXML(t, filepath.Join(folder, rateFile))
}

// moment is the shortest that shows that something works.
func moment(t *testing.T) plan { return plan{1, 20 * time.Millisecond, 2, t.Logf} }

// TestOfferedRates puts a peer of each driver under offered rates for a moment. What a machine with something else to do keeps
// up with is not looked at.
func TestOfferedRates(t *testing.T) {
	chosen, err := choosePeers("shoal-map,netrpc,drpc")
	if err != nil {
		t.Fatal(err)
	}
	batches, err := findLoad("batch")
	if err != nil {
		t.Fatal(err)
	}
	m := measured{}
	m.closedLoops(io.Discard, []load{batches}, chosen, moment(t))
	m.openLoops(io.Discard, chosen, moment(t))
	if len(m.ladders) != 1 || len(m.ladders[0].rungs) != doublings+1 {
		t.Fatalf("%d open loops, want one with %d rates", len(m.ladders), doublings+1)
	}
	for _, r := range m.ladders[0].rungs[0].results {
		if r.err != nil || len(r.rounds) != 1 || r.answered() > 1 || r.p99() < r.p50() {
			t.Errorf("%s: %v, %v", r.peer.name, r.rounds, r.err)
		}
	}
	if n := len(m.ladders[0].rungs[0].results); n != 3 {
		t.Errorf("%d of 3 took part", n)
	}
	folder := t.TempDir()
	if err := m.plot(folder); err != nil {
		t.Fatal(err)
	}
	checkXML(t, filepath.Join(folder, latencyFile))
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
	if _, err := choosePeers("shoal,rpcx"); err == nil {
		t.Error("rpcx was found")
	}
}
