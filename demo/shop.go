package demo

import (
	"fmt"
	"strings"
)

// member is one dataplane of the shop with the service behind it.
type member struct {
	dataplane, service, version string
	calls                       []string // services

	appPort, listenPort, adminPort int
	outbounds                      map[string]int // local port by service
}

// shopper is the caller from outside: a sidecar without a service behind it.
const shopper = "shopper"

func shop() []*member {
	return []*member{
		{dataplane: "catalog-1", service: catalog, version: "v1"},
		{dataplane: "catalog-2", service: catalog, version: "v2"},
		{dataplane: "cart-1", service: cart, version: "v1", calls: []string{catalog}},
		{dataplane: "payments-1", service: payments, version: "v1"},
		{dataplane: "frontend-1", service: frontend, version: "v1", calls: []string{catalog, cart, payments}},
		{dataplane: "shopper-1", service: shopper, version: "v1", calls: []string{frontend}},
	}
}

// claim takes the ports that a member needs.
func (m *member) claim(p *ports) error {
	want := []*int{&m.adminPort}
	if m.service != shopper {
		want = append(want, &m.appPort, &m.listenPort)
	}
	for _, port := range want {
		n, err := p.reserve()
		if err != nil {
			return err
		}
		*port = n
	}
	m.outbounds = map[string]int{}
	for _, service := range m.calls {
		n, err := p.reserve()
		if err != nil {
			return err
		}
		m.outbounds[service] = n
	}
	return nil
}

// resource is the Dataplane as a user would write it.
func (m *member) resource() string {
	var b strings.Builder
	fmt.Fprintf(&b, `apiVersion: hauberk.io/v1alpha1
kind: Dataplane
metadata: {name: %s, labels: {hauberk.io/service: %s, version: %s}}
spec:
  address: 127.0.0.1
`, m.dataplane, m.service, m.version)
	if m.service != shopper {
		fmt.Fprintf(&b, `  inbounds:
  - {name: http, port: 80, listenPort: %d, targetPort: %d, protocol: http, probe: {http: {path: /healthz}, interval: 1s}}
`, m.listenPort, m.appPort)
	}
	if len(m.calls) > 0 {
		b.WriteString("  outbounds:\n")
		for _, service := range m.calls {
			fmt.Fprintf(&b, "  - {port: %d, backendRef: {kind: MeshService, name: %s, port: 80}}\n", m.outbounds[service], service)
		}
	}
	return b.String()
}

// permissions let the shop work, and nothing else: all that they do not allow is refused, and payments' administration
// is refused whatever anybody may allow.
const permissions = `apiVersion: hauberk.io/v1alpha1
kind: MeshTrafficPermission
metadata: {name: frontend}
spec:
  targetRef: {kind: Dataplane, labels: {hauberk.io/service: frontend}}
  rules:
  - default:
      allow:
      - spiffeID: {type: Exact, value: spiffe://default.default.mesh.local/workload/shopper}
        methods: [GET]
---
apiVersion: hauberk.io/v1alpha1
kind: MeshTrafficPermission
metadata: {name: catalog}
spec:
  targetRef: {kind: Dataplane, labels: {hauberk.io/service: catalog}}
  rules:
  - default:
      allow:
      - spiffeID: {type: Exact, value: spiffe://default.default.mesh.local/workload/frontend}
      - spiffeID: {type: Exact, value: spiffe://default.default.mesh.local/workload/cart}
---
apiVersion: hauberk.io/v1alpha1
kind: MeshTrafficPermission
metadata: {name: cart}
spec:
  targetRef: {kind: Dataplane, labels: {hauberk.io/service: cart}}
  rules:
  - default:
      allow:
      - spiffeID: {type: Exact, value: spiffe://default.default.mesh.local/workload/frontend}
---
apiVersion: hauberk.io/v1alpha1
kind: MeshTrafficPermission
metadata: {name: payments}
spec:
  targetRef: {kind: Dataplane, labels: {hauberk.io/service: payments}}
  rules:
  - default:
      deny:
      - paths: [{type: Prefix, value: /admin}]
      allow:
      - spiffeID: {type: Exact, value: spiffe://default.default.mesh.local/workload/frontend}
`
