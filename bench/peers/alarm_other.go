//go:build !linux

package main

import "time"

// alarm is time.Sleep, as precise as that is.
type alarm struct{}

func newAlarm() (*alarm, error) { return &alarm{}, nil }

func (*alarm) sleep(d time.Duration) error {
	time.Sleep(d)
	return nil
}

func (*alarm) close() error { return nil }
