package e2e

import (
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestRefusedGeneration: a proxy that cannot bind refuses the whole generation and says why; apply --wait fails on it, and
// once the port is free the proxy gets there by itself.
func TestRefusedGeneration(t *testing.T) {
	m := newMesh(t)
	m.sidecar(dataplane{service: "server", app: newApp(t, "one").addr})
	client := m.describe(dataplane{service: "client", outbounds: []string{"server"}})
	taken, err := net.Listen("tcp", client.outbound["server"])
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	client.start()

	var status string
	eventually(t, 20*time.Second, "status names the address that is taken", func() bool {
		status, _, _ = m.try("", "status")
		return strings.Contains(status, "client-1") && strings.Contains(status, client.outbound["server"])
	})
	if got := statusOf("http://" + client.admin + "/ready"); got != http.StatusServiceUnavailable {
		t.Errorf("/ready: %d, want 503", got)
	}
	_, errs, code := m.try(`apiVersion: hauberk.io/v1alpha1
kind: MeshTimeout
metadata: {name: slow}
spec:
  targetRef: {kind: Dataplane, labels: {hauberk.io/service: client}}
  to:
  - targetRef: {kind: Mesh}
    default: {http: {requestTimeout: 17s}}
`, "apply", "-f", "-", "--wait")
	if code != 1 || !strings.Contains(errs, "client-1") {
		t.Errorf("apply --wait: exit %d, want 1 and the dataplane's name:\n%s", code, errs)
	}
	if _, _, code := m.try("", "check"); code != 1 {
		t.Errorf("check: exit %d, want 1", code)
	}

	taken.Close()
	eventually(t, 90*time.Second, "the proxy is ready", func() bool { return statusOf("http://"+client.admin+"/ready") == http.StatusOK })
	m.allow("default", "server", "client")
	if got := statusOf("http://" + client.outbound["server"] + "/"); got != http.StatusOK {
		t.Errorf("a call: %d", got)
	}
}

// TestTwoProxiesOfOneName: whoever comes second, with the same name and a good token, is refused and told; the first one
// stays in the mesh, also when the second one leaves.
func TestTwoProxiesOfOneName(t *testing.T) {
	m := newMesh(t)
	m.sidecar(dataplane{service: "server", app: newApp(t, "first").addr})
	client := m.sidecar(dataplane{service: "client", outbounds: []string{"server"}})
	m.allow("default", "server", "client")
	url := "http://" + client.outbound["server"] + "/"

	second := m.describe(dataplane{service: "server", app: newApp(t, "second").addr})
	second.start()
	eventually(t, 20*time.Second, "the second one says that the name is taken", func() bool {
		return strings.Contains(second.logs.String(), "AlreadyExists")
	})
	if apps := appsBehind(url, 6); !apps["first"] || apps["second"] {
		t.Errorf("served by %v", apps)
	}
	second.stop()
	if out := m.hauberk("get", "dataplanes"); !strings.Contains(out, "server-1") {
		t.Errorf("the second one took the first one's registration with it:\n%s", out)
	}
	if apps := appsBehind(url, 6); !apps["first"] {
		t.Errorf("afterwards served by %v", apps)
	}
}
