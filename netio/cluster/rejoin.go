package cluster

import (
	"bytes"
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

// maxPlaces bounds the addresses that are remembered.
const maxPlaces = 4096

// rejoin tries those again that are not there any more, and those that were to be joined, so that a partition heals: memberlist
// itself forgets the dead.
func (n *Node) rejoin(ctx context.Context) {
	for {
		pause := n.config.RejoinEvery
		select {
		case <-time.After(pause/2 + rand.N(pause)):
		case <-ctx.Done():
			return
		}
		if lost := n.lost(); len(lost) > 0 {
			if reached, _ := n.list.Join(lost); reached > 0 {
				n.log.Info("cluster is joined again", "address", lost)
			}
		}
	}
}

// lost returns some addresses at which nobody is known to be, at most 3, at random.
func (n *Node) lost() []string {
	there := map[string]bool{n.Address(): true}
	for _, node := range n.list.Members() {
		there[node.Address()] = true
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	var lost []string
	for _, address := range n.config.Join {
		if !there[address] {
			lost = append(lost, address)
		}
	}
	for address := range n.places {
		if !there[address] {
			lost = append(lost, address)
		}
	}
	rand.Shuffle(len(lost), func(i, j int) { lost[i], lost[j] = lost[j], lost[i] })
	return lost[:min(len(lost), 3)]
}

// logWriter passes memberlist's log lines on, with their levels.
type logWriter struct{ log *slog.Logger }

func (w logWriter) Write(line []byte) (int, error) {
	level, text := slog.LevelDebug, bytes.TrimSpace(line)
	for prefix, l := range map[string]slog.Level{"[WARN] ": slog.LevelWarn, "[ERR] ": slog.LevelWarn, "[INFO] ": slog.LevelInfo, "[DEBUG] ": slog.LevelDebug} {
		if rest, ok := bytes.CutPrefix(text, []byte(prefix)); ok {
			level, text = l, rest
		}
	}
	w.log.Log(context.Background(), level, string(bytes.TrimPrefix(text, []byte("memberlist: "))))
	return len(line), nil
}
