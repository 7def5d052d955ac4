//go:build !linux

package probe

import "net"

// newConnector returns the connector of this system.
func newConnector() connector {
	d := &net.Dialer{FallbackDelay: -1, KeepAlive: -1}
	return newDialConnector(d.DialContext)
}
