package demo

import (
	"context"

	"shoal/netio"
)

// Connect dials the gateway at url for an example. When url is empty it starts one in this process first, on any free
// port, with what register puts there. Stop ends both.
func Connect(ctx context.Context, url string, register func(gw *netio.Gateway)) (s *netio.Swarm, stop func(), err error) {
	stopGateway := func() {}
	if url == "" {
		gw := netio.NewGateway(netio.GatewayConfig{Listen: []string{"tcp://127.0.0.1:0"}})
		register(gw)
		if err := gw.Start(); err != nil {
			return nil, nil, err
		}
		url = gw.URLs()[0]
		stopGateway = func() { _ = gw.Close() }
	}
	s, err = netio.Dial(ctx, url, nil)
	if err != nil {
		stopGateway()
		return nil, nil, err
	}
	return s, func() { _ = s.Close(); stopGateway() }, nil
}
