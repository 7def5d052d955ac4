package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"

	"shoal/bench/internal/workload"
	"shoal/netio/table"
)

// net/http, in plain text: a message is the body of a POST, and its answer that of the response. HTTP/1.1 has one request at
// a time on a connection, so it gets a connection for each message in flight, as it would in a program; HTTP/2 has one
// connection for each connection of the load.

const (
	httpTask = "/task"
	httpFeed = "/feed"
)

func serveHTTP(l load, t *table.Table) (string, error) {
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+httpTask, func(w http.ResponseWriter, r *http.Request) {
		message := make([]byte, max(0, r.ContentLength))
		if _, err := io.ReadFull(r.Body, message); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		_, _ = w.Write(workload.AppendAnswer(make([]byte, 0, l.Batch*(4+workload.AnswerSize)), message, l.Batch, t))
	})
	mux.HandleFunc("GET "+httpFeed, func(w http.ResponseWriter, _ *http.Request) {
		chunk := make([]byte, chunkSize)
		for ident := uint64(0); ; ident++ {
			putIdent(chunk, ident)
			if _, err := w.Write(chunk); err != nil {
				return
			}
		}
	})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	s := &http.Server{Handler: mux, Protocols: &http.Protocols{}, HTTP2: &http.HTTP2Config{MaxConcurrentStreams: openMessages}}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	go func() { _ = s.Serve(ln) }()
	return "http://" + ln.Addr().String(), nil
}

// httpClients returns n clients with connections of their own: of HTTP/2 with one each, of HTTP/1.1 with up to so many.
func httpClients(n, conns int, http2 bool) []*http.Client {
	clients := make([]*http.Client, n)
	for i := range clients {
		t := &http.Transport{Protocols: &http.Protocols{}, DisableCompression: true}
		if http2 {
			t.Protocols.SetUnencryptedHTTP2(true)
			t.HTTP2 = &http.HTTP2Config{StrictMaxConcurrentRequests: true}
		} else {
			t.Protocols.SetHTTP1(true)
			t.MaxConnsPerHost, t.MaxIdleConnsPerHost = conns, conns
		}
		clients[i] = &http.Client{Transport: t}
	}
	return clients
}

func dialHTTP1(url string, l load) (driver, error) {
	return newHTTPCallers(url, l, httpClients(1, l.messages(), false)), nil
}

func dialHTTP2(url string, l load) (driver, error) {
	return newHTTPCallers(url, l, httpClients(l.Conns, 1, true)), nil
}

func newHTTPCallers(url string, l load, clients []*http.Client) driver {
	return newCallers(l, func(user int, message []byte) ([]byte, error) {
		r, err := clients[user%len(clients)].Post(url+httpTask, "application/octet-stream", bytes.NewReader(message))
		if err != nil {
			return nil, err
		}
		defer r.Body.Close()
		if r.StatusCode != http.StatusOK {
			return nil, fmt.Errorf("status %s", r.Status)
		}
		return io.ReadAll(r.Body)
	})
}

func dialHTTP1Feed(url string, l load) (driver, error) {
	return newHTTPFeeds(url, l, httpClients(l.Conns, 1, false)), nil
}

func dialHTTP2Feed(url string, l load) (driver, error) {
	return newHTTPFeeds(url, l, httpClients(l.Conns, 1, true)), nil
}

func newHTTPFeeds(url string, l load, clients []*http.Client) driver {
	return &feeds{l.Conns, func(i int, take func([]byte) bool) error {
		r, err := clients[i].Get(url + httpFeed)
		if err != nil {
			return err
		}
		defer r.Body.Close()
		for chunk := make([]byte, chunkSize); ; {
			if _, err := io.ReadFull(r.Body, chunk); err != nil {
				return err
			}
			if !take(chunk) {
				return nil
			}
		}
	}}
}
