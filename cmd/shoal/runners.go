package main

import (
	"errors"
	"log/slog"

	"shoal/netio"
	"shoal/netio/runner"
	"shoal/netio/runner/execrun"
	"shoal/netio/runner/sshrun"
	"shoal/netio/trust"
)

// sshFlags name files of ssh in place of the user's own.
type sshFlags struct {
	SSHConfig  string `name:"ssh-config" help:"Read this ssh_config in place of ~/.ssh/config and the system's." placeholder:"FILE"`
	KnownHosts string `help:"Look host keys up in this file, in place of those that ssh_config names." placeholder:"FILE"`
}

func (f *sshFlags) given() bool { return f.SSHConfig != "" || f.KnownHosts != "" }

// runners are the runners that a gateway of this process offers.
type runners struct {
	gate  *trust.Gate // asked about each request; nil: nobody is
	close []func() error
	ssh   *sshrun.Runner // nil: not offered
}

// guard returns a runner that runs what the client may run.
func (r *runners) guard(via string, all runner.Runner) runner.Runner {
	if r.gate == nil {
		return all
	}
	return r.gate.Guard(via, all)
}

// end ends what the runners have under way. The gateway has ended.
func (r *runners) end() error {
	var all []error
	for _, end := range r.close {
		all = append(all, end())
	}
	r.close = nil
	return errors.Join(all...)
}

// offerExec lets clients run programs beside the gateway: those that the patterns allow, all where there are none.
func (r *runners) offerExec(gw *netio.Gateway, config execrun.Config, allow []string) error {
	var err error
	if config.Allow, err = allowed("--exec-allow", allow, false); err != nil {
		return err
	}
	commands, err := execrun.New(config)
	if err != nil {
		return err
	}
	r.close = append(r.close, commands.Close)
	runner.Register(gw, "exec", r.guard("exec", commands))
	gw.Describe("exec", "run a program beside the gateway: shoal client exec --via exec")
	return nil
}

// offerSSH lets clients run commands on devices: those that the patterns allow, all where there are none.
func (r *runners) offerSSH(gw *netio.Gateway, f *sshFlags, config sshrun.Config, allow []string) error {
	var err error
	if config.Allow, err = allowed("--ssh-allow", allow, true); err != nil {
		return err
	}
	config.ConfigFile, config.KnownHosts = f.SSHConfig, f.KnownHosts
	devices, err := sshrun.New(config)
	if err != nil {
		return usage("--ssh: %w", err)
	}
	r.ssh = devices
	r.close = append(r.close, devices.Close)
	runner.Register(gw, "ssh", r.guard("ssh", devices))
	gw.Describe("ssh", "run a command on a device: shoal client exec")
	return nil
}

// allowed reads the patterns of a flag; without any, everything is allowed.
func allowed(flag string, patterns []string, targets bool) (*runner.Patterns, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	p, err := runner.ParsePatterns(patterns, targets)
	if err != nil {
		return nil, usage("%s: %w", flag, err)
	}
	return p, nil
}

// serverRunners are the flags of `shoal server` for runners: it offers none that is not named.
type serverRunners struct {
	Exec      bool     `help:"Offer exec: clients may run programs on this machine, as the user that runs the gateway."`
	ExecAllow []string `help:"With --exec: a pattern of command lines that are allowed, such as 'uptime' or 'df *'; * is a word, ** anything; may be repeated. Default: all." placeholder:"PATTERN" sep:"none"`
	SSH       bool     `name:"ssh" help:"Offer ssh: clients may run commands on the devices that this machine reaches, with this user's keys and known_hosts."`
	SSHAllow  []string `name:"ssh-allow" help:"With --ssh: a pattern of targets and commands that are allowed, such as 'web* uptime'; may be repeated. Default: all." placeholder:"PATTERN" sep:"none"`
	sshFlags  `embed:""`
}

// offer registers the runners that were named.
func (f *serverRunners) offer(gw *netio.Gateway, gate *trust.Gate, log *slog.Logger) (*runners, error) {
	switch {
	case len(f.ExecAllow) > 0 && !f.Exec:
		return nil, usage("--exec-allow says nothing without --exec")
	case (len(f.SSHAllow) > 0 || f.given()) && !f.SSH:
		return nil, usage("--ssh-allow, --ssh-config and --known-hosts say nothing without --ssh")
	}
	r := &runners{gate: gate}
	if f.Exec {
		if err := r.offerExec(gw, execrun.Config{Logger: log}, f.ExecAllow); err != nil {
			return nil, err
		}
	}
	if f.SSH {
		if err := r.offerSSH(gw, &f.sshFlags, sshrun.Config{Logger: log}, f.SSHAllow); err != nil {
			_ = r.end()
			return nil, err
		}
		for _, file := range r.ssh.Locked("localhost") { // those that every device is offered
			log.Warn("an ssh key has a passphrase: it is used only where the agent has it", "file", file)
		}
	}
	return r, nil
}
