package main

import (
	"context"

	"shoal/netio"
	"shoal/netio/table"
)

func serveShoalFeed(load, *table.Table) (string, error) {
	g := netio.NewGateway(netio.GatewayConfig{Listen: []string{"tcp://127.0.0.1:0"}})
	g.HandleStream("feed", func(_ context.Context, _ []byte, out *netio.Stream) error {
		chunk := make([]byte, chunkSize)
		for ident := int64(0); ; ident++ {
			putIdent(chunk, uint64(ident))
			if err := out.Send(ident, chunk); err != nil {
				return err
			}
		}
	})
	if err := g.Start(); err != nil {
		return "", err
	}
	return g.URLs()[0], nil
}

func dialShoalFeed(url string, l load) (driver, error) {
	sw, err := dialSwarm(url, l.Conns)
	if err != nil {
		return nil, err
	}
	return &feeds{l.Conns, func(_ int, take func([]byte) bool) error {
		for chunk, err := range sw.Stream(context.Background(), "feed", nil) {
			if err != nil {
				return err
			}
			if !take(chunk.Body) {
				return nil
			}
		}
		return nil
	}}, nil
}
