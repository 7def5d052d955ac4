package demo

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"shoal/netio"
)

// Register registers everything at a gateway. Stop removes what it put into temporary files; call it when the gateway
// has ended.
func Register(gw *netio.Gateway) (stop func() error, err error) {
	Simple(gw)
	Car(gw)
	return Backup(gw)
}

// Simple registers a subroutine of each shape.
func Simple(gw *netio.Gateway) {
	gw.HandleCall("hello", Hello)
	gw.Describe("hello", "greet the caller: answers with its address and the server's process id")
	gw.HandleCall("square", netio.JSON(Square))
	gw.Describe("square", "the square of a whole number, as JSON")
	gw.HandleStream("sensor", Sensor)
	gw.Describe("sensor", `readings, a line each; argument, optional: {"count":10,"interval_ms":100,"size":0}`)
	gw.HandleSend("store", Store)
	gw.Describe("store", "read a body and answer its size and SHA-256, as JSON; nothing is kept")
	gw.HandleDuplex("echo", Echo)
	gw.Describe("echo", "send back each chunk as it comes")
}

// Hello answers who asked, and who answers.
func Hello(ctx context.Context, _ []byte) ([]byte, error) {
	return fmt.Appendf(nil, "Hi %s. This is server %d", netio.RemoteAddr(ctx), os.Getpid()), nil
}

// Square returns n².
func Square(_ context.Context, n int64) (int64, error) {
	const largest = 3037000499 // whose square is just below 1<<63
	if n < -largest || n > largest {
		return 0, fmt.Errorf("the square of %d does not fit 64 bits", n)
	}
	return n * n, nil
}

// Sensor sends readings in their time until there were enough.
func Sensor(ctx context.Context, in []byte, out *netio.Stream) error {
	want := struct {
		Count    int64 `json:"count"`
		Interval int64 `json:"interval_ms"`
		Size     int   `json:"size"` // of each line at least, with its line end
	}{Count: 10, Interval: 100}
	if len(in) > 0 {
		if err := json.Unmarshal(in, &want); err != nil {
			return fmt.Errorf("%w: %w", netio.ErrBadArgument, err)
		}
	}
	const largest = 1 << 20
	if want.Count < 0 || want.Interval < 0 || want.Interval > math.MaxInt32 || want.Size < 0 || want.Size > largest {
		return fmt.Errorf("%w: count, interval_ms and size cannot be negative, size is at most %d", netio.ErrBadArgument, largest)
	}
	var line []byte
	for ident := range want.Count {
		if ident > 0 && !pause(ctx, time.Duration(want.Interval)*time.Millisecond) {
			return ctx.Err()
		}
		line = fmt.Appendf(line[:0], "%d %.3f", ident, 20+5*math.Sin(float64(ident)/10))
		for len(line) < want.Size-1 {
			line = append(line, ' ')
		}
		line = append(line, '\n')
		if err := out.Send(ident, line); err != nil {
			return err // the client aborted or left
		}
	}
	return nil
}

// pause waits; false says that ctx ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// Store answers what it was sent, by size and hash.
func Store(_ context.Context, _ []byte, body io.Reader) ([]byte, error) {
	hash := sha256.New()
	size, err := io.Copy(hash, body)
	if err != nil {
		return nil, err
	}
	return json.Marshal(struct {
		Size   int64  `json:"size"`
		SHA256 string `json:"sha256"`
	}{size, hex.EncodeToString(hash.Sum(nil))})
}

// Echo sends back what comes.
func Echo(_ context.Context, _ []byte, s *netio.Stream) error {
	for {
		ident, body, err := s.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.Send(ident, body); err != nil {
			return err
		}
	}
}
