package main

import (
	"shoal/netio"
	"shoal/netio/runner/execrun"
	"shoal/netio/runner/sshrun"
)

// embeddedFlags are those of the runners of a gateway inside the client's process.
type embeddedFlags struct {
	sshFlags `embed:""`
}

// start starts a gateway in this process that offers one runner, for so many commands at once. It asks for the passphrases of
// the hosts' keys before. It returns the gateway's address, and what ends it.
func (f *embeddedFlags) start(p *process, client *clientCommand, via string, fanout int, hosts []string) (url string, stop func(), err error) {
	config := netio.GatewayConfig{Listen: []string{"tcp://127.0.0.1:0"}, Workers: max(1024, fanout)}
	if client.Verbose {
		config.Logger = newLogger(p.stderr, "info", "text")
	}
	gw := netio.NewGateway(config)
	offered := &runners{}
	if via == "ssh" {
		err = offered.offerSSH(gw, &f.sshFlags, sshrun.Config{MaxSessions: max(1024, fanout), Logger: config.Logger}, nil)
	} else {
		err = offered.offerExec(gw, execrun.Config{MaxProcesses: max(64, fanout), Logger: config.Logger}, nil)
	}
	if err == nil && offered.ssh != nil {
		err = unlock(p, offered.ssh, hosts)
	}
	if err == nil {
		err = gw.Start()
	}
	if err != nil {
		_ = offered.end()
		return "", nil, err
	}
	return gw.URLs()[0], func() { _ = gw.Close(); _ = offered.end() }, nil
}
