package interop

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// comparisons are all requests that Envoy and this proxy are asked alike. A case that is not here because the two differ on
// purpose is in docs/proxy.md.
func comparisons(b *backends) []comparison {
	all := []comparison{
		{"", "exact path", get("routing", "/exact", "X-Is: routed by host")},
		{"", "no such host", raw("routing", "GET /backend/x?y=1 HTTP/1.1\nHost: elsewhere\n\n", 1)},
		{"", "no such route", raw("routing", "GET /none HTTP/1.1\nHost: elsewhere\n\n", 1)},
		{"", "direct 404", raw("routing", "GET /missing-cluster HTTP/1.1\nHost: elsewhere\n\n", 1)},
		{"", "https redirect", raw("routing", "GET /https/x?y HTTP/1.1\nHost: host.example.com:80\n\n", 1)},
		{"", "prefix redirect", raw("routing", "GET /strip/x?y HTTP/1.1\nHost: host.example.com\n\n", 1)},
		{"", "host rewrite", raw("routing", "GET /host HTTP/1.1\nHost: host.example.com\n\n", 1)},
		{"", "HTTP/1.0", raw("asis", "GET / HTTP/1.0\nHost: a\n\n", 1)},
		{"", "pipelined", raw("asis", strings.Repeat("GET /1 HTTP/1.1\nHost: a\n\n", 3), 3)},
		{"", "HEAD", raw("asis", "HEAD /x HTTP/1.1\nHost: a\n\n", 1)},
		{"", "connection close", raw("asis", "GET / HTTP/1.1\nHost: a\nConnection: close\n\n", 1)},
		{"", "hop by hop", raw("asis", "GET / HTTP/1.1\nHost: a\nConnection: x-private\nX-Private: 1\nKeep-Alive: 5\nTE: trailers\n\n", 1)},
		{"", "length", raw("asis", "POST / HTTP/1.1\nHost: a\nContent-Length: 5\n\nhello", 1)},
		{"", "chunks", raw("asis", "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\n", 1)},
		{"", "cookie", get("asis", "/", "Cookie: a=1", "Accept: text/html")},
		{"", "no host", raw("asis", "GET / HTTP/1.1\n\n", 1)},
		{"", "two lengths", raw("asis", "POST / HTTP/1.1\nHost: a\nContent-Length: 5\nContent-Length: 6\n\nhello", 1)},
		{"", "length and chunks", raw("asis", "POST / HTTP/1.1\nHost: a\nContent-Length: 5\nTransfer-Encoding: chunked\n\n0\n\n", 1)},
		{"", "bad chunk", raw("asis", "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\n\nxyz\n", 1)},
		{"", "space in name", raw("asis", "GET / HTTP/1.1\nHost: a\nBad Name: 1\n\n", 1)},
		{"", "absolute form", raw("asis", "GET http://a.example.com/path?q HTTP/1.1\nHost: a.example.com\n\n", 1)},
		{"", "OPTIONS", raw("asis", "OPTIONS /x HTTP/1.1\nHost: a\n\n", 1)},
		{"", "expect", raw("asis", "POST / HTTP/1.1\nHost: a\nExpect: 100-continue\nContent-Length: 2\n\nhi", 2)},
		{"", "forwarded for", get("asis", "/", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "X-Envoy-Max-Retries: 9")},
		{"", "h2c", h2c("asis", "GET", "/x?y=1", "")},
		{"", "h2c body", h2c("asis", "POST", "/x", strings.Repeat("x", 100_000))},
		{"", "h2c to HTTP/2", h2c("upstream2", "POST", "/x", "hello")},
		{"", "HTTP/1.1 to HTTP/2", raw("upstream2", "POST /x HTTP/1.1\nHost: a\nContent-Length: 2\n\nhi", 1)},
		{"", "overwrite", get("edits", "/overwrite", "X-Kind: blue", "X-Secret: 1")},
		{"", "absent", get("edits", "/absent", "X-Secret: 1")},
		{"", "present", get("edits", "/absent", "X-Kind: blue")},
		{"", "edge", fromAfar("/", "X-Forwarded-For: 1.2.3.4", "X-Forwarded-Proto: https", "X-Envoy-Max-Retries: 9")},
		{"", "slow", get("timeouts", "/slow")},
		{"", "dead", get("timeouts", "/dead")},
		{"", "no endpoint", get("timeouts", "/empty")},
		{"", "retry", func(s *side) string { return get("timeouts", "/retry")(s) + get("timeouts", "/retry")(s) }},
		{"", "websocket", websocket("upgrades")},
		{"", "websocket not allowed", websocket("noupgrades")},
		{"", "CONNECT", connect("upgrades")},
		{"", "CONNECT not allowed", connect("noupgrades")},
		{"", "tcp", func(s *side) string { return echoed(s.dial("tcp"), "some bytes") }},
		{"", "PROXY v1", raw("proxyproto", "PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\nGET / HTTP/1.1\nHost: a\n\n", 1)},
		{"", "PROXY bad", raw("proxyproto", "PROXY TCP4 192.0.2.1 1000 80\nGET / HTTP/1.1\nHost: a\n\n", 1)},
		{"", "PROXY missing", raw("proxyproto", "GET / HTTP/1.1\nHost: a\n\n", 1)},
		{"", "access log", accessLog},
	}
	for _, path := range []string{
		"/exact", "/exact?q", "/Exact", "/old/x", "/prefix/a/b?c=1", "/item/42", "/item/x", "/admin", "/admin/x", "/administrator", "/x?q=abc", "/x?q=b",
	} {
		all = append(all, comparison{"", "routing " + path, raw("routing", "GET "+path+" HTTP/1.1\nHost: v1.api.example.com\n\n", 1)})
	}
	for _, path := range []string{
		"/a/../b", "/a//b", "/a%2Fb", "/a%2fb/../c", "/%61", "/a/./b/", "/a%5cb", "/a?x=/../y", "/a;b=c", "/%7Euser", "/a%20b",
	} {
		all = append(all,
			comparison{"", "normalised " + path, fromAfar(path)},
			comparison{"", "as it is " + path, get("asis", path)})
	}
	for _, path := range []string{"/a/../b", "/a%2Fb", "/a%2fb/../c", "/%61", "/a%252Fb", "/a//b", "/a%20b"} {
		all = append(all, comparison{"", "unescaped " + path, get("unescape", path)})
	}
	all = append(all, comparison{"", "header match", raw("routing", "GET /z HTTP/1.1\nHost: api.example.com\nX-Kind: blue\n\n", 1)})
	for i := range all {
		all[i].file = "http.yaml"
	}
	return append(all,
		comparison{"tls.yaml", "exact name", b.overTLS("sni", "one.example.com", false, false)},
		comparison{"tls.yaml", "exact name, HTTP/2", b.overTLS("sni", "one.example.com", true, false)},
		comparison{"tls.yaml", "wildcard", b.overTLS("sni", "two.example.com", false, false)},
		comparison{"tls.yaml", "no such name", b.overTLS("sni", "elsewhere", false, false)},
		comparison{"tls.yaml", "mutual", b.overTLS("sni", "mutual.example.org", false, true)},
		comparison{"tls.yaml", "mutual, without a certificate", b.overTLS("sni", "mutual.example.org", false, false)},
		comparison{"tls.yaml", "plaintext", raw("sni", "GET / HTTP/1.1\nHost: a\n\n", 1)},
		comparison{"tls.yaml", "to TLS", get("out", "/trusted")},
		comparison{"tls.yaml", "to TLS of somebody else", get("out", "/distrusted")},
	)
}

