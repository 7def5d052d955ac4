package probe

import (
	"encoding/json"
	"time"
)

// Status is what a scan under way is at; one comes about every second, and one at the end.
type Status struct {
	Elapsed     time.Duration // since the scan, or what of it was resumed, began
	Rate        float64       // starts a second that are allowed now
	InFlight    int           // probes under way
	Sockets     int           // probes that may be under way
	LocalErrors uint64        // starts that failed for want of local means
	Retried     uint64        // probes that were tried again, for whatever reason
}

// statusJSON is its form on the wire.
type statusJSON struct {
	ElapsedMS   float64 `json:"elapsed_ms"`
	Rate        float64 `json:"rate"`
	InFlight    int     `json:"in_flight"`
	Sockets     int     `json:"sockets"`
	LocalErrors uint64  `json:"local_errors"`
	Retried     uint64  `json:"retried"`
}

// MarshalJSON writes elapsed_ms, rate, in_flight, sockets, local_errors and retried.
func (s Status) MarshalJSON() ([]byte, error) {
	return json.Marshal(statusJSON{millis(s.Elapsed), s.Rate, s.InFlight, s.Sockets, s.LocalErrors, s.Retried})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (s *Status) UnmarshalJSON(b []byte) error {
	var j statusJSON
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	*s = Status{duration(j.ElapsedMS), j.Rate, j.InFlight, j.Sockets, j.LocalErrors, j.Retried}
	return nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func duration(ms float64) time.Duration { return time.Duration(ms * float64(time.Millisecond)) }
