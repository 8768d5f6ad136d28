package e2e

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"time"
)

// TestFailover: three backends under load; an application is killed, then a sidecar. Only requests in flight there may
// fail; after the first failure none goes there until it answers again; each is back within 2 s of its return.
func TestFailover(t *testing.T) {
	m := newMesh(t)
	apps := map[string]*app{}
	sidecars := map[string]*sidecar{}
	for _, n := range []string{"one", "two", "three"} {
		apps[n] = newApp(t, n)
		sidecars[n] = m.sidecar(dataplane{service: "server", name: "server-" + n, app: apps[n].addr})
	}
	client := m.sidecar(dataplane{service: "client", outbounds: []string{"server"}})
	m.allow("default", "server", "client")
	url := "http://" + client.outbound["server"] + "/"
	eventually(t, 10*time.Second, "all three answer", func() bool { return len(appsBehind(url, 12)) == 3 })

	kill := map[string]struct{ down, up func() }{
		"one": {apps["one"].down, apps["one"].up},
		"two": {sidecars["two"].kill, sidecars["two"].start},
	}
	for victim, do := range kill {
		t.Run(victim, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			l := &load{url: url, perSecond: 100}
			var wg sync.WaitGroup
			wg.Go(func() { l.run(ctx) })
			time.Sleep(time.Second) // load from before
			died := time.Now()
			do.down()
			time.Sleep(3 * time.Second)
			do.up()
			returned := time.Now()
			if victim == "two" {
				sidecars["two"].ready()
				returned = time.Now()
			}
			eventually(t, 2*time.Second, victim+" is used again within 2 s of its return", func() bool { return appsBehind(url, 12)[victim] })
			t.Logf("%s: back after %v", victim, time.Since(returned).Round(time.Millisecond))
			cancel()
			wg.Wait()
			for _, a := range l.unexpected {
				// In flight: sent before the death, or in the moment of it.
				if a.at.After(died.Add(100 * time.Millisecond)) {
					t.Errorf("%v: sent %v after the death, not in flight", a, a.at.Sub(died).Round(time.Millisecond))
				}
			}
			t.Logf("%d requests, %d failed in flight, by application %v", l.sent, len(l.unexpected), l.byApp)
		})
	}
}

// appsBehind asks n times and tells which applications answered.
func appsBehind(url string, n int) map[string]bool {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	seen := map[string]bool{}
	for range n {
		if a := request(client, url); a.status == http.StatusOK {
			seen[a.app] = true
		}
	}
	return seen
}
