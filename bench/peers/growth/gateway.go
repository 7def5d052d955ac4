package main

import (
	"context"
	"runtime/debug"
	"time"

	"shoal/netio"
)

// serve starts a gateway for one load and returns its URL. It lives as long as the process.
func serve(l load) (string, error) {
	g := netio.NewGateway(netio.GatewayConfig{Listen: []string{"tcp://127.0.0.1:0"}, Workers: l.Workers})
	answer := make([]byte, answerSize)
	copy(answer, keyForm)
	g.HandleBatch(tableName, newTable(l).Run)
	g.HandleTask(takeName, func(t netio.Task) { t.Finish(answer, nil) })
	g.HandleCall(sleepName, func(context.Context, []byte) ([]byte, error) {
		time.Sleep(l.Wait)
		return answer, nil
	})
	debug.FreeOSMemory() // what building the table took
	if err := g.Start(); err != nil {
		return "", err
	}
	return g.URLs()[0], nil
}
