package netio

import (
	"errors"
	"fmt"
	"testing"
	"time"
)

func TestConfigDefaultsAndLimits(t *testing.T) {
	g, err := GatewayConfig{}.settle()
	if err != nil || g.Listen[0] != DefaultURL || g.Workers != 1024 || g.Window != 64<<10 || g.FrameLimit != 4<<20 || g.Logger == nil || g.MaxHandlers < 16 {
		t.Errorf("gateway: %+v, %v", g, err)
	}
	s, err := SwarmConfig{}.settle()
	if err != nil || s.Connections != 4 || s.FrameLimit != 4<<20 || s.MaxBackoff != 2*time.Second || s.Logger == nil {
		t.Errorf("swarm: %+v, %v", s, err)
	}
	if s, err := (SwarmConfig{MinBackoff: time.Minute}).settle(); err != nil || s.MaxBackoff < s.MinBackoff {
		t.Errorf("back-off from %v to %v, %v", s.MinBackoff, s.MaxBackoff, err)
	}
	for i, c := range []GatewayConfig{
		{FrameLimit: 4095}, {FrameLimit: 1<<30 + 1}, {Window: 1<<24 + 1}, {Listen: []string{"tcp://x"}},
		{Listen: []string{DefaultURL, "http://localhost:1"}}, {Workers: -1}, {SendBuffer: -1}, {IdleTimeout: -time.Second},
	} {
		if _, err := c.settle(); !errors.Is(err, ErrBadConfig) && !errors.Is(err, ErrBadURL) {
			t.Errorf("gateway %d is taken: %v", i, err)
		}
	}
	for i, c := range []SwarmConfig{{FrameLimit: 100}, {Connections: 1<<16 + 1}, {Connections: -1}, {Wait: -1}, {GiveUp: -1}} {
		if _, err := c.settle(); !errors.Is(err, ErrBadConfig) {
			t.Errorf("swarm %d is taken: %v", i, err)
		}
	}
	for i, o := range []MapOptions{{Batch: -1}, {InFlight: -1}, {Bytes: -1}, {Timeout: -1}, {Retries: -1}} {
		if _, err := o.settle(1); !errors.Is(err, ErrBadConfig) {
			t.Errorf("map options %d are taken: %v", i, err)
		}
	}
}

// A peer acknowledges after 64 KiB at the latest, so a smaller outbox would wait for ever.
func TestConfigSendBufferHasRoomForAcknowledgements(t *testing.T) {
	g, _ := GatewayConfig{SendBuffer: 1}.settle()
	s, _ := SwarmConfig{SendBuffer: 1}.settle()
	if g.SendBuffer < 256<<10 || s.SendBuffer < 256<<10 {
		t.Errorf("gateway %d, swarm %d", g.SendBuffer, s.SendBuffer)
	}
}

func TestSplitURL(t *testing.T) {
	for url, want := range map[string]string{
		"tcp://127.0.0.1:0": "tcp 127.0.0.1:0", "tcp://[::1]:1857": "tcp [::1]:1857", "tcp://:1": "tcp :1",
		"unix:///tmp/s": "unix /tmp/s",
		"":              "", "localhost:1": "", "tcp://localhost": "", "tcp://h:1/path": "", "unix://relative": "", "unix://": "",
		"udp://h:1": "", "tcp://%zz": "", "unix:///" + fmt.Sprintf("%0200d", 1): "",
	} {
		network, address, err := splitURL(url)
		if got := network + " " + address; (err == nil) != (want != "") || err == nil && got != want {
			t.Errorf("%q: %q, %v; want %q", url, got, err, want)
		}
	}
}

func TestBackoff(t *testing.T) {
	b := backoff{least: 10 * time.Millisecond, most: time.Second}
	for round := range 3 {
		longest := b.least
		for i := range 12 {
			if d := b.next(); d < longest/2 || d > longest {
				t.Errorf("round %d, pause %d is %v, want %v to %v", round, i, d, longest/2, longest)
			}
			longest = min(2*longest, b.most)
		}
		b.reset()
	}
}
