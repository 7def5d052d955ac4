//go:build !linux

package main

import "testing"

// withoutRoot is for Linux, where one thread alone can be somebody else.
func withoutRoot(t *testing.T) { t.Skip("root may read everything") }
