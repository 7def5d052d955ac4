package cluster

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"shoal/netio/fleet"
)

const patience = 60 * time.Second

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// start starts a node that is left at the end of the test.
func start(t *testing.T, i int, c Config) *Node {
	t.Helper()
	n, err := tryStart(t, i, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Kill() })
	return n
}

func tryStart(t *testing.T, i int, c Config) (*Node, error) {
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	c.ProbeEvery = 100 * time.Millisecond
	if c.Self.URL == "" {
		c.Self.URL = fmt.Sprintf("tcp://127.0.0.1:%d", 1000+i)
	}
	c.Self.ID = fmt.Sprintf("life-%d", i)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	return Start(ctx, c)
}

// urls returns the URLs of who is there, to a node.
func urls(n *Node) string {
	var all []string
	for _, m := range n.List().Members {
		all = append(all, strings.TrimPrefix(m.URL, "tcp://127.0.0.1:"))
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestNodesFindEachOther(t *testing.T) {
	before := runtime.NumGoroutine()
	first := start(t, 1, Config{Self: fleet.Member{Reach: []string{"10.0.0.0/8"}, Labels: map[string]string{"site": "north"}}})
	second := start(t, 2, Config{Join: []string{first.Address()}})
	third := start(t, 3, Config{Join: []string{second.Address()}})
	nodes := []*Node{first, second, third}
	for _, n := range nodes {
		eventually(t, "all know all", func() bool { return urls(n) == "1001 1002 1003" })
	}
	if m := third.List().Members[0]; m.Reach[0] != "10.0.0.0/8" || m.Labels["site"] != "north" || third.List().Self != "tcp://127.0.0.1:1003" {
		t.Errorf("%+v", m)
	}
	changed := third.Changed()
	if err := first.Update(func(m *fleet.Member) { m.Draining = true }); err != nil {
		t.Error(err)
	}
	<-changed
	eventually(t, "the drain is known", func() bool { return third.List().Members[0].Draining })
	if err := second.Leave(); err != nil {
		t.Error(err)
	}
	eventually(t, "who left is forgotten", func() bool { return urls(first) == "1001 1003" && urls(third) == "1001 1003" })
	_ = third.Kill()
	eventually(t, "who died is found out", func() bool { return urls(first) == "1001" })
	_ = first.Kill()
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

// A node that died and comes back at the same address is found again by those who lost it, though it names nobody.
func TestLostNodesAreTriedAgain(t *testing.T) {
	first := start(t, 1, Config{RejoinEvery: 100 * time.Millisecond})
	second := start(t, 2, Config{Join: []string{first.Address()}})
	eventually(t, "both know", func() bool { return urls(first) == "1001 1002" })
	address := second.Address()
	_ = second.Kill()
	eventually(t, "it is lost", func() bool { return urls(first) == "1001" })
	var back *Node
	eventually(t, "the address is free", func() bool {
		n, err := tryStart(t, 3, Config{Listen: address})
		back = n
		return err == nil
	})
	defer func() { _ = back.Kill() }()
	eventually(t, "it is found", func() bool { return urls(first) == "1001 1003" && urls(back) == "1001 1003" })
}

func TestKeys(t *testing.T) {
	key, err := ParseKey(strings.Repeat("ab", 32) + "\n")
	if err != nil || len(key) != 32 {
		t.Fatal(key, err)
	}
	other, err := ParseKey("AAAAAAAAAAAAAAAAAAAAAA==")
	if err != nil || len(other) != 16 {
		t.Fatal(other, err)
	}
	for _, bad := range []string{"", "abc", "zz" + strings.Repeat("ab", 31)} {
		if _, err := ParseKey(bad); !errors.Is(err, ErrConfig) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	first := start(t, 1, Config{Key: key})
	start(t, 2, Config{Key: key, Join: []string{first.Address()}})
	eventually(t, "the same key joins", func() bool { return urls(first) == "1001 1002" })
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for i, wrong := range [][]byte{other, nil} {
		c := Config{Listen: "127.0.0.1:0", Key: wrong, Join: []string{first.Address()}, Self: fleet.Member{URL: "tcp://x:1", ID: fmt.Sprint("wrong ", i)}}
		if n, err := Start(ctx, c); !errors.Is(err, ErrJoin) || !strings.Contains(err.Error(), first.Address()) {
			t.Errorf("key %x: %v, %v", wrong, n, err)
		}
	}
	if got := urls(first); got != "1001 1002" {
		t.Errorf("known are %s", got)
	}
}

func TestStartErrors(t *testing.T) {
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	good := fleet.Member{URL: "tcp://127.0.0.1:1", ID: "a"}
	var wide []string
	for i := range 100 {
		wide = append(wide, fmt.Sprintf("10.%d.0.0/16", i))
	}
	for name, c := range map[string]struct {
		config Config
		want   error
	}{
		"no address":   {Config{Self: good}, ErrConfig},
		"no port":      {Config{Listen: "127.0.0.1", Self: good}, ErrConfig},
		"no id":        {Config{Listen: "127.0.0.1:0", Self: fleet.Member{URL: "tcp://x:1"}}, ErrConfig},
		"negative":     {Config{Listen: "127.0.0.1:0", Self: good, ProbeEvery: -1}, ErrConfig},
		"bad reach":    {Config{Listen: "127.0.0.1:0", Self: fleet.Member{URL: "tcp://x:1", ID: "a", Reach: []string{"web["}}}, fleet.ErrBadMember},
		"too much":     {Config{Listen: "127.0.0.1:0", Self: fleet.Member{URL: "tcp://x:1", ID: "a", Reach: wide}}, ErrConfig},
		"nobody there": {Config{Listen: "127.0.0.1:0", Self: good, Join: []string{"127.0.0.1:1"}}, ErrJoin},
	} {
		if n, err := Start(ctx, c.config); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, %v", name, n, err)
		}
	}
}
