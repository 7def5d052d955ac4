package probe

import (
	"bufio"
	"html"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strings"
)

// HTTP is what a port answered to a request for /.
type HTTP struct {
	Status int    `json:"status,omitempty"`
	Server string `json:"server,omitempty"` // the header of this name
	Title  string `json:"title,omitempty"`  // of the page, where it is among the first 64 KiB
	Error  string `json:"error,omitempty"`  // why there was no answer
}

// askHTTP asks for / and reads 64 KiB at most. Redirects are answers like others.
func askHTTP(conn net.Conn, target string) *HTTP {
	host := target
	if a, err := netip.ParseAddr(target); err == nil && a.Is6() {
		host = "[" + target + "]"
	}
	request := "GET / HTTP/1.1\r\nHost: " + host + "\r\nUser-Agent: shoal\r\nAccept: */*\r\nConnection: close\r\n\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		return &HTTP{Error: bounded(err.Error(), maxText)}
	}
	in := bufio.NewReader(&limitedConn{Conn: conn, left: httpLimit})
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		return &HTTP{Error: bounded(err.Error(), maxText)}
	}
	defer answer.Body.Close()
	body, _ := io.ReadAll(io.LimitReader(answer.Body, httpLimit)) // what came before an error may hold the title
	return &HTTP{Status: answer.StatusCode, Server: bounded(answer.Header.Get("Server"), maxText), Title: title(body)}
}

var titlePattern = regexp.MustCompile(`(?is)<title[^>]*>(.*?)</title`)

// title returns the title of a page in one line.
func title(page []byte) string {
	match := titlePattern.FindSubmatch(page)
	if match == nil {
		return ""
	}
	return bounded(strings.Join(strings.Fields(html.UnescapeString(string(match[1]))), " "), maxText)
}