// fromAfar asks the edge as somebody who is not on this host: of those Envoy says that they come from the host's own address.
func fromAfar(path string, headers ...string) func(*side) string {
	return raw("edge", "PROXY TCP4 192.0.2.1 192.0.2.2 1000 80\nGET "+path+" HTTP/1.1\nHost: a.example.com\n"+lines(headers)+"\n", 1)
}

func websocket(listener string) func(*side) string {
	return func(s *side) string {
		c := s.dial(listener)
		defer c.Close()
		fmt.Fprint(c, "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n")
		return upgraded(c, "GET")
	}
}

func connect(listener string) func(*side) string {
	return func(s *side) string {
		c := s.dial(listener)
		defer c.Close()
		fmt.Fprint(c, "CONNECT a.example.com:443 HTTP/1.1\r\nHost: a.example.com:443\r\n\r\n")
		return upgraded(c, "CONNECT")
	}
}

// upgraded reads the head of a response and, if it agrees, sends bytes and reads them back.
func upgraded(c io.ReadWriter, method string) string {
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		return "closed without a response"
	}
	if resp.StatusCode != http.StatusSwitchingProtocols && resp.StatusCode != http.StatusOK {
		return response(resp)
	}
	fmt.Fprint(c, "hello")
	back := make([]byte, 5)
	_, err = io.ReadFull(r, back)
	return fmt.Sprintf("%d %s %q %v", resp.StatusCode, fields(resp.Header), back, err)
}

// accessLog asks and waits for the line, which both write later.
func accessLog(s *side) string {
	get("log", "/logged?x", "User-Agent: me")(s)
	raw("log", "POST /up HTTP/1.1\nHost: a\nContent-Length: 5\n\nhello", 1)(s)
	poll := time.NewTicker(20 * time.Millisecond) // a file: there is nothing to wait on
	defer poll.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-poll.C {
		text, err := os.ReadFile(s.log)
		if err == nil && strings.Count(string(text), "\n") == 2 {
			return string(text)
		}
	}
	return "no line"
}
