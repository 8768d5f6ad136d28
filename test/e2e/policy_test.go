package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestSoakPolicyChanges: 200 random policy changes under load. No request fails that the policy in force did not ask to
// fail, and after each apply --wait the new rule holds at once.
func TestSoakPolicyChanges(t *testing.T) {
	soak(t)
	const changes, seed = 200, 1
	m := newMesh(t)
	m.sidecar(dataplane{service: "server", app: newApp(t, "one").addr})
	client := m.sidecar(dataplane{service: "client", outbounds: []string{"server"}})
	url := "http://" + client.outbound["server"] + "/"

	// policyInForce says what an answer may be: while a change is on its way, what the old or the new policy asks for.
	var inForce policyInForce
	m.apply(inForce.change(true, rand.New(rand.NewPCG(seed, seed))))
	inForce.settled()

	ctx, cancel := context.WithCancel(t.Context())
	l := &load{url: url, perSecond: 200}
	var wrong []string
	var mu sync.Mutex
	l.onAnswer = func(a answer) {
		if why := inForce.judge(a); why != "" {
			mu.Lock()
			wrong = append(wrong, why)
			mu.Unlock()
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { l.run(ctx) })

	random := rand.New(rand.NewPCG(seed, seed))
	for i := range changes {
		allowed := random.IntN(2) == 0
		m.apply(inForce.change(allowed, random))
		inForce.settled()
		want := http.StatusForbidden
		if allowed {
			want = http.StatusOK
		}
		if got := statusOf(url); got != want {
			t.Errorf("change %d: right after apply --wait the status is %d, want %d", i, got, want)
		}
	}
	cancel()
	wg.Wait()
	for i, why := range wrong {
		if i == 10 {
			t.Errorf("... and %d more", len(wrong)-10)
			break
		}
		t.Error(why)
	}
	t.Logf("%d requests over %d policy changes", l.sent, changes)
}

// policyInForce remembers when which policy may have been in force.
type policyInForce struct {
	mu      sync.Mutex
	periods []period
}

// period is a time in which requests may be allowed, denied, or (while a change is under way) both.
type period struct {
	from          time.Time
	allow, forbid bool
}

// The ways in which a permission may say yes or no to GET / of the client.
var (
	permits = []string{
		"allow: [{spiffeID: {type: Exact, value: %[1]q}}]",
		"allow: [{spiffeID: {type: Prefix, value: %[2]q}}]",
		"allow: [{methods: [POST]}, {methods: [GET], paths: [{type: Prefix, value: /}]}]",
		"{allow: [{spiffeID: {type: Exact, value: %[1]q}}], deny: [{paths: [{type: Prefix, value: /admin}]}, {methods: [DELETE]}]}",
	}
	refuses = []string{
		"allow: [{methods: [POST]}]",
		"allow: [{spiffeID: {type: Exact, value: %[3]q}}]",
		"deny: [{spiffeID: {type: Exact, value: %[1]q}}]",
		"{allow: [{spiffeID: {type: Prefix, value: %[2]q}}], deny: [{paths: [{type: Exact, value: /}]}]}",
	}
)

// change begins a change and returns its YAML.
func (p *policyInForce) change(allowed bool, random *rand.Rand) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	either := period{from: time.Now(), allow: true, forbid: true}
	if n := len(p.periods); n > 0 {
		before := p.periods[n-1]
		either.allow, either.forbid = before.allow || allowed, before.forbid || !allowed
	}
	never := either.from.Add(24 * time.Hour) // until settled says when
	p.periods = append(p.periods, either, period{from: never, allow: allowed, forbid: !allowed})
	rules := refuses
	if allowed {
		rules = permits
	}
	rule := rules[random.IntN(len(rules))]
	if !strings.HasPrefix(rule, "{") {
		rule = "{" + rule + "}"
	}
	rule = fmt.Sprintf(rule+"%.0[1]s%.0[2]s%.0[3]s", spiffeID("default", "client"), spiffeID("default", ""), spiffeID("default", "nobody"))
	return fmt.Sprintf(`apiVersion: hauberk.io/v1alpha1
kind: MeshTrafficPermission
metadata: {name: random}
spec:
  targetRef: {kind: Dataplane, labels: {hauberk.io/service: server}}
  rules:
  - default: %s
---
# A change that no answer may show.
apiVersion: hauberk.io/v1alpha1
kind: MeshTimeout
metadata: {name: random}
spec:
  to:
  - targetRef: {kind: MeshService, name: server}
    default: {http: {requestTimeout: %ds}}
`, rule, 15+random.IntN(100))
}

