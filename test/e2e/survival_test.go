package e2e

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestSoakControlPlaneKilled: the data plane outlives the control plane (DESIGN promise 3). Killed with -9 under load,
// nothing fails for 30 s; restarted from bolt, proxies reconnect, nothing is issued anew, no endpoint flaps.
func TestSoakControlPlaneKilled(t *testing.T) {
	soak(t)
	m := newMesh(t)
	m.sidecar(dataplane{service: "server", name: "server-1", app: newApp(t, "one").addr})
	m.sidecar(dataplane{service: "server", name: "server-2", app: newApp(t, "two").addr})
	client := m.sidecar(dataplane{service: "client", outbounds: []string{"server"}})
	m.allow("default", "server", "client")
	certs := client.adminGet("/certs")
	generations := strings.Count(client.logs.String(), "configuration in force")

	ctx, cancel := context.WithCancel(t.Context())
	reused := &load{url: "http://" + client.outbound["server"] + "/", perSecond: 100}
	fresh := &load{url: reused.url, perSecond: 100, newConn: true}
	var wg sync.WaitGroup
	wg.Go(func() { reused.run(ctx) })
	wg.Go(func() { fresh.run(ctx) })

	time.Sleep(2 * time.Second) // load before, as an operator would have it
	m.control.kill()
	time.Sleep(30 * time.Second) // the figure
	m.startControlPlane()
	eventually(t, 30*time.Second, "all three proxies have reconnected", func() bool {
		out, _, code := m.try("", "status", "-o", "json")
		return code == 0 && strings.Count(out, `"connected": true`) == 3
	})
	time.Sleep(35 * time.Second) // beyond the lease of 30 s, counted from the start: nobody may have been withdrawn
	cancel()
	wg.Wait()
	for _, event := range []string{"svid issued", "withdrawn"} {
		if log := m.control.logs.String(); strings.Contains(log, event) {
			t.Errorf("the restarted control plane's log has %q\n%s", event, log)
		}
	}

	reused.allGood(t, 5000)
	fresh.allGood(t, 5000)
	if now := client.adminGet("/certs"); now != certs {
		t.Errorf("the client's certificate changed although it was still valid\nbefore: %s\nafter:  %s", certs, now)
	}
	if now := strings.Count(client.logs.String(), "configuration in force"); now != generations {
		t.Errorf("the restart pushed %d new configurations to the client: an endpoint flapped\n%s", now-generations, client.logs.tail(30))
	}
	for _, service := range []string{"server-1", "server-2"} {
		if out := m.hauberk("get", "dataplanes", service); !strings.Contains(out, service) {
			t.Errorf("%s was withdrawn by the restart:\n%s", service, out)
		}
	}
	// Both applications kept getting work, up to the end.
	if reused.byApp["one"] == 0 || reused.byApp["two"] == 0 {
		t.Errorf("an endpoint was lost: %v", reused.byApp)
	}
}

// TestRestartWithoutControlPlane: a proxy whose state dir holds the last good config serves without a control plane.
func TestRestartWithoutControlPlane(t *testing.T) {
	m := newMesh(t)
	m.sidecar(dataplane{service: "server", app: newApp(t, "one").addr})
	client := m.sidecar(dataplane{service: "client", outbounds: []string{"server"}})
	m.allow("default", "server", "client")
	url := "http://" + client.outbound["server"] + "/"
	if got := statusOf(url); got != 200 {
		t.Fatalf("before the restart: status %d", got)
	}

	m.control.kill()
	client.stop()
	client.start()
	client.ready()
	if got := statusOf(url); got != 200 {
		t.Errorf("after a restart without a control plane: status %d", got)
	}
}

// TestSoakRotation: leaves live 10 s, so each proxy's identity is renewed every 5 s while traffic flows.
func TestSoakRotation(t *testing.T) {
	soak(t)
	m := newMesh(t)
	m.apply(`apiVersion: hauberk.io/v1alpha1
kind: MeshIdentity
metadata: {name: identity}
spec:
  provider:
    type: Bundled
    bundled:
      autogenerate: {enabled: true}
      certificateParameters: {expiry: 10s}
`)
	m.sidecar(dataplane{service: "server", app: newApp(t, "one").addr})
	client := m.sidecar(dataplane{service: "client", outbounds: []string{"server"}})
	m.allow("default", "server", "client")
	certs := client.adminGet("/certs")

	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	reused := &load{url: "http://" + client.outbound["server"] + "/", perSecond: 100}
	fresh := &load{url: reused.url, perSecond: 100, newConn: true}
	var wg sync.WaitGroup
	wg.Go(func() { reused.run(ctx) })
	wg.Go(func() { fresh.run(ctx) })
	wg.Wait()

	reused.allGood(t, 5000)
	fresh.allGood(t, 5000)
	if client.adminGet("/certs") == certs {
		t.Error("the certificate was never renewed: this test proved nothing")
	}
}
