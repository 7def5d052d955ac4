package main

import "runtime"

// busyRole is a child process that keeps every processor busy, as other programs of a shared machine do.
const busyRole = "busy"

// startBusy starts goroutines that never sleep; they end with the process.
func startBusy() {
	for range runtime.GOMAXPROCS(0) {
		go func() {
			for {
			}
		}()
	}
}
