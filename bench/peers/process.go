package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// patience is how long a child may take beyond what it was told to.
const patience = 20 * time.Second

// process is a child as its parent sees it. It has one user.
type process struct {
	cmd   *exec.Cmd
	stdin io.Closer
	in    *json.Encoder
	out   *json.Decoder
	ready reply
}

// start runs a program as a child, this one if it has no name, and waits until it is ready.
func start(program string, r role, procs int) (*process, error) {
	if program == "" {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		program = self
	}
	spec, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program)
	cmd.Env = append(os.Environ(), roleVariable+"="+string(spec), fmt.Sprintf("GOMAXPROCS=%d", procs))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, stdin: stdin, in: json.NewEncoder(stdin), out: json.NewDecoder(stdout)}
	if p.ready, err = p.reply(0); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// ask gives an order and waits for the reply.
func (p *process) ask(o order) (reply, error) {
	if err := p.in.Encode(o); err != nil {
		return reply{}, err
	}
	return p.reply(o.Run)
}

// reply waits for a line; who takes too long is killed.
func (p *process) reply(expected time.Duration) (reply, error) {
	late := time.AfterFunc(expected+patience, func() { _ = p.cmd.Process.Kill() })
	var r reply
	if err := p.out.Decode(&r); err != nil {
		if !late.Stop() {
			return r, fmt.Errorf("no answer within %v", expected+patience)
		}
		return r, fmt.Errorf("ended early: %w", err)
	}
	late.Stop()
	if r.Error != "" {
		return r, errors.New(r.Error)
	}
	return r, nil
}

// stop ends the child.
func (p *process) stop() {
	_ = p.stdin.Close()
	late := time.AfterFunc(5*time.Second, func() { _ = p.cmd.Process.Kill() })
	defer late.Stop()
	_ = p.cmd.Wait()
}
