package sim

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"
)

// TestScenarios runs testdata/*.txtar: a comment, resources.yaml, and script.txt, whose lines are
//
//	<dataplane> -> <service>:<port> <method> <path> => <status> [<reason> | from <dataplane>,...] [saw <path>]
//	<dataplane> -> <service>:<port> tcp => from <dataplane>,... | closed
//	down <dataplane> / up <dataplane>     its applications go away and come back
//	apply <file>                          another section of the archive
//
// Each call goes out by the caller's own outbound, over mutual TLS, through the callee's inbound to its application.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			m := newMesh(t, section(archive, "resources.yaml"))
			for line := range strings.Lines(section(archive, "script.txt")) {
				if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
					m.step(t, archive, line)
				}
			}
		})
	}
}

func (m *mesh) step(t *testing.T, archive *txtar.Archive, line string) {
	t.Helper()
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "apply":
		m.apply(section(archive, rest))
	case "down":
		for _, a := range m.proxies[rest].apps {
			a.down()
		}
	case "up":
		for _, a := range m.proxies[rest].apps {
			a.up(t)
		}
	default:
		call, want, ok := strings.Cut(line, " => ")
		if !ok {
			t.Fatalf("%q is no step", line)
		}
		if got := m.call(t, call); !satisfies(got, want) {
			t.Errorf("%s\n got %s\nwant %s", call, got, want)
		}
	}
}

// satisfies compares word by word; a word of want that holds commas takes any of its parts.
func satisfies(got, want string) bool {
	g, w := strings.Fields(got), strings.Fields(want)
	if len(g) < len(w) {
		return false
	}
	for i := range w {
		if !slices.Contains(strings.Split(w[i], ","), g[i]) {
			return false
		}
	}
	return true
}

// call makes "<dataplane> -> <service>:<port> ..." and tells what came of it.
func (m *mesh) call(t *testing.T, call string) string {
	t.Helper()
	words := strings.Fields(call)
	p := m.proxies[words[0]]
	if p == nil {
		t.Fatalf("%s: no such dataplane", call)
	}
	service, port, _ := strings.Cut(words[2], ":")
	l := p.graph.Load().Listeners["outbound|"+service+"|"+port]
	if l == nil {
		t.Fatalf("%s: %s has no outbound to it", call, words[0])
	}
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return p.local.Dial(ctx, "tcp", l.Addr.String())
	}
	if words[3] == "tcp" {
		return tcpCall(t, dial)
	}
	return httpCall(t, dial, words[3], words[4])
}

type dialer func(ctx context.Context, network, addr string) (net.Conn, error)

func httpCall(t *testing.T, dial dialer, method, path string) string {
	t.Helper()
	conn, err := dial(t.Context(), "", "")
	if err != nil {
		return "closed"
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	// Written by hand: net/http would tidy up the path.
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n\r\n", method, path)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return "closed"
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	result := fmt.Sprint(resp.StatusCode)
	if reason := resp.Header.Get("x-hauberk-reason"); reason != "" {
		return result + " " + reason
	}
	return result + " from " + resp.Header.Get("x-app") + " saw " + resp.Header.Get("x-saw-path")
}

func tcpCall(t *testing.T, dial dialer) string {
	t.Helper()
	conn, err := dial(t.Context(), "", "")
	if err != nil {
		return "closed"
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "closed"
	}
	return "from " + strings.TrimSpace(line)
}
