package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"shoal/netio"
)

// callCommand is `shoal client call`.
type callCommand struct {
	Name     string        `arg:"" help:"The subroutine."`
	Argument string        `arg:"" optional:"" help:"What it gets, as it is; - for standard input."`
	JSON     bool          `name:"json" help:"The argument has to be JSON; the answer is printed as JSON, a line."`
	Timeout  time.Duration `help:"How long it may take, such as 5s; 0s: as long as it takes." default:"0s"`
}

// Help is what --help adds.
func (c *callCommand) Help() string {
	return `Examples:
  shoal client call square 12
  shoal client call table 137.72.95.0:foo
  shoal client call square -- -3

What starts with - and is no flag goes after --.`
}

// Run calls the subroutine and prints its answer.
func (c *callCommand) Run(p *process, client *clientCommand) error {
	if err := checkTimeout(c.Timeout); err != nil {
		return err
	}
	argument, err := readArgument(c.Argument)
	if err != nil {
		return err
	}
	if c.JSON && !json.Valid(argument) {
		return usage("%q is not JSON; a text needs quotes: '\"text\"'", c.Argument)
	}
	return client.session(p, 1, func(ctx context.Context, s *netio.Swarm) error {
		ctx, cancel := withTimeout(ctx, c.Timeout)
		defer cancel()
		answer, err := s.Call(ctx, c.Name, argument)
		if err != nil {
			return err
		}
		if c.JSON {
			var line bytes.Buffer
			if err := json.Compact(&line, answer); err != nil {
				return &exitError{exitFailed, fmt.Errorf("%s: the answer is not JSON: %.60q", c.Name, answer)}
			}
			answer = append(line.Bytes(), '\n')
		}
		return printBytes(p, answer)
	})
}

// printBytes writes bytes unchanged, but for a line end that a person at a terminal wants.
func printBytes(p *process, b []byte) error {
	if len(b) > 0 && b[len(b)-1] != '\n' && isTerminal(p.stdout.file) {
		b = append(b, '\n')
	}
	_, err := p.stdout.Write(b)
	return err
}

// readArgument returns the argument, or standard input for -.
func readArgument(argument string) ([]byte, error) {
	if argument != "-" {
		return []byte(argument), nil
	}
	return io.ReadAll(os.Stdin)
}

// checkTimeout refuses a --timeout that makes no sense.
func checkTimeout(d time.Duration) error {
	if d < 0 {
		return usage("--timeout %v: it cannot be negative", d)
	}
	return nil
}

// withTimeout bounds ctx where there is a bound.
func withTimeout(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	if d <= 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, d)
}

// streamCommand is `shoal client stream`.
type streamCommand struct {
	Name     string        `arg:"" help:"The subroutine."`
	Argument string        `arg:"" optional:"" help:"What it gets, as it is."`
	Streams  int           `help:"Open it so many times over the connections, and print the chunks as they come." default:"1"`
	Timeout  time.Duration `help:"How long it may take, such as 5s; 0s: as long as it takes." default:"0s"`
}

// Help is what --help adds.
func (c *streamCommand) Help() string {
	return `Examples:
  shoal client stream sensor
  shoal client stream sensor | head -3

Chunks are printed unchanged, one after another. Exit status 0: the stream came to its end.`
}

// Run prints the stream.
func (c *streamCommand) Run(p *process, client *clientCommand) error {
	if c.Streams < 1 {
		return usage("--streams %d: it has to be at least 1", c.Streams)
	}
	if err := checkTimeout(c.Timeout); err != nil {
		return err
	}
	argument, err := readArgument(c.Argument)
	if err != nil {
		return err
	}
	return client.session(p, 0, func(ctx context.Context, s *netio.Swarm) error {
		ctx, cancel := withTimeout(ctx, c.Timeout)
		defer cancel()
		out := bufio.NewWriterSize(p.stdout, 64<<10)
		for chunk, err := range s.Streams(ctx, c.Name, argument, c.Streams) {
			if err != nil {
				return errors.Join(err, out.Flush())
			}
			if _, err := out.Write(chunk.Body); err != nil {
				return err
			}
			if !chunk.More {
				if err := out.Flush(); err != nil {
					return err
				}
			}
		}
		return out.Flush()
	})
}

// sendCommand is `shoal client send`.
type sendCommand struct {
	Name     string        `arg:"" help:"The subroutine."`
	File     string        `arg:"" help:"What to send; - for standard input."`
	Argument string        `help:"What the subroutine gets beside it." placeholder:"TEXT"`
	Timeout  time.Duration `help:"How long it may take, such as 5s; 0s: as long as it takes." default:"0s"`
}

// Help is what --help adds.
func (c *sendCommand) Help() string {
	return `Examples:
  shoal client send store body.bin
  tar c logs | shoal client send store -`
}

// Run sends the file and prints the answer.
func (c *sendCommand) Run(p *process, client *clientCommand) error {
	if err := checkTimeout(c.Timeout); err != nil {
		return err
	}
	f, err := openInput(c.File)
	if err != nil {
		return err
	}
	defer f.Close()
	var total int64
	if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
		total = info.Size()
	}
	return client.session(p, 1, func(ctx context.Context, s *netio.Swarm) error {
		ctx, cancel := withTimeout(ctx, c.Timeout)
		defer cancel()
		pr := newProgress(p.stderr, progressOptions{Label: "sent", Unit: "bytes", Total: total, Quiet: client.Quiet, Plain: client.Stats})
		defer pr.close()
		var body io.Reader = f
		if total == 0 {
			body = newReadAhead(ctx, f)
		}
		answer, err := s.Send(ctx, c.Name, []byte(c.Argument), &countingReader{r: body, each: func(n int64) { pr.set(n, 0) }})
		if err != nil {
			return err
		}
		pr.close()
		return printBytes(p, answer)
	})
}

// countingReader tells how many bytes have been read.
type countingReader struct {
	r    io.Reader
	n    int64
	each func(total int64)
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	c.each(c.n)
	return n, err
}
