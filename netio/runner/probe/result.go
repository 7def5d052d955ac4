package probe

import (
	"encoding/base64"
	"encoding/json"
	"net/netip"
	"time"
	"unicode/utf8"
)

// Result is the answer to one probe. Its JSON form has these members, of which those that say nothing are left out:
//
//	target         string  as the set of targets writes it
//	address        string  what was connected to, where the target is a name
//	port           number  not for icmp
//	protocol       string  tcp or icmp
//	answer         string  open, closed, filtered, unreachable or not_tried
//	reason         string  why, where the answer does not say it
//	attempts       number  starts, where there was more than one
//	elapsed_ms     number  from the start to the answer
//	banner         string  what the port said first; banner_base64 where it is not UTF-8
//	tls            object  version, names, issuer, not_after, error
//	http           object  status, server, title, error
//	service_error  string  why the reading of the service ended early
type Result struct {
	Position uint64 // in the order of the scan
	Target   string
	Address  netip.Addr // zero where the target is no name, or has no address
	Port     uint16     // 0 for icmp
	Protocol Protocol
	Answer   Answer
	Reason   string
	Attempts int
	Elapsed  time.Duration
	Service  *Service // what was read from an open port, where that was asked for

	More bool // another result is there already: who writes these need not flush yet
}

// resultJSON is the form of a Result; the details of the wire are part of it.
type resultJSON struct {
	Target    string   `json:"target"`
	Address   string   `json:"address,omitempty"`
	Port      uint16   `json:"port,omitempty"`
	Protocol  Protocol `json:"protocol"`
	Answer    Answer   `json:"answer"`
	Elapsed   float64  `json:"elapsed_ms"`
	Reason    string   `json:"reason,omitempty"`
	Attempts  int      `json:"attempts,omitempty"`
	*services `json:",omitempty"`
}

// services is the form of a Service.
type services struct {
	Banner   *string `json:"banner,omitempty"`
	Banner64 *string `json:"banner_base64,omitempty"`
	TLS      *TLS    `json:"tls,omitempty"`
	HTTP     *HTTP   `json:"http,omitempty"`
	Error    string  `json:"service_error,omitempty"`
}

func (s *Service) form() *services {
	if s == nil {
		return nil
	}
	f := &services{TLS: s.TLS, HTTP: s.HTTP, Error: s.Error}
	switch {
	case len(s.Banner) == 0:
	case utf8.Valid(s.Banner):
		text := string(s.Banner)
		f.Banner = &text
	default:
		text := base64.StdEncoding.EncodeToString(s.Banner)
		f.Banner64 = &text
	}
	return f
}

func (f *services) service() (*Service, error) {
	if f == nil {
		return nil, nil
	}
	s := &Service{TLS: f.TLS, HTTP: f.HTTP, Error: f.Error}
	if f.Banner != nil {
		s.Banner = []byte(*f.Banner)
	} else if f.Banner64 != nil {
		var err error
		if s.Banner, err = base64.StdEncoding.DecodeString(*f.Banner64); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// MarshalJSON returns the JSON form.
func (r Result) MarshalJSON() ([]byte, error) {
	return json.Marshal(resultJSON{Target: r.Target, Address: addressText(r.Address), Port: r.Port, Protocol: r.Protocol,
		Answer: r.Answer, Elapsed: millis(r.Elapsed), Reason: r.Reason, Attempts: r.Attempts, services: r.Service.form()})
}

// UnmarshalJSON reads the JSON form; the position is not in it.
func (r *Result) UnmarshalJSON(b []byte) error {
	j := resultJSON{services: &services{}}
	if err := json.Unmarshal(b, &j); err != nil {
		return err
	}
	address, err := parseAddress(j.Address)
	if err != nil {
		return err
	}
	service := j.services
	if *service == (services{}) {
		service = nil
	}
	s, err := service.service()
	if err != nil {
		return err
	}
	*r = Result{Target: j.Target, Address: address, Port: j.Port, Protocol: j.Protocol, Answer: j.Answer, Reason: j.Reason,
		Attempts: j.Attempts, Elapsed: duration(j.Elapsed), Service: s}
	return nil
}

func addressText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func parseAddress(text string) (netip.Addr, error) {
	if text == "" {
		return netip.Addr{}, nil
	}
	return netip.ParseAddr(text)
}

// result makes a Result of a finding.
func (p *plan) result(f *finding) Result {
	target, d := p.at(f.position)
	r := Result{Position: f.position, Target: p.text(target), Port: uint16(d), Protocol: d.protocol(), Answer: f.answer,
		Attempts: 1, Elapsed: f.elapsed}
	if f.answer == NotTried {
		r.Attempts = 0
	}
	if m := f.more; m != nil {
		r.Address, r.Reason, r.Service = m.address, m.reason, m.service
		r.Attempts = max(r.Attempts, m.attempts)
	}
	return r
}
