//go:build !race

package engine

// ownerCheck checks in race builds that state is touched by one goroutine alone. Otherwise it costs nothing.
type ownerCheck struct{}

func (*ownerCheck) claim() {}
func (*ownerCheck) check() {}

// acquireWire and releaseWire do in race builds what check_race.go says.
func acquireWire() {}
func releaseWire() {}
