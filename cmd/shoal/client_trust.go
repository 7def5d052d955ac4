package main

import (
	"os"
	"strings"

	"shoal/netio"
	"shoal/netio/trust"
)

// clientTrust are the flags of `shoal client` that say who it is, and how it knows the gateway.
type clientTrust struct {
	Identity   string `help:"Who this client is: the name of a certificate in the folder of trust. The default address is ${default_tls_url} then." env:"SHOAL_IDENTITY" placeholder:"NAME"`
	AcceptNew  bool   `help:"Write down the key of a gateway that is not known yet, and trust it from then on."`
	trustFlags `embed:""`
}

// tokenVariable has the bearer token of a client, which no command line should show.
const tokenVariable = "SHOAL_TOKEN"

// inTLS reports whether the gateway is to be reached by TLS where no address says so.
func (f *clientTrust) inTLS() bool {
	return f.Identity != "" || f.AcceptNew || os.Getenv(tokenVariable) != ""
}

// secure sets what a configuration needs to dial url.
func (f *clientTrust) secure(url string, config *netio.SwarmConfig) error {
	config.Credential = []byte(os.Getenv(tokenVariable))
	address, ok := strings.CutPrefix(url, "tls://")
	if !ok {
		if len(config.Credential) > 0 && !strings.HasPrefix(url, "unix://") {
			config.Credential = nil // it would cross the network as it is
		}
		return nil
	}
	folder, err := f.folder()
	if err != nil {
		return err
	}
	config.TLS, err = trust.ClientConfig{Folder: folder, Identity: f.Identity, Address: address, AcceptNew: f.AcceptNew}.TLS()
	if err != nil {
		return usage("%w", err)
	}
	return nil
}
