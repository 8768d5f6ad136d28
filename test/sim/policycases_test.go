package sim

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/tls"
)

// permissive lets the cases' anonymous callers in as far as the permissions.
const permissive = `---
apiVersion: hauberk.io/v1alpha1
kind: MeshTLS
metadata: {name: sim-permissive}
spec:
  rules:
  - default: {mode: Permissive}
`

// TestPolicyCases makes each call of policy/permission/testdata for real: the policy's own test says what the oracle
// thinks of it, this one what the wire does.
func TestPolicyCases(t *testing.T) {
	files, err := filepath.Glob("../../policy/permission/testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	calls := 0
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			m := newMesh(t, section(archive, "resources.yaml")+permissive)
			for line := range strings.Lines(section(archive, "calls.txt")) {
				call, want, ok := strings.Cut(strings.TrimSpace(line), " => ")
				if !ok || strings.HasPrefix(call, "#") {
					continue
				}
				calls++
				if got, want := m.permissionCall(t, call), verdictOf(call, want); got != want {
					t.Errorf("%s\n got %s\nwant %s", call, got, want)
				}
			}
		})
	}
	t.Logf("%d calls", calls)
}

// refused is what becomes of a caller whom no authority of the mesh vouches for: no rule is asked.
const refused = "refused in the handshake"

// verdictOf is what the oracle's answer looks like from outside.
func verdictOf(call, oracle string) string {
	if strings.Contains(call, "spiffe://") && !strings.Contains(call, "spiffe://default.default.mesh.local/") && strings.HasPrefix(oracle, "denied") {
		return refused
	}
	return oracle
}

// permissionCall makes "<dataplane> http <caller> <method> <path>" or "<dataplane> tcp <caller>", where caller is a SPIFFE
// ID or "anonymous", straight at the inbound.
func (m *mesh) permissionCall(t *testing.T, call string) string {
	t.Helper()
	words := strings.Fields(call)
	p := m.proxies[words[0]]
	if p == nil {
		t.Fatalf("%s: no such dataplane", call)
	}
	dial := m.dialInbound(t, p, words[2])
	if words[1] == "tcp" {
		return p.tcpVerdict(t, dial)
	}
	id := fmt.Sprintf("sim-%s-%d", t.Name(), time.Now().UnixNano())
	req, err := http.NewRequest(words[3], "http://cart"+words[4], nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("x-request-id", strings.ReplaceAll(id, "/", "-"))
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return dial() }}}
	resp, err := client.Do(req)
	if err != nil {
		// In TLS 1.3 the caller hears of a refused handshake when it reads or writes next, as an alert or as a closed
		// connection. The proxy knows which it was.
		p.records.awaitHandshake(t, words[2])
		return refused
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	r := p.records.await(t, func(r *telemetry.Record) bool { return r.RequestID == req.Header.Get("x-request-id") })
	return verdict(resp.StatusCode == http.StatusForbidden, &r)
}

func verdict(denied bool, r *telemetry.Record) string {
	said := "allowed by "
	if denied {
		said = "denied by "
	}
	said += r.Policy
	if r.Rule != r.Policy {
		said += " " + r.Rule
	}
	if r.ShadowRule != "" {
		said += ", shadow " + r.ShadowRule
	}
	return said
}

func (p *proxy) tcpVerdict(t *testing.T, dial func() (net.Conn, error)) string {
	t.Helper()
	p.records.mu.Lock()
	before := len(p.records.all)
	p.records.mu.Unlock()
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	line, err := bufio.NewReader(conn).ReadString('\n')
	conn.Close()
	if err == nil && strings.TrimSpace(line) != p.name {
		t.Fatalf("the application says %q", line)
	}
	r := p.records.await(t, func(*telemetry.Record) bool { return len(p.records.all) > before })
	return verdict(err != nil, &r)
}

// dialInbound connects to a proxy's only inbound as a caller.
func (m *mesh) dialInbound(t *testing.T, p *proxy, caller string) func() (net.Conn, error) {
	t.Helper()
	var addr string
	for name, l := range p.graph.Load().Listeners {
		if strings.HasPrefix(name, "inbound|") {
			addr = l.Addr.String()
		}
	}
	if caller == "anonymous" {
		return func() (net.Conn, error) { return p.dial(t.Context(), "tcp", addr) }
	}
	id := &tls.Identity{}
	id.Set(m.svid(caller))
	return func() (net.Conn, error) {
		raw, err := p.dial(t.Context(), "tcp", addr)
		if err != nil {
			return nil, err
		}
		return tlsClient(raw, tls.ClientConfig(id, p.trust, []string{p.identity.ID()}, "sim"))
	}
}

func section(a *txtar.Archive, name string) string {
	for _, f := range a.Files {
		if f.Name == name {
			return string(f.Data)
		}
	}
	return ""
}
