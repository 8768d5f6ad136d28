package listener_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// An application may listen on a Unix socket: it is served, found dead, asked by its probe, and found again.
func TestUnixSocketApplication(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sock")
	var dead atomic.Bool
	n := sockets()
	dial := n.dial
	n.dial = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr == path && (network != "unix" || dead.Load()) {
			return nil, fmt.Errorf("dial %s %s: nobody listens", network, addr)
		}
		return dial(ctx, network, addr)
	}
	unix := n
	unix.listen = func(t testing.TB) net.Listener {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	var probed atomic.Int64
	backend(t, unix, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			probed.Add(1)
			return
		}
		_, _ = io.Copy(w, r.Body)
	})
	p := start(t, n, proxyOptions{direction: telemetry.Inbound, cluster: func(s *upstream.Spec) {
		s.Endpoints = []upstream.EndpointSpec{{Unix: path}}
		s.Probe = upstream.Probe{Kind: upstream.ProbeHTTP, Path: "/healthz"}
	}})
	c := p.client()
	get := func() int {
		resp, err := c.Get("http://app/")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := get(); got != 200 {
		t.Fatalf("status %d", got)
	}
	if s := p.clusters[0].Endpoints()[0]; s.Address != path || s.ConnectionsTotal != 1 {
		t.Errorf("%+v", s)
	}
	if r := p.rec.wait(t, 1)[0]; r.UpstreamHost.IsValid() || r.Status != 200 {
		t.Errorf("%+v", r)
	}
	dead.Store(true)
	p.clusters[0].MarkDown(p.clusters[0].Pick(nil), "test")
	if got := get(); got != 503 {
		t.Errorf("status %d while the application is dead", got)
	}
	dead.Store(false)
	eventually(t, "the probe to pass", func() bool { return !p.clusters[0].Endpoints()[0].Down })
	if got := get(); got != 200 || probed.Load() != 1 {
		t.Errorf("status %d after %d probes", got, probed.Load())
	}
}
