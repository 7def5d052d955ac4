package netio

import (
	"context"
	"crypto/tls"
	"net"
)

// Peer is the other side of a connection, as the gateway knows it.
type Peer struct {
	// Identity is the name that GatewayConfig.Authenticate gave the client; empty: none.
	Identity string
	Addr     string // of a unix socket without a name, the gateway's own
	// UID is the user of the client's process, on a unix socket. UIDKnown tells whether the system has said so.
	UID      uint32
	UIDKnown bool
	// TLS is what the handshake has agreed on; nil: the connection is plain. It must not be changed.
	TLS *tls.ConnectionState
}

// Private reports whether nobody but the client and the gateway can read what they say: inside TLS, and on a unix socket.
func (p *Peer) Private() bool { return p.TLS != nil || p.UIDKnown }

// PeerFrom returns the client on whose behalf a subroutine runs; the zero Peer outside of one.
func PeerFrom(ctx context.Context) Peer {
	h, ok := ctx.Value(clientKey).(*handler)
	if !ok {
		if h, ok = ctx.Value(handlerKey).(*handler); !ok {
			return Peer{}
		}
	}
	if p := h.client.Load(); p != nil {
		return *p
	}
	return Peer{}
}

// askUID notes the user of the process at the other end of a unix socket.
func (p *Peer) askUID(conn net.Conn) {
	u, ok := conn.(*net.UnixConn)
	if !ok {
		return
	}
	raw, err := u.SyscallConn()
	if err != nil {
		return
	}
	var failed error
	err = raw.Control(func(fd uintptr) { p.UID, failed = peerUID(int(fd)) })
	p.UIDKnown = err == nil && failed == nil
}

// authorize asks whether the client may run a subroutine; sub is nil where there is none of that name. The caller holds no lock
// but recvMu.
func (h *handler) authorize(sub *subroutine, name []byte, shape Shape) error {
	ask := h.gateway.config.Authorize
	if ask == nil {
		return nil
	}
	if sub != nil { // its name is there already
		return ask(h.client.Load(), sub.info.Name, shape)
	}
	return ask(h.client.Load(), string(name), shape)
}
