package main

import (
	"fmt"
	"os"
	"strings"

	"shoal/netio"
	"shoal/netio/runner"
	"shoal/netio/trust"
)

// rightsCommand is `shoal rights`.
type rightsCommand struct {
	Explain rightsExplainCommand `cmd:"" help:"Say which line of a file of rights lets an identity do something."`
	Example rightsExampleCommand `cmd:"" help:"Print a file of rights to begin with."`
}

// rightsExampleCommand is `shoal rights example`.
type rightsExampleCommand struct{}

// Run prints the example.
func (c *rightsExampleCommand) Run(p *process) error {
	_, err := fmt.Fprint(p.stdout, trust.ExampleRights)
	return err
}

// rightsExplainCommand is `shoal rights explain`.
type rightsExplainCommand struct {
	Rights string   `help:"The file of rights." default:"rights.toml" placeholder:"FILE"`
	As     string   `help:"The identity." required:"" placeholder:"NAME"`
	Via    string   `help:"With exec: the runner, ${enum}." enum:"ssh,exec" default:"ssh"`
	What   string   `arg:"" help:"exec, call, stream, send, duplex, get, put, list, stats or stop."`
	Words  []string `arg:"" optional:"" passthrough:"" help:"For exec the target and the command, else the subroutine."`
}

// Help is what --help adds.
func (c *rightsExplainCommand) Help() string {
	return `Examples:
  shoal rights explain --as alice exec web1 uptime
  shoal rights explain --as alice call square

Exit status: 0 allowed, 3 not allowed, 2 where the file cannot be used.`
}

// Run says who may do what.
func (c *rightsExplainCommand) Run(p *process) error {
	r, err := trust.ReadRights(c.Rights)
	if err != nil {
		return usage("%w", err)
	}
	if err := trust.CheckName(c.As); err != nil {
		return usage("--as: %w", err)
	}
	allowed, why, err := c.ask(r)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(p.stdout, why); err != nil {
		return err
	}
	if !allowed {
		return &exitError{status: exitFailed}
	}
	return nil
}

func (c *rightsExplainCommand) ask(r *trust.Rights) (bool, string, error) {
	words := c.Words
	if len(words) > 0 && words[0] == "--" {
		words = words[1:]
	}
	builtin := map[string]string{"get": "shoal.files.get", "put": "shoal.files.put", "list": "shoal.list", "stats": "shoal.stats", "stop": "shoal.stop"}
	shapes := map[string]netio.Shape{"call": netio.ShapeCall, "stream": netio.ShapeStream, "send": netio.ShapeSend, "duplex": netio.ShapeDuplex}
	if name := builtin[c.What]; name != "" && len(words) == 0 {
		allowed, why := r.Explain(c.As, name, netio.ShapeCall)
		return allowed, why, nil
	}
	if shape, ok := shapes[c.What]; ok && len(words) == 1 {
		allowed, why := r.Explain(c.As, words[0], shape)
		return allowed, why, nil
	}
	if c.What != "exec" || len(words) < 2 {
		return false, "", usage("write exec TARGET COMMAND, call NAME (or stream, send, duplex), or get, put, list, stats, stop")
	}
	req := runner.Request{Target: words[0], Command: strings.Join(words[1:], " ")}
	if c.Via == "exec" {
		req.Command, req.Argv = "", words[1:]
	}
	allowed, why := r.ExplainRun(c.As, c.Via, &req)
	return allowed, why, nil
}

// readableRights says what to do where there is no file of rights.
func readableRights(path string) error {
	if _, err := os.Stat(path); err != nil {
		return usage("--rights: %w; begin with: shoal rights example > %s", err, path)
	}
	return nil
}
