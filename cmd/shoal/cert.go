package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"shoal/netio/trust"
)

// trustFlags name the folder of keys and certificates.
type trustFlags struct {
	Trust string `help:"The folder of keys and certificates; default: shoal in the user's folder for configuration." placeholder:"DIR"`
}

// folder returns the folder of keys and certificates.
func (f *trustFlags) folder() (string, error) {
	if f.Trust != "" {
		return f.Trust, nil
	}
	folder, err := trust.DefaultFolder()
	if err != nil {
		return "", usage("%w; name one with --trust DIR", err)
	}
	return folder, nil
}

// option is the folder as a command line has it.
func (f *trustFlags) option() string {
	if f.Trust == "" {
		return ""
	}
	return " --trust " + f.Trust
}

// certCommand is `shoal cert`.
type certCommand struct {
	trustFlags `embed:""`

	Init   certInitCommand   `cmd:"" help:"Make a CA and the gateway's certificate, once."`
	Issue  certIssueCommand  `cmd:"" help:"Make the certificate of a client, or a token."`
	Show   certShowCommand   `cmd:"" help:"Print what a certificate says, and its key as the file pins has it."`
	Pin    certPinCommand    `cmd:"" help:"Let the key of a certificate in, without a CA."`
	Revoke certRevokeCommand `cmd:"" help:"Let the certificate of a client in no more."`
}

// Help is what --help adds.
func (c *certCommand) Help() string {
	return `Examples:
  shoal cert init && shoal cert issue alice
  shoal server --tls --ssh --rights rights.toml
  shoal client --identity alice exec -w web1 -- uptime

A client on another machine needs ca.pem and NAME.pem of the folder, in its own folder, with mode 0600 for NAME.pem: the key is in it.`
}

// written prints the names of files that were made, and what to type next.
func written(p *process, files []string, next string, args ...any) error {
	for _, f := range files {
		if _, err := fmt.Fprintln(p.stdout, f); err != nil {
			return err
		}
	}
	fmt.Fprintf(p.stderr, next+"\n", args...)
	return nil
}

// certError makes an error of what a person can mend.
func certError(err error) error {
	if errors.Is(err, trust.ErrNoFolder) || errors.Is(err, trust.ErrBadName) || errors.Is(err, trust.ErrExists) || errors.Is(err, os.ErrNotExist) {
		return usage("%w", err)
	}
	return err
}

// certInitCommand is `shoal cert init`.
type certInitCommand struct {
	Host   []string `help:"A name or address that clients will reach the gateway by, beside localhost and this machine's name; may be repeated." placeholder:"HOST"`
	Rotate bool     `help:"Make a new CA beside the one that is there, which stays trusted: issue certificates anew, then take it out of ca.pem."`
}

// Run makes the CA.
func (c *certInitCommand) Run(p *process, cert *certCommand) error {
	folder, err := cert.folder()
	if err != nil {
		return err
	}
	if c.Rotate {
		files, err := trust.Rotate(folder)
		if err != nil {
			return certError(err)
		}
		return written(p, files, "next: copy ca.pem to the clients, then shoal cert%s issue --gateway, and --again for each client", cert.option())
	}
	files, err := trust.Init(folder, c.Host)
	if err != nil {
		return certError(err)
	}
	return written(p, files, "next: shoal cert%s issue alice", cert.option())
}

// certIssueCommand is `shoal cert issue`.
type certIssueCommand struct {
	Name    string   `arg:"" optional:"" help:"The client's identity."`
	Again   bool     `help:"Make it anew where there is one."`
	Token   bool     `help:"Make a token, printed once, in place of a certificate."`
	Gateway bool     `help:"Make the gateway's own certificate anew."`
	Host    []string `help:"With --gateway: as for 'shoal cert init'." placeholder:"HOST"`
}

// Run makes a certificate or a token.
func (c *certIssueCommand) Run(p *process, cert *certCommand) error {
	folder, err := cert.folder()
	if err != nil {
		return err
	}
	switch {
	case c.Gateway == (c.Name != ""):
		return usage("name the client, as in 'shoal cert issue alice', or give --gateway")
	case c.Gateway:
		files, err := trust.IssueGateway(folder, c.Host)
		if err != nil {
			return certError(err)
		}
		return written(p, files, "a gateway that runs takes it by itself")
	case c.Token:
		secret, file, err := trust.AddToken(folder, c.Name)
		if err != nil {
			return certError(err)
		}
		return written(p, []string{secret}, "its hash is in %s; next: SHOAL_TOKEN=… shoal client call square 12", file)
	}
	files, err := trust.Issue(folder, c.Name, c.Again)
	if err != nil {
		return certError(err)
	}
	return written(p, files, "next, where rights.toml says what %[1]s may do (shoal rights example):\n  shoal server --ssh --tls%[2]s --rights rights.toml\n  shoal client --identity %[1]s%[2]s exec -w 'web[1-3]' -- uptime",
		c.Name, cert.option())
}

// certShowCommand is `shoal cert show`.
type certShowCommand struct {
	Name string `arg:"" optional:"" help:"The client's identity; default: gateway." default:"gateway"`
}

// Run prints a certificate.
func (c *certShowCommand) Run(p *process, cert *certCommand) error {
	folder, err := cert.folder()
	if err != nil {
		return err
	}
	leaf, err := trust.Show(folder, c.Name)
	if err != nil {
		return certError(err)
	}
	names := append([]string{leaf.Subject.CommonName}, leaf.DNSNames...)
	for _, ip := range leaf.IPAddresses {
		names = append(names, ip.String())
	}
	_, err = fmt.Fprintf(p.stdout, "names\t%s\nsigned by\t%s\nserial\t%x\ngood until\t%s\npin\t%s %s\n", strings.Join(names, " "), leaf.Issuer.CommonName,
		leaf.SerialNumber, leaf.NotAfter.Format(time.RFC3339), trust.Fingerprint(leaf), c.Name)
	return err
}

// certPinCommand is `shoal cert pin`.
type certPinCommand struct {
	Name string `arg:"" help:"The client's identity."`
	File string `arg:"" help:"A file with its certificate, of any CA or self-signed."`
}

// Run pins the key of a certificate.
func (c *certPinCommand) Run(p *process, cert *certCommand) error {
	folder, err := cert.folder()
	if err != nil {
		return err
	}
	data, err := os.ReadFile(c.File)
	if err != nil {
		return usage("%w", err)
	}
	for {
		var block *pem.Block
		if block, data = pem.Decode(data); block == nil {
			return usage("%s: no certificate in it", filepath.Base(c.File))
		}
		if block.Type == "CERTIFICATE" {
			leaf, err := x509.ParseCertificate(block.Bytes)
			if err != nil {
				return usage("%s: %w", c.File, err)
			}
			file, err := trust.Pin(folder, c.Name, leaf)
			if err != nil {
				return certError(err)
			}
			return written(p, []string{file}, "next: say in the file of rights what %s may do", c.Name)
		}
	}
}

// certRevokeCommand is `shoal cert revoke`.
type certRevokeCommand struct {
	Name string `arg:"" help:"The client's identity."`
}

// Run revokes a certificate.
func (c *certRevokeCommand) Run(p *process, cert *certCommand) error {
	folder, err := cert.folder()
	if err != nil {
		return err
	}
	file, err := trust.Revoke(folder, c.Name)
	if err != nil {
		return certError(err)
	}
	return written(p, []string{file}, "a gateway that runs cuts %s off within a second; a token of that name is a line of the file tokens", c.Name)
}
