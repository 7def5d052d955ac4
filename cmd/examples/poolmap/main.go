// Command poolmap: what multiprocessing.Pool of Python offers, as map, starmap, apply and their asynchronous forms.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"iter"
	"os"
	"sort"

	"shoal/cmd/internal/demo"
	"shoal/netio"
)

func main() {
	gateway := flag.String("gateway", "", "a gateway that has 'square' and 'power'; default: one in this process")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *gateway); err != nil {
		fmt.Fprintln(os.Stderr, "poolmap:", err)
		os.Exit(1)
	}
}

// power takes several arguments, as one JSON array: what starmap is for.
func power(_ context.Context, in [2]int64) (int64, error) {
	result := int64(1)
	for range in[1] {
		result *= in[0]
	}
	return result, nil
}

// jsonItems gives values as the items of a map.
func jsonItems[T any](values ...T) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for _, v := range values {
			if item, err := json.Marshal(v); err != nil || !yield(item) {
				return
			}
		}
	}
}

// gather collects the answers of a map in the order in which they come.
func gather(results iter.Seq2[netio.Result, error]) (answers []string, err error) {
	for r, err := range results {
		if err != nil {
			return nil, err
		}
		answers = append(answers, string(r.Body))
	}
	return answers, nil
}

func run(ctx context.Context, out io.Writer, gateway string) error {
	s, stop, err := demo.Connect(ctx, gateway, func(gw *netio.Gateway) {
		gw.HandleCall("square", netio.JSON(demo.Square))
		gw.HandleCall("power", netio.JSON(power))
	})
	if err != nil {
		return err
	}
	defer stop()

	// pool.map(square, …): answers in the order of the items.
	ordered := netio.MapOptions{Ordered: true}
	answers, err := gather(s.Map(ctx, "square", jsonItems(1, 2, 3, 4), &ordered))
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "map:", answers)

	// pool.imap_unordered(square, …): answers as they finish.
	if answers, err = gather(s.Map(ctx, "square", jsonItems(1, 2, 3, 4), nil)); err != nil {
		return err
	}
	sort.Strings(answers) // for the eye
	fmt.Fprintln(out, "map as finished, sorted:", answers)

	// pool.starmap(power, …): each item holds several arguments.
	if answers, err = gather(s.Map(ctx, "power", jsonItems([2]int{2, 3}, [2]int{3, 2}, [2]int{10, 6}), &ordered)); err != nil {
		return err
	}
	fmt.Fprintln(out, "starmap:", answers)

	// pool.apply(square, …): one call.
	square, err := netio.CallJSON[int64](ctx, s, "square", 12)
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "apply:", square)

	// pool.apply_async(square, …): calls that run while this goes on, and whose answers are asked for later.
	var pending []*netio.Pending
	for item := range jsonItems(5, 6, 7) {
		pending = append(pending, s.Go(ctx, "square", item))
	}
	fmt.Fprint(out, "apply, asynchronous:")
	for _, p := range pending {
		answer, err := p.Result()
		if err != nil {
			return err
		}
		fmt.Fprintf(out, " %s", answer)
	}
	fmt.Fprintln(out)
	return nil
}
