package main

import (
	"log/slog"
	"net"
	"strings"

	"shoal/netio"
	"shoal/netio/trust"
)

// serverTrust are the flags of `shoal server` that say who may come in, and what they may do.
type serverTrust struct {
	TLS        bool   `name:"tls" help:"Let in those alone whom the folder of trust names, and speak TLS 1.3: see 'shoal cert --help'. The default address is ${default_tls_url} then."`
	Rights     string `help:"What each identity may do, a TOML file: see 'shoal rights example'. Without it everybody who is let in may do everything." placeholder:"FILE"`
	Insecure   bool   `help:"Listen without TLS also where other machines reach it: everybody there may use the gateway."`
	trustFlags `embed:""`
}

// guarded reports whether a gate decides about clients.
func (f *serverTrust) guarded() bool { return f.TLS || f.Rights != "" }

// gate returns what decides about clients; nil: everybody may do everything.
func (f *serverTrust) gate(listen []string, log *slog.Logger) (*trust.Gate, error) {
	wanted := f.guarded()
	for _, u := range listen {
		if strings.HasPrefix(u, "tls://") {
			if !f.TLS {
				return nil, usage("--listen %s: give --tls too", u)
			}
			continue
		}
		address, ok := strings.CutPrefix(u, "tcp://")
		if host, _, err := net.SplitHostPort(address); ok && err == nil && !f.Insecure && !onLoopback(host) {
			return nil, usage("--listen %s: other machines reach it, and it is not encrypted; write tls://%s, or give --insecure", u, address)
		}
	}
	if !wanted {
		if f.Trust != "" {
			return nil, usage("--trust says nothing without --tls or --rights")
		}
		return nil, nil
	}
	folder, err := f.folder()
	if err != nil {
		return nil, err
	}
	if f.Rights != "" {
		if err := readableRights(f.Rights); err != nil {
			return nil, err
		}
	}
	gate, err := trust.NewGate(folder, f.Rights, log)
	if err != nil {
		return nil, usage("%w", err)
	}
	return gate, nil
}

// addresses returns what to listen on.
func (f *serverTrust) addresses(listen []string) []string {
	if len(listen) == 0 && f.TLS {
		return []string{defaultTLSURL}
	}
	return listen
}

// defaultTLSURL is where a gateway listens with --tls, and where a client with an identity looks for it.
var defaultTLSURL = "tls://" + strings.TrimPrefix(netio.DefaultURL, "tcp://")

func onLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
