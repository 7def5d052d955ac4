// Command hello: several clients greet one gateway at once, each from a swarm of its own, and each is greeted by name.
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
	clients := flag.Int("clients", 4, "how many clients at once")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *gateway, *clients); err != nil {
		fmt.Fprintln(os.Stderr, "hello:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, gateway string, clients int) error {
	first, stop, err := demo.Connect(ctx, gateway, func(gw *netio.Gateway) { gw.HandleCall("hello", demo.Hello) })
	if err != nil {
		return err
	}
	defer stop()

	answers, errs := make([][]byte, clients), make([]error, clients)
	var all sync.WaitGroup
	for i := range clients {
		all.Go(func() {
			swarm, err := netio.Dial(ctx, first.URL(), nil)
			if err != nil {
				errs[i] = err
				return
			}
			defer swarm.Close()
			answers[i], errs[i] = swarm.Call(ctx, "hello", fmt.Appendf(nil, "Hi from %d", os.Getpid()))
		})
	}
	all.Wait()
	for i := range clients {
		if errs[i] != nil {
			return errs[i]
		}
		fmt.Fprintf(out, "client %d said: Hi from %d; got: %s\n", i, os.Getpid(), answers[i])
	}
	return nil
}
