package main

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// withoutRoot lets the rest of the test open files as nobody would; other threads stay root.
func withoutRoot(t *testing.T) {
	t.Helper()
	runtime.LockOSThread() // not unlocked: the thread ends with the test's goroutine
	const nobody = 65534
	if _, err := unix.SetfsuidRetUid(nobody); err != nil {
		t.Fatal(err)
	}
}
