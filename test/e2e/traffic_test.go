package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestTCP carries opaque bytes both ways, and resets a connection that no rule allows, open ones included.
func TestTCP(t *testing.T) {
	m := newMesh(t)
	server := m.sidecar(dataplane{service: "server", app: echo(t), protocol: "tcp"})
	client := m.sidecar(dataplane{service: "client", outbounds: []string{"server"}})
	say := func(conn net.Conn, word string) (string, error) {
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := fmt.Fprintln(conn, word); err != nil {
			return "", err
		}
		return bufio.NewReader(conn).ReadString('\n')
	}
	dial := func() net.Conn {
		conn, err := net.Dial("tcp", client.outbound["server"])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return conn
	}
	if answer, err := say(dial(), "hello"); err == nil {
		t.Errorf("by default it answers %q", answer)
	}
	eventually(t, 10*time.Second, "the server's log names the refusal", func() bool { return strings.Contains(server.logs.String(), "default-deny") })

	m.allow("default", "server", "client")
	open := dial()
	if answer, err := say(open, "hello"); err != nil || answer != "hello\n" {
		t.Fatalf("allowed: %q, %v", answer, err)
	}
	// The end of one direction is not the end of the other.
	if err := open.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(open); err != nil || string(rest) != "bye\n" {
		t.Errorf("after the client's end the server said %q, %v", rest, err)
	}

	open = dial()
	if _, err := say(open, "still there"); err != nil {
		t.Fatal(err)
	}
	m.hauberk("delete", "meshtrafficpermissions", "allow-server")
	if _, err := open.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an open connection outlives the rule that allowed it: %v", err)
	}
}

// echo is a server that says back what it hears, and bye when there is no more.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c)
				fmt.Fprintln(c, "bye")
			}()
		}
	}()
	return l.Addr().String()
}

// TestRollingRestart: each sidecar of a service is restarted in turn, as an upgrade does it, and then the control plane,
// under load. No request fails.
func TestRollingRestart(t *testing.T) {
	m := newMesh(t)
	servers := []*sidecar{
		m.sidecar(dataplane{service: "server", name: "server-1", app: newApp(t, "one").addr}),
		m.sidecar(dataplane{service: "server", name: "server-2", app: newApp(t, "two").addr}),
	}
	client := m.sidecar(dataplane{service: "client", outbounds: []string{"server"}})
	m.allow("default", "server", "client")

	ctx, cancel := context.WithCancel(t.Context())
	reused := &load{url: "http://" + client.outbound["server"] + "/", perSecond: 50}
	fresh := &load{url: reused.url, perSecond: 50, newConn: true}
	var wg sync.WaitGroup
	wg.Go(func() { reused.run(ctx) })
	wg.Go(func() { fresh.run(ctx) })
	for _, s := range servers {
		s.stop()
		s.start()
		s.ready()
		eventually(t, 10*time.Second, "both serve again", func() bool { return len(appsBehind(reused.url, 8)) == 2 })
	}
	m.control.stop()
	m.startControlPlane()
	cancel()
	wg.Wait()
	reused.allGood(t, 50)
	fresh.allGood(t, 50)
}

// TestTelemetry: metrics of both reporters under the names that dashboards know, and an access log in JSON, in a file.
func TestTelemetry(t *testing.T) {
	m := newMesh(t)
	log := filepath.Join(t.TempDir(), "access.json")
	server := m.sidecar(dataplane{service: "server", app: newApp(t, "one").addr, args: []string{"--access-log", log, "--access-log-format", "json"}})
	client := m.sidecar(dataplane{service: "client", outbounds: []string{"server"}})
	m.allow("default", "server", "client")
	url := "http://" + client.outbound["server"] + "/a"
	for range 3 {
		if got := statusOf(url); got != http.StatusOK {
			t.Fatalf("status %d", got)
		}
	}
	for reporter, s := range map[string]*sidecar{"source": client, "destination": server} {
		var line string
		eventually(t, 10*time.Second, reporter+" has counted three requests", func() bool {
			for l := range strings.Lines(s.adminGet("/stats/prometheus")) {
				if strings.HasPrefix(l, "istio_requests_total{") && strings.HasSuffix(l, "} 3\n") {
					line = l
					return true
				}
			}
			return false
		})
		for _, label := range []string{
			`reporter="` + reporter + `"`, `response_code="200"`, `request_protocol="http"`, `connection_security_policy="mutual_tls"`,
			`source_workload="client"`, `destination_workload="server"`,
			`source_principal="` + spiffeID("default", "client") + `"`, `destination_principal="` + spiffeID("default", "server") + `"`,
		} {
			if !strings.Contains(line, label) {
				t.Errorf("%s: no %s in %s", reporter, label, line)
			}
		}
	}
	var entry map[string]any
	eventually(t, 10*time.Second, "the access log is in the file", func() bool {
		text, _ := os.ReadFile(log)
		first, _, ok := strings.Cut(string(text), "\n")
		return ok && json.Unmarshal([]byte(first), &entry) == nil
	})
	for key, want := range map[string]any{"method": "GET", "path": "/a", "response_code": float64(200), "protocol": "HTTP/2"} {
		if entry[key] != want {
			t.Errorf("access log: %s is %v, want %v in %v", key, entry[key], want, entry)
		}
	}
}
