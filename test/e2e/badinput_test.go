package e2e

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// TestBadInput sends each listener of a mesh what no honest client sends. Every connection ends in a clean refusal; no
// process dies, and none keeps a descriptor or a goroutine.
func TestBadInput(t *testing.T) {
	m := newMesh(t)
	server := m.sidecar(dataplane{service: "server", app: newApp(t, "one").addr})
	client := m.sidecar(dataplane{service: "client", outbounds: []string{"server"}})
	m.allow("default", "server", "client")
	url := "http://" + client.outbound["server"] + "/"
	if got := statusOf(url); got != 200 {
		t.Fatalf("before: status %d", got)
	}

	listeners := map[string]struct {
		addr  string
		owner *process
	}{
		"inbound (mutual TLS)": {server.inbound, server.process},
		"outbound (plain)":     {client.outbound["server"], client.process},
		"admin of a proxy":     {client.admin, client.process},
		"API":                  {m.api, m.control},
		"xDS":                  {m.xds, m.control},
	}
	before := map[*process]resources{}
	for _, l := range listeners {
		before[l.owner] = resourcesOf(t, l.owner)
	}

	for name, l := range listeners {
		for input, send := range badInputs() {
			t.Run(name+"/"+input, func(t *testing.T) {
				conn, err := net.Dial("tcp", l.addr)
				if err != nil {
					t.Fatalf("dial: %v", err)
				}
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
				send(conn)
				// What comes back is a refusal (an HTTP 4xx, a TLS alert) or nothing, then the end.
				answer, _ := io.ReadAll(io.LimitReader(conn, 1<<20))
				if bytes.HasPrefix(answer, []byte("HTTP/1.1 2")) {
					t.Errorf("bad input was answered %.60q", answer)
				}
				select {
				case <-l.owner.done:
					t.Fatalf("%s died\n%s", l.owner.name, l.owner.logs.tail(40))
				default:
				}
			})
		}
	}

	if got := statusOf(url); got != 200 {
		t.Errorf("after: status %d", got)
	}
	for p, b := range before {
		var now resources
		eventually(t, 20*time.Second, fmt.Sprintf("%s has no more descriptors than before (%+v)", p.name, b), func() bool {
			now = resourcesOf(t, p)
			return now.descriptors <= b.descriptors+4 // pooled connections between the proxies
		})
		if strings.Contains(p.logs.String(), "panic") || strings.Contains(p.logs.String(), "goroutine ") {
			t.Errorf("%s: its log speaks of a panic\n%s", p.name, p.logs.tail(60))
		}
	}
	for _, s := range []*sidecar{server, client} {
		eventually(t, 20*time.Second, s.name+" has no more goroutines than an idle proxy", func() bool {
			return goroutines(t, s) < 60
		})
	}
}

// badInputs writes to the connection; each leaves the sending side closed or silent so that the listener must decide.
func badInputs() map[string]func(net.Conn) {
	closeWrite := func(c net.Conn) { _ = c.(*net.TCPConn).CloseWrite() }
	return map[string]func(net.Conn){
		"nothing at all": closeWrite,
		"random bytes": func(c net.Conn) {
			_, _ = io.CopyN(c, rand.Reader, 64<<10)
			closeWrite(c)
		},
		"a TLS hello cut short": func(c net.Conn) {
			_, _ = c.Write([]byte{0x16, 0x03, 0x01, 0x02, 0x00, 0x01, 0x00, 0x01, 0xfc, 0x03, 0x03, 1, 2, 3})
			closeWrite(c)
		},
		"1 MB headers": func(c net.Conn) {
			_, _ = fmt.Fprintf(c, "GET / HTTP/1.1\r\nhost: x\r\nx-long: %s\r\n\r\n", strings.Repeat("a", 1<<20))
			closeWrite(c)
		},
		"slow bytes": func(c net.Conn) {
			for _, b := range []byte("GET / HT") {
				_, _ = c.Write([]byte{b})
				time.Sleep(20 * time.Millisecond)
			}
			closeWrite(c)
		},
		"two lengths": func(c net.Conn) {
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello")
			closeWrite(c)
		},
		"a length and chunks": func(c net.Conn) {
			_, _ = io.WriteString(c, "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n")
			closeWrite(c)
		},
	}
}

// resources of a process, as the kernel counts them.
type resources struct{ descriptors int }

func resourcesOf(t *testing.T, p *process) resources {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", p.cmd.Process.Pid))
	if err != nil {
		t.Fatalf("%s: %v", p.name, err)
	}
	return resources{descriptors: len(entries)}
}

// goroutines reads the proxy's own count from its metrics.
func goroutines(t *testing.T, s *sidecar) int {
	t.Helper()
	for line := range strings.Lines(s.adminGet("/stats/prometheus")) {
		var n int
		if _, err := fmt.Sscanf(line, "go_goroutines %d", &n); err == nil {
			return n
		}
	}
	t.Fatal("/stats/prometheus has no go_goroutines")
	return 0
}
