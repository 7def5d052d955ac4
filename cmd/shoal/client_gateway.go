package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"time"

	"shoal/netio"
)

// listCommand is `shoal client list`.
type listCommand struct {
	Output string `help:"How it looks: ${enum}." enum:"text,jsonl" default:"text"`
}

// Help is what --help adds.
func (c *listCommand) Help() string {
	return `Example:
  shoal client list

Text output is name, shape and description with tabs between. The shape says which command it is for: call or map,
stream, send; duplex is for programs.`
}

// Run prints the gateway's subroutines.
func (c *listCommand) Run(p *process, client *clientCommand) error {
	return client.session(p, 1, func(ctx context.Context, s *netio.Swarm) error {
		infos, err := s.GatewaySubroutines(ctx)
		if err != nil {
			return err
		}
		out := bufio.NewWriter(p.stdout)
		for _, info := range infos {
			if c.Output == "jsonl" {
				line, err := json.Marshal(info)
				if err != nil {
					return err
				}
				fmt.Fprintf(out, "%s\n", line)
			} else {
				fmt.Fprintf(out, "%s\t%s\t%s\n", visible(info.Name), info.Shape, visible(info.Description))
			}
		}
		return out.Flush()
	})
}

// pingCommand is `shoal client ping`.
type pingCommand struct {
	Count    int           `short:"n" help:"Rounds." default:"1"`
	Interval time.Duration `help:"Between two rounds." default:"200ms"`
	Message  string        `help:"What is echoed." default:""`
}

// Help is what --help adds.
func (c *pingCommand) Help() string {
	return `Example:
  shoal client --connections 2 ping -n 5`
}

// Run pings each connection and prints the round-trip times.
func (c *pingCommand) Run(p *process, client *clientCommand) error {
	if c.Count < 1 || c.Interval < 0 {
		return usage("-n has to be at least 1, --interval cannot be negative")
	}
	return client.session(p, 0, func(ctx context.Context, s *netio.Swarm) error {
		if err := s.WaitConnected(ctx); err != nil {
			return err
		}
		var least, most, sum time.Duration
		answered, lost := 0, 0
		for round := range c.Count {
			if round > 0 {
				select {
				case <-time.After(c.Interval):
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			for _, pong := range s.Ping(ctx, []byte(c.Message)) {
				if pong.Err != nil {
					lost++
					if _, err := fmt.Fprintf(p.stdout, "connection %d: %s\n", pong.Connection, visible(pong.Err.Error())); err != nil {
						return err
					}
					continue
				}
				if answered == 0 || pong.RTT < least {
					least = pong.RTT
				}
				answered++
				most, sum = max(most, pong.RTT), sum+pong.RTT
				if _, err := fmt.Fprintf(p.stdout, "connection %d: %v\n", pong.Connection, pong.RTT); err != nil {
					return err
				}
			}
		}
		if answered > 0 && !client.Quiet {
			fmt.Fprintf(p.stderr, "%d answered, %d lost; min/avg/max %v/%v/%v\n", answered, lost, least, sum/time.Duration(answered), most)
		}
		if lost > 0 {
			return &exitError{status: exitUnknown}
		}
		return nil
	})
}

// stopCommand is `shoal client stop`.
type stopCommand struct{}

// Help is what --help adds.
func (c *stopCommand) Help() string {
	return `Example:
  shoal client stop

The gateway drains and ends, where it was started with --allow-stop.`
}

// Run stops the gateway.
func (c *stopCommand) Run(p *process, client *clientCommand) error {
	client.calm = true
	return client.session(p, 1, func(ctx context.Context, s *netio.Swarm) error { return s.StopGateway(ctx) })
}
