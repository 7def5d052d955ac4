// Command car: three sensor feeds of different rate and size stream in at full speed while controls go out on the same
// swarm. It prints what came, and how long the controls took meanwhile.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"sort"
	"sync"
	"sync/atomic"
	"time"

	"shoal/cmd/internal/demo"
	"shoal/netio"
)

func main() {
	gateway := flag.String("gateway", "", "a gateway such as 'shoal server --demo'; default: one in this process")
	drive := flag.Duration("drive", 2*time.Second, "how long to drive")
	ownRate := flag.Bool("own-rate", false, "the feeds come at the rate of their sensors, not at full speed")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *gateway, *drive, !*ownRate); err != nil {
		fmt.Fprintln(os.Stderr, "car:", err)
		os.Exit(1)
	}
}

// received is what came of one feed.
type received struct{ chunks, bytes atomic.Int64 }

func run(ctx context.Context, out io.Writer, gateway string, drive time.Duration, fullSpeed bool) error {
	s, stop, err := demo.Connect(ctx, gateway, demo.Car)
	if err != nil {
		return err
	}
	defer stop()
	if err := s.WaitConnected(ctx); err != nil {
		return err
	}

	driving, park := context.WithCancel(ctx) // not a deadline: the feeds end by being aborted
	defer park()
	time.AfterFunc(drive, park)
	counts, errs := make([]received, len(demo.Feeds)), make([]error, len(demo.Feeds))
	argument, err := json.Marshal(demo.FeedOptions{FullSpeed: fullSpeed})
	if err != nil {
		return err
	}
	var feeds sync.WaitGroup
	for i, feed := range demo.Feeds {
		feeds.Go(func() { errs[i] = watch(driving, s, feed.Name, argument, &counts[i]) })
	}
	latencies, err := steer(driving, s)
	park()
	feeds.Wait()
	if err := errors.Join(append(errs, err)...); err != nil {
		return err
	}
	for i, feed := range demo.Feeds {
		n, size := counts[i].chunks.Load(), counts[i].bytes.Load()
		fmt.Fprintf(out, "%s: %d readings of %d bytes, %.0f/s, %.1f MiB/s\n", feed.Name, n, feed.Size,
			float64(n)/drive.Seconds(), float64(size)/(1<<20)/drive.Seconds())
	}
	sort.Slice(latencies, func(i, j int) bool { return latencies[i] < latencies[j] })
	at := func(q float64) time.Duration {
		return latencies[int(q*float64(len(latencies)-1))].Round(time.Microsecond)
	}
	fmt.Fprintf(out, "%d controls: p50 %v, p99 %v, max %v\n", len(latencies), at(0.5), at(0.99), at(1))
	return nil
}

// watch counts the readings of one feed until the drive is over.
func watch(ctx context.Context, s *netio.Swarm, name string, argument []byte, count *received) error {
	for chunk, err := range s.Stream(ctx, name, argument) {
		if ctx.Err() != nil {
			return nil // parked: the feed was aborted
		}
		if err != nil {
			return err
		}
		count.chunks.Add(1)
		count.bytes.Add(int64(len(chunk.Body)))
	}
	return nil
}

// steer sends a control each two milliseconds and measures how long the car took to answer.
func steer(ctx context.Context, s *netio.Swarm) ([]time.Duration, error) {
	const every = 2 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	var latencies []time.Duration
	for step := 0; ; step++ {
		want := demo.Control{Steer: math.Sin(float64(step) / 50), Throttle: 0.5}
		start := time.Now()
		applied, err := netio.CallJSON[demo.Applied](ctx, s, "car_control", want)
		if ctx.Err() != nil && len(latencies) > 0 {
			return latencies, nil // parked; the last control counts no more
		}
		if err != nil {
			return nil, err
		}
		latencies = append(latencies, time.Since(start))
		if applied.Control != want {
			return nil, fmt.Errorf("the car did %+v instead of %+v", applied.Control, want)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return latencies, nil
		}
	}
}
