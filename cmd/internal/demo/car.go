package demo

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"shoal/netio"
)

// Feed is one sensor of the car.
type Feed struct {
	Name string
	Size int           // bytes of a reading
	Rate time.Duration // between two readings, in the car's own time
}

// Feeds are the sensors of the car, of different rate and size.
var Feeds = []Feed{
	{"car_camera", 48 << 10, time.Second / 30},
	{"car_lidar", 4 << 10, time.Second / 10},
	{"car_motion", 48, time.Second / 500},
}

// FeedOptions is the argument of a feed, as JSON.
type FeedOptions struct {
	FullSpeed bool `json:"full_speed"` // as fast as the connection takes them
}

// Control is what the driver wants, from -1 to 1 each.
type Control struct {
	Steer    float64 `json:"steer"`
	Throttle float64 `json:"throttle"`
}

// Applied is what the car did with a Control.
type Applied struct {
	Control
	Count int `json:"count"` // controls since the car was started
}

// car is driven by all who call it.
type car struct {
	mu    sync.Mutex // guards what follows
	state Applied
}

// Car registers the car: its feeds, which run until the client aborts them, and its controls.
func Car(gw *netio.Gateway) {
	c := &car{}
	for _, feed := range Feeds {
		gw.HandleStream(feed.Name, feed.run)
		gw.Describe(feed.Name, fmt.Sprintf(`readings of %d bytes every %v until aborted; argument, optional: {"full_speed":true}`, feed.Size, feed.Rate.Round(time.Millisecond)))
	}
	gw.HandleCall("car_control", netio.JSON(c.control))
	gw.Describe("car_control", `steer the car: {"steer":-1..1,"throttle":-1..1}`)
}

// run sends readings: the time it was taken, and what stands for the rest. The ident counts them.
func (f Feed) run(ctx context.Context, in []byte, out *netio.Stream) error {
	var o FeedOptions
	if len(in) > 0 {
		if err := json.Unmarshal(in, &o); err != nil {
			return fmt.Errorf("%w: %w", netio.ErrBadArgument, err)
		}
	}
	reading := make([]byte, f.Size)
	for ident := int64(0); ; ident++ {
		if !o.FullSpeed && !pause(ctx, f.Rate) {
			return ctx.Err()
		}
		binary.LittleEndian.PutUint64(reading, uint64(time.Now().UnixNano()))
		if err := out.Send(ident, reading); err != nil {
			return err
		}
	}
}

func (c *car) control(_ context.Context, want Control) (Applied, error) {
	if want.Steer < -1 || want.Steer > 1 || want.Throttle < -1 || want.Throttle > 1 {
		return Applied{}, fmt.Errorf("%w: steer and throttle are from -1 to 1", netio.ErrBadArgument)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Control = want
	c.state.Count++
	return c.state, nil
}