// settled notes that the last change has been acknowledged by every proxy.
func (p *policyInForce) settled() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.periods[len(p.periods)-1].from = time.Now()
}

// judge says what is wrong with an answer, or "".
func (p *policyInForce) judge(a answer) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	end := time.Now()
	var allow, forbid bool
	for i, q := range p.periods {
		if q.from.After(end) || (i+1 < len(p.periods) && p.periods[i+1].from.Before(a.at)) {
			continue
		}
		allow, forbid = allow || q.allow, forbid || q.forbid
	}
	switch {
	case a.status == http.StatusOK && allow, a.status == http.StatusForbidden && forbid:
		return ""
	default:
		return fmt.Sprintf("%v: the policies in force allow=%v forbid=%v", a, allow, forbid)
	}
}

// TestRefusalExplainsItself: default deny, then a rule by path; the reason is in the answer, the log, /decisions and why.
func TestRefusalExplainsItself(t *testing.T) {
	m := newMesh(t)
	server := m.sidecar(dataplane{service: "server", app: newApp(t, "one").addr})
	client := m.sidecar(dataplane{service: "client", outbounds: []string{"server"}})
	base := "http://" + client.outbound["server"]

	resp, err := http.Get(base + "/first")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden || resp.Header.Get("x-hauberk-reason") != "permission_denied" || resp.Header.Get("x-request-id") == "" {
		t.Errorf("default deny: got %d, headers %v", resp.StatusCode, resp.Header)
	}

	m.apply(`apiVersion: hauberk.io/v1alpha1
kind: MeshTrafficPermission
metadata: {name: readers}
spec:
  targetRef: {kind: Dataplane, labels: {hauberk.io/service: server}}
  rules:
  - default:
      allow:
      - spiffeID: {type: Prefix, value: "spiffe://default.default.mesh.local/"}
        methods: [GET]
      deny:
      - paths: [{type: Prefix, value: /admin}]
`)
	for path, want := range map[string]int{
		"/": 200, "/administrator": 200, "/admin": 403, "/admin/x": 403, "//admin": 403, "/x/../admin/y": 403, "/%61dmin": 403, "/a%2fb": 400,
	} {
		if got := statusOf(base + path); got != want {
			t.Errorf("GET %s: %d, want %d", path, got, want)
		}
	}

	const rule = "MeshTrafficPermission/readers#rules[0].deny[0]"
	eventually(t, 10*time.Second, "the access log has been written", func() bool { return strings.Contains(server.logs.String(), "/admin/y") })
	for what, text := range map[string]string{
		"access log":  server.logs.String(),
		"/decisions":  server.adminGet("/decisions"),
		"why":         m.hauberk("why", "client", "server", "--path", "/admin/x"),
		"why, unused": m.hauberk("why", "client", "server", "--path", "/admin/never-called"),
	} {
		if !strings.Contains(text, rule) {
			t.Errorf("%s does not name the rule %s:\n%s", what, rule, text)
		}
		if !strings.Contains(text, spiffeID("default", "client")) {
			t.Errorf("%s does not name the caller's identity:\n%s", what, text)
		}
	}
}

// TestMeshesAreIsolated: the same names live in two meshes of one control plane, and a permission of one is none in the other.
func TestMeshesAreIsolated(t *testing.T) {
	m := newMesh(t)
	m.apply("apiVersion: hauberk.io/v1alpha1\nkind: Mesh\nmetadata: {name: other}\n")
	clients := map[string]*sidecar{}
	for _, name := range []string{"default", "other"} {
		m.sidecar(dataplane{mesh: name, service: "server", app: newApp(t, "app-of-"+name).addr})
		clients[name] = m.sidecar(dataplane{mesh: name, service: "client", outbounds: []string{"server"}})
	}
	m.allow("default", "server", "client")
	hc := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	if a := request(hc, "http://"+clients["default"].outbound["server"]+"/"); a.status != 200 || a.app != "app-of-default" {
		t.Errorf("default: %v from %q", a, a.app)
	}
	if a := request(hc, "http://"+clients["other"].outbound["server"]+"/"); a.status != 403 {
		t.Errorf("other: %v; the permission of mesh default must not reach it", a)
	}
	m.allow("other", "server", "client")
	if a := request(hc, "http://"+clients["other"].outbound["server"]+"/"); a.status != 200 || a.app != "app-of-other" {
		t.Errorf("other: %v from %q", a, a.app)
	}
}
