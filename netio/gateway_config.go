package netio

import (
	"context"
	"crypto/tls"
	"log/slog"
	"time"
)

// GatewayConfig is what a gateway can be told. Zero means the default, everywhere.
type GatewayConfig struct {
	Listen []string // URLs, tcp://host:port (port 0: any free one), tls://host:port or unix:///path; default DefaultURL

	Workers     int // tasks that run or wait at once; default 1024
	MaxHandlers int // connections, and lanes that wait for theirs; default 9/10 of the descriptor limit

	Window       int   // unanswered tasks of one connection; default 65536
	WindowBytes  int64 // bytes of the bodies of these; default 64 MiB
	FrameLimit   int   // bytes of the largest frame taken; default 4 MiB
	SendBuffer   int   // unacknowledged bytes kept for one connection before its work is held back; default 8 MiB
	Streams      int   // open streams of one connection, and aborted ones whose subroutine has not returned; default 4096
	MaxStreams   int   // the same of all; default 65536
	StreamCredit int   // bytes that a client may send on a stream before they are consumed; default 512 KiB
	// ConnectionCredit is the same of all streams of one connection together. Where it is short, streams that are not read hold up
	// the others of their client. Default: no such bound.
	ConnectionCredit int

	HandshakeTimeout time.Duration // for the first frame of a connection; default 10 s
	IdleTimeout      time.Duration // a connection silent for longer is closed (clients ping); default 60 s
	WriteTimeout     time.Duration // a peer that reads nothing for longer is cut off; default 30 s
	SessionTimeout   time.Duration // how long a lane without a connection is remembered; default 60 s
	RetryAfter       time.Duration // what clients are told to wait that find no room (ErrFull, ErrBusy); default 250 ms
	DrainTimeout     time.Duration // how long ListenAndServe waits for running tasks at its end; default 30 s

	// Successor is the URL of the gateway to which clients go when this one drains. Default: they come back to the address that
	// they were given.
	Successor string

	// Compress is how what is sent is compressed where it shrinks and the client wants it. Clients may compress too then, either
	// way. Default none: compressed frames are neither sent nor taken.
	Compress     Compression
	AllowStop    bool          // clients may stop the gateway
	Interceptors []Interceptor // around each subroutine, the first outermost
	Logger       *slog.Logger  // default: none

	// TLS is for tls:// addresses, which need it: TLS 1.3 alone, without session tickets. It needs a certificate, or a function
	// that gives one; what it asks of clients' certificates is up to it.
	TLS *tls.Config

	// Authenticate says who a client is that has said hello, before Admit is asked. An error refuses it, as Admit's does. A
	// session belongs to the identity that began it: to another one it does not exist. It runs as Admit does. Default: nobody has
	// an identity.
	Authenticate func(ctx context.Context, c Client) (identity string, err error)

	// Authorize is asked about each frame of tasks and each stream, before anything of it runs; an error refuses them with
	// ErrNotAllowed and its text. It is called on event loops: it must not block, and neither change nor keep p. Default:
	// everything is allowed.
	Authorize func(p *Peer, subroutine string, shape Shape) error

	// Admit is asked about each connection that has said hello, before it is welcome. An error refuses it: the client gets its
	// text, and gives up with ErrNotAllowed, or tries again where the error matches ErrFull or ErrDraining. It runs on a
	// goroutine of its own; the context ends after HandshakeTimeout, and with the connection. Default: everybody is welcome.
	Admit func(ctx context.Context, c Client) error
}

// Client is what a gateway knows of a connection that asks to be welcome.
type Client struct {
	RemoteAddr string // of a unix socket without a name, the gateway's own
	Peer       Peer   // its Identity is set when Admit is asked
	Resumes    bool   // it says that it goes on with a lane that this gateway knows
	Credential []byte // SwarmConfig.Credential of the client; nil: it gives none
}
