package netio

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"shoal/netio/internal/record"
	"shoal/proto"
)

// secure shakes hands over a new connection. It returns the connection to close in any case.
func (s *Swarm) secure(ctx context.Context, conn net.Conn, to target) (net.Conn, error) {
	config := s.config.TLS
	if config == nil {
		config = &tls.Config{}
	}
	if config.ServerName == "" {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(to.address) // newTarget has looked
	}
	secured, err := record.Dial(ctx, conn, config)
	if err == nil {
		return secured, nil
	}
	var untrusted *tls.CertificateVerificationError
	var plain tls.RecordHeaderError
	switch {
	case errors.As(err, &untrusted):
		return conn, fmt.Errorf("%w: %w", ErrUntrusted, untrusted.Err)
	case errors.As(err, &plain):
		return conn, fmt.Errorf("%w, or one that does not speak TLS: %w", proto.ErrNotShoal, err)
	}
	return conn, err
}
