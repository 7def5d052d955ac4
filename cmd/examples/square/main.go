// Command square: many clients at once, each sends a number and gets its square.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"

	"shoal/cmd/internal/demo"
	"shoal/netio"
)

func main() {
	gateway := flag.String("gateway", "", "a gateway such as 'shoal server --demo'; default: one in this process")
	clients := flag.Int("clients", 50, "how many clients at once")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *gateway, *clients); err != nil {
		fmt.Fprintln(os.Stderr, "square:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, gateway string, clients int) error {
	first, stop, err := demo.Connect(ctx, gateway, func(gw *netio.Gateway) { gw.HandleCall("square", netio.JSON(demo.Square)) })
	if err != nil {
		return err
	}
	defer stop()

	squares, errs := make([]int64, clients), make([]error, clients)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			swarm, err := netio.Dial(ctx, first.URL(), &netio.SwarmConfig{Connections: 1})
			if err != nil {
				errs[i] = err
				return
			}
			defer swarm.Close()
			squares[i], errs[i] = netio.CallJSON[int64](ctx, swarm, "square", i)
		})
	}
	all.Wait()
	for i := range clients {
		if errs[i] != nil {
			return errs[i]
		}
		fmt.Fprintf(out, "%d squared is %d\n", i, squares[i])
	}
	return nil
}
