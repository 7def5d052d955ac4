// Command backup: a conditional backup. It asks the gateway how full its disk is; over a limit it fetches the logs that
// match a pattern, looks at what arrived, and only then has them removed.
package main

import (
	"archive/tar"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"shoal/cmd/internal/demo"
	"shoal/netio"
)

func main() {
	gateway := flag.String("gateway", "", "a gateway such as 'shoal server --demo'; default: one in this process")
	limit := flag.Float64("limit", 80, "percent of the disk in use above which logs are fetched and removed")
	pattern := flag.String("logs", "app-*.log", "which logs")
	to := flag.String("to", "backup", "the folder to keep them in")
	flag.Parse()
	if err := run(context.Background(), os.Stdout, *gateway, *limit, *pattern, *to); err != nil {
		fmt.Fprintln(os.Stderr, "backup:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, gateway string, limit float64, pattern, to string) error {
	removeFolder := func() error { return nil }
	var failed error
	s, stop, err := demo.Connect(ctx, gateway, func(gw *netio.Gateway) {
		var stop func() error
		if stop, failed = demo.Backup(gw); failed == nil {
			removeFolder = stop
		}
	})
	if err != nil {
		return err
	}
	defer func() { stop(); _ = removeFolder() }()
	if failed != nil {
		return failed
	}

	usage, err := netio.CallJSON[demo.Usage](ctx, s, "mount_usage", nil)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "%.0f %% of the disk are in use\n", usage.Percent)
	if usage.Percent <= limit {
		fmt.Fprintf(out, "that is below %.0f %%: nothing to do\n", limit)
		return nil
	}
	names, size, err := fetch(ctx, s, pattern, to)
	if err != nil {
		return err // nothing has been removed
	}
	fmt.Fprintf(out, "fetched %d logs of %d bytes\n", len(names), size)
	// Not those that match: one may have come since.
	removed, err := netio.CallJSON[int](ctx, s, "remove_logs", names)
	if err != nil {
		return err
	}
	if usage, err = netio.CallJSON[demo.Usage](ctx, s, "mount_usage", nil); err != nil {
		return err
	}
	fmt.Fprintf(out, "removed %d logs; %.0f %% are in use\n", removed, usage.Percent)
	return nil
}

// fetch writes the logs that match into a folder, and returns their names and how large they are together.
func fetch(ctx context.Context, s *netio.Swarm, pattern, to string) (names []string, size int64, err error) {
	if err := os.MkdirAll(to, 0o700); err != nil {
		return nil, 0, err
	}
	folder, err := os.OpenRoot(to) // so that no name from afar leads out of it
	if err != nil {
		return nil, 0, err
	}
	defer folder.Close()
	stream, err := s.OpenStream(ctx, "logs", []byte(pattern))
	if err != nil {
		return nil, 0, err
	}
	defer stream.Abort()
	archive := tar.NewReader(stream.Reader())
	for {
		header, err := archive.Next()
		if err == io.EOF {
			_, err := stream.Result() // the archive is whole; the stream has to end well too
			return names, size, err
		}
		if err != nil {
			return nil, 0, err
		}
		f, err := folder.Create(filepath.Base(header.Name))
		if err != nil {
			return nil, 0, err
		}
		n, err := io.Copy(f, archive)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, 0, err
		}
		names, size = append(names, header.Name), size+n
	}
}
