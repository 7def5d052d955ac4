package netio

import (
	"fmt"
	"io"
	"runtime"
	"testing"

	"shoal/proto"
)

// TestAllocations counts what a gateway allocates for tasks in batches of 16; the client here
// allocates nothing.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector makes pools drop what they hold")
	}
	t.Run("HandleBatch", func(t *testing.T) {
		testAllocations(t, func(g *Gateway, name string, table emulation) { g.HandleBatch(name, table.runBatch) })
	})
	t.Run("HandleTask", func(t *testing.T) {
		testAllocations(t, func(g *Gateway, name string, table emulation) { g.HandleTask(name, table.run) })
	})
}

func testAllocations(t *testing.T, handle func(g *Gateway, name string, table emulation)) {
	const batch, rounds = 16, 4000
	g := startGateway(t, GatewayConfig{})
	entries := emulation{}
	for i := range 1000 {
		entries[fmt.Sprintf("host-%05d:command-%06d", i, i)] = entry{response: make([]byte, 64)}
	}
	handle(g, "table", entries)
	p := connect(t, g).greet(helloFor())
	var tasks []rawTask
	for id := range uint32(batch) {
		tasks = append(tasks, rawTask{id, fmt.Sprintf("host-%05d:command-%06d", id, id)})
	}
	frame := tasksFrame(0, "table", tasks...)
	answers := batch * (proto.ResultHeaderSize + 64)
	in := make([]byte, 16<<10)
	have, rest := 0, 0 // bytes in in, and of results still to come
	round := func() {
		if _, err := p.conn.Write(frame); err != nil {
			t.Fatal(err)
		}
		for rest = answers; rest > 0; {
			n, err := p.conn.Read(in[have:])
			if err != nil && err != io.EOF {
				t.Fatal(err)
			}
			have += n
			used := 0
			for {
				f, size, err := proto.ParseFrame(in[used:have], 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				if size == 0 {
					break
				}
				if f.Kind == proto.KindResults {
					rest -= len(f.Payload)
				}
				used += size
			}
			have = copy(in, in[used:have])
		}
		if rest != 0 {
			t.Fatalf("%d bytes too many", -rest)
		}
	}
	for range 200 {
		round()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		round()
	}
	runtime.ReadMemStats(&after)
	each := float64(after.Mallocs-before.Mallocs) / (rounds * batch)
	bytes := float64(after.TotalAlloc-before.TotalAlloc) / (rounds * batch)
	t.Logf("%.4f allocations and %.1f bytes a task", each, bytes)
	if each >= 0.2 {
		t.Errorf("%.3f allocations a task", each)
	}
}
