package main

import (
	"shoal/netio"
	"shoal/netio/runner"
	"shoal/netio/runner/execrun"
)

// embeddedFlags are those of the runners of a gateway inside the client's process.
type embeddedFlags struct{}

// start starts a gateway in this process for so many commands at once. It returns its address, and what ends it.
func (f *embeddedFlags) start(p *process, client *clientCommand, fanout int) (url string, stop func(), err error) {
	config := netio.GatewayConfig{Listen: []string{"tcp://127.0.0.1:0"}, Workers: max(1024, fanout)}
	if client.Verbose {
		config.Logger = newLogger(p.stderr, "info", "text")
	}
	gw := netio.NewGateway(config)
	commands, err := execrun.New(execrun.Config{MaxProcesses: max(64, fanout)})
	if err != nil {
		return "", nil, err
	}
	runner.Register(gw, "exec", commands)
	if err := gw.Start(); err != nil {
		_ = commands.Close()
		return "", nil, err
	}
	return gw.URLs()[0], func() { _ = gw.Close(); _ = commands.Close() }, nil
}
