package netio

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"shoal/proto"
)

// Names of the subroutines that every gateway has. Others must not begin with builtinPrefix.
const (
	builtinPrefix = "shoal."
	nameList      = builtinPrefix + "list"
	nameStop      = builtinPrefix + "stop"
	nameStats     = builtinPrefix + "stats"
)

type contextKey int

const (
	handlerKey contextKey = iota
	peerKey
	clientKey           // of the handler of a task
	metadataKey         // of what came with a call: the value of its field
	outgoingMetadataKey // of what is to go with calls
	outgoingFieldsKey   // of the fields of calls that a Map makes inside interceptors
)

// RemoteAddr returns the address of the client on whose behalf a subroutine runs; empty outside of one.
func RemoteAddr(ctx context.Context) string {
	if p, ok := ctx.Value(peerKey).(string); ok {
		return p
	}
	if h, ok := ctx.Value(handlerKey).(*handler); ok {
		return h.peer()
	}
	return ""
}

// peer returns the address of the client.
func (h *handler) peer() string {
	if remote := h.remote.Load(); remote != nil {
		return *remote
	}
	return ""
}

// registerBuiltins makes the gateway answer questions about itself.
func (g *Gateway) registerBuiltins() {
	g.register(nameList, ShapeCall, &subroutine{call: func(context.Context, []byte) ([]byte, error) {
		var infos []SubroutineInfo
		for _, s := range g.Subroutines() {
			if !strings.HasPrefix(s.Name, builtinPrefix) {
				infos = append(infos, s)
			}
		}
		return json.Marshal(infos)
	}})
	g.register(nameStats, ShapeCall, &subroutine{call: func(context.Context, []byte) ([]byte, error) {
		return json.Marshal(statsAnswer{g.Stats(), g.config.Workers})
	}})
	g.register(nameStop, ShapeCall, &subroutine{call: func(context.Context, []byte) ([]byte, error) {
		if !g.config.AllowStop {
			return nil, &StatusError{Status: proto.StatusNotAllowed, Text: "this gateway may not be stopped by clients"}
		}
		g.log.Info("a client stops the gateway")
		g.requestStop()
		return nil, nil
	}})
}

// GatewaySubroutines asks the gateway which subroutines it has.
func (s *Swarm) GatewaySubroutines(ctx context.Context) ([]SubroutineInfo, error) {
	var infos []SubroutineInfo
	return infos, s.ask(ctx, nameList, &infos)
}

// GatewayStats asks the gateway for its counters.
func (s *Swarm) GatewayStats(ctx context.Context) (Stats, error) {
	var stats Stats
	return stats, s.ask(ctx, nameStats, &stats)
}

// statsAnswer is what crosses the wire.
type statsAnswer struct {
	Stats
	Workers int
}

// GatewayWorkers asks the gateway how many tasks it runs or holds at once: more in flight than that only wait there. Zero means that
// it does not say.
func (s *Swarm) GatewayWorkers(ctx context.Context) (int, error) {
	var answer statsAnswer
	return answer.Workers, s.ask(ctx, nameStats, &answer)
}

// StopGateway asks the gateway to drain and end. It matches ErrNotAllowed where that is not for clients to ask.
func (s *Swarm) StopGateway(ctx context.Context) error {
	_, err := s.Call(ctx, nameStop, nil)
	return err
}

func (s *Swarm) ask(ctx context.Context, name string, answer any) error {
	out, err := s.Call(ctx, name, nil)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(out, answer); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
