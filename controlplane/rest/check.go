package rest

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
)

// Results of a Check.
const (
	OK   = "ok"
	Warn = "warn"
	Fail = "fail"
)

// check looks at what an operator would look at, mesh by mesh. What only the caller can see (his credential, the
// certificate of this port, his clock) is checked by the command line.
func (s *server) check(q *http.Request) (int, any, error) {
	answer := Checks{Time: time.Now().UTC(), Checks: []Check{}}
	mesh := q.URL.Query().Get("mesh")
	if mesh == "*" {
		mesh = ""
	}
	meshes := sortedMeshes(s.Worlds.Current(), mesh)
	if len(meshes) == 0 && mesh != "" {
		return 0, nil, refuse(http.StatusNotFound, "there is no mesh %s: hauberk get meshes lists them", mesh)
	}
	for _, m := range meshes {
		all := []Check{checkStored(m), s.checkProxies(m)}
		all = append(all, s.checkKeys(m)...)
		for _, looked := range append(all, checkAuthorities(m, answer.Time), checkEndpoints(m), checkPermissions(m)) {
			looked.Mesh = m.Name
			answer.Checks = append(answer.Checks, looked)
		}
	}
	return http.StatusOK, answer, nil
}

// checkStored: this control plane can read all that was written. Where it cannot, it resolves nothing for the mesh.
func checkStored(m *world.Mesh) Check {
	c := Check{Name: "resources", Result: OK, Message: "all can be read"}
	if len(m.Unreadable) == 0 {
		return c
	}
	var bad []string
	for _, u := range m.Unreadable {
		bad = append(bad, fmt.Sprintf("%s cannot be read: %s", u.Key, u.Reason))
	}
	c.Result, c.Message = Fail, strings.Join(bad, "; ")
	c.Fix = "upgrade this control plane to the version that wrote it, or delete it; proxies keep what they have until then"
	return c
}

// checkProxies: every dataplane is connected and runs what it should.
func (s *server) checkProxies(m *world.Mesh) Check {
	c := Check{Name: "dataplanes"}
	var bad []string
	rows := s.dataplanes(m)
	for _, p := range rows {
		switch p.State {
		case stateDisconnected:
			bad = append(bad, p.Dataplane+" is not connected")
			c.Fix = "look at the proxy's own log; hauberk status shows all of them"
		case stateRejected:
			bad = append(bad, fmt.Sprintf("%s refused its configuration: %s", p.Dataplane, p.NACK))
			c.Fix = "correct or take back the resource that the reason names (hauberk inspect dataplanes <name>)"
		case statePending:
			bad = append(bad, fmt.Sprintf("%s runs generation %d and was sent %d", p.Dataplane, p.Generation, p.SentGeneration))
			c.Fix = "wait a second and check again; if it stays so, look at the proxy's log"
		}
	}
	if len(bad) > 0 {
		c.Result, c.Message = Fail, strings.Join(bad, "; ")
		return c
	}
	c.Result, c.Message = OK, fmt.Sprintf("%d connected, all run what they should", len(rows))
	return c
}

// checkAuthorities: no certificate that proxies trust has ended or is about to.
func checkAuthorities(m *world.Mesh, now time.Time) Check {
	c := Check{Name: "authorities", Result: OK}
	count := 0
	var first time.Time
	for _, t := range m.Trust {
		for _, cert := range certificates(t) {
			count++
			if first.IsZero() || cert.NotAfter.Before(first) {
				first = cert.NotAfter
			}
		}
	}
	left := first.Sub(now)
	switch {
	case count == 0:
		c.Result, c.Message = Fail, "the mesh trusts no authority: no proxy can prove who it is"
		c.Fix = "give it a MeshIdentity (hauberk get meshidentities)"
	case m.Identity == nil:
		c.Result, c.Message = Fail, "the mesh has no MeshIdentity: no proxy can join, and those that run fail as their certificates end"
		c.Fix = "apply a MeshIdentity (kind: MeshIdentity, spec: {provider: {type: Bundled}})"
	case left <= 0:
		c.Result, c.Message = Fail, fmt.Sprintf("a trusted authority ended on %s", first.Format(time.DateOnly))
		c.Fix = "replace it in its MeshTrust (hauberk get meshtrusts -o yaml)"
	case left < 30*24*time.Hour:
		c.Result, c.Message = Warn, fmt.Sprintf("a trusted authority ends on %s", first.Format(time.DateOnly))
		c.Fix = "replace it in its MeshTrust (hauberk get meshtrusts -o yaml)"
	default:
		c.Message = fmt.Sprintf("%d trusted, the first ends on %s", count, first.Format(time.DateOnly))
	}
	return c
}

func certificates(t *resource.MeshTrust) []*x509.Certificate {
	var all []*x509.Certificate
	for _, text := range t.Certificates() {
		block, _ := pem.Decode([]byte(text))
		if cert, err := x509.ParseCertificate(block.Bytes); err == nil {
			all = append(all, cert)
		}
	}
	return all
}

// checkEndpoints: somebody answers on every port of every service.
func checkEndpoints(m *world.Mesh) Check {
	c := Check{Name: "services", Result: OK}
	var bad []string
	for _, name := range sortedKeys(m.Services) {
		for _, p := range m.Services[name].Ports {
			ready := 0
			for _, e := range p.Endpoints.List {
				if !e.Unready {
					ready++
				}
			}
			if ready == 0 {
				bad = append(bad, fmt.Sprintf("%s port %d has no ready endpoint", name, p.Port))
			}
		}
	}
	if len(bad) > 0 {
		c.Result, c.Message = Fail, strings.Join(bad, "; ")
		c.Fix = "start its application and its proxy; hauberk status says what the proxies saw"
		return c
	}
	c.Message = fmt.Sprintf("%d, each with a ready endpoint", len(m.Services))
	return c
}

// checkPermissions warns about a mesh in which nobody may call anybody: that is safe, and seldom what is wanted for long.
func checkPermissions(m *world.Mesh) Check {
	n := len(m.Policies["MeshTrafficPermission"])
	if n == 0 {
		return Check{Name: "permissions", Result: Warn, Message: "there is no MeshTrafficPermission: every call is denied",
			Fix: "apply one that allows what should be allowed"}
	}
	return Check{Name: "permissions", Result: OK, Message: fmt.Sprintf("%d", n)}
}
