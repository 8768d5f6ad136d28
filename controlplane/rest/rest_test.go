package rest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/controlplane/report"
	"github.com/hauberk-mesh/hauberk/controlplane/store"
	"github.com/hauberk-mesh/hauberk/controlplane/why"
	"github.com/hauberk-mesh/hauberk/controlplane/world"
	"github.com/hauberk-mesh/hauberk/policy/all"
)

func TestStrangersLearnNothing(t *testing.T) {
	f := newFixture(t)
	for _, authorization := range []string{"", "Bearer", "Bearer ", "Bearer wrong", "Basic " + goodToken, goodToken} {
		for _, path := range []string{"/", Prefix + "/meshes", Prefix + "/version", Prefix + "/nothing", "/metrics", Prefix + "/apply"} {
			w := f.as(authorization, "GET", path, "")
			if w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" {
				t.Errorf("%q %s: %d, WWW-Authenticate %q", authorization, path, w.Code, w.Header().Get("WWW-Authenticate"))
			}
		}
	}
	if log := f.logs.String(); strings.Contains(log, goodToken) {
		t.Errorf("a token is in the log: %s", log)
	}
}

func TestPathsAndMethods(t *testing.T) {
	f := newFixture(t)
	f.refused("GET", "/gadgets", "", http.StatusNotFound)
	f.refused("GET", "/a/b/c", "", http.StatusNotFound)
	if e := f.refused("GET", "/meshtimeoutz", "", http.StatusNotFound); !strings.Contains(e.Message, "did you mean meshtimeouts?") {
		t.Errorf("no suggestion: %s", e.Message)
	}
	w := f.do("PATCH", "/meshes/default", "")
	if w.Code != http.StatusMethodNotAllowed || !strings.Contains(w.Header().Get("Allow"), "PUT") || !strings.Contains(w.Body.String(), `"error"`) {
		t.Errorf("PATCH: %d, Allow %q, %s", w.Code, w.Header().Get("Allow"), w.Body)
	}
	if w := f.do("POST", "/apply", strings.Repeat(" ", MaxBody+1)); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a body over the limit: %d", w.Code)
	}
}

const timeout = `apiVersion: hauberk.io/v1alpha1
kind: MeshTimeout
metadata: {name: slow%s}
spec:
  targetRef: {kind: Mesh}
  to:
  - targetRef: {kind: Mesh}
    default: {idleTimeout: %s}
`

func TestApply(t *testing.T) {
	f := newFixture(t)
	outcomes := func(body string) []string {
		t.Helper()
		var out []string
		for _, r := range decode[Applied](t, f.ok("POST", "/apply", body)).Resources {
			out = append(out, r.Kind+"/"+r.Name+" "+r.Outcome)
		}
		return out
	}
	two := fmt.Sprintf(timeout, "", "1m") + "---\n" + fmt.Sprintf(timeout, "er", "2m")
	if d := cmp.Diff([]string{"MeshTimeout/slow created", "MeshTimeout/slower created"}, outcomes(two)); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]string{"MeshTimeout/slow unchanged", "MeshTimeout/slower configured"},
		outcomes(fmt.Sprintf(timeout, "", "1m")+"---\n"+fmt.Sprintf(timeout, "er", "3m"))); d != "" {
		t.Error(d)
	}
	applied := decode[Applied](t, f.ok("POST", "/apply", fmt.Sprintf(timeout, "", "4m")))
	if !slices.Equal(applied.Warnings, nil) && len(applied.Warnings) != 0 {
		t.Errorf("warnings of a mesh that the world does not have yet: %v", applied.Warnings)
	}
	f.mesh()
	applied = decode[Applied](t, f.ok("POST", "/apply", fmt.Sprintf(timeout, "", "5m")))
	if d := cmp.Diff([]string{"looked at 1"}, applied.Warnings); d != "" {
		t.Error(d)
	}
}

func TestApplyIsAllOrNothing(t *testing.T) {
	f := newFixture(t)
	bad := fmt.Sprintf(timeout, "", "1m") + "---\n" + fmt.Sprintf(timeout, "er", "soon") + "---\nkind: Gadget\n"
	e := f.refused("POST", "/apply", bad, http.StatusBadRequest)
	var where []string
	for _, p := range e.Problems {
		where = append(where, fmt.Sprintf("%d %s", p.Document, p.Field))
		if p.Message == "" {
			t.Errorf("a problem without words: %+v", p)
		}
	}
	for _, want := range []string{"2 spec.to[0].default.idleTimeout", "3 kind"} {
		if !slices.Contains(where, want) {
			t.Errorf("no problem at %q in %v", want, where)
		}
	}
	f.refused("GET", "/meshtimeouts/slow", "", http.StatusNotFound)
}

func TestMeshMustExist(t *testing.T) {
	f := newFixture(t)
	elsewhere := strings.Replace(fmt.Sprintf(timeout, "", "1m"), "{name: slow}", "{name: slow, labels: {hauberk.io/mesh: other}}", 1)
	e := f.refused("POST", "/apply", elsewhere, http.StatusBadRequest)
	if len(e.Problems) != 1 || e.Problems[0].Document != 1 || !strings.Contains(e.Problems[0].Message, "other") {
		t.Errorf("problems: %+v", e.Problems)
	}
	f.ok("POST", "/apply", elsewhere+"---\napiVersion: hauberk.io/v1alpha1\nkind: Mesh\nmetadata: {name: other}\n")
	f.ok("GET", "/meshtimeouts/slow?mesh=other", "")
	f.ok("GET", "/meshidentities/identity?mesh=other", "") // came with the mesh
	f.refused("GET", "/meshtimeouts/slow", "", http.StatusNotFound)
	f.refused("GET", "/meshtimeouts?mesh=absent", "", http.StatusNotFound)
}

func TestOptimisticConcurrency(t *testing.T) {
	f := newFixture(t)
	f.ok("PUT", "/meshtimeouts/slow", fmt.Sprintf(timeout, "", "1m"))
	first := decode[struct{ Metadata api.Meta }](t, f.ok("GET", "/meshtimeouts/slow", ""))
	f.ok("PUT", "/meshtimeouts/slow", fmt.Sprintf(timeout, "", "2m"))
	stale := strings.Replace(fmt.Sprintf(timeout, "", "3m"), "{name: slow}", "{name: slow, resourceVersion: '"+first.Metadata.ResourceVersion+"'}", 1)
	f.refused("PUT", "/meshtimeouts/slow", stale, http.StatusConflict)
}

func TestPut(t *testing.T) {
	f := newFixture(t)
	if w := f.do("PUT", "/meshtimeouts/slow", fmt.Sprintf(timeout, "", "1m")); w.Code != http.StatusCreated {
		t.Errorf("first PUT: %d", w.Code)
	}
	if w := f.do("PUT", "/meshtimeouts/slow", fmt.Sprintf(timeout, "", "1m")); w.Code != http.StatusOK {
		t.Errorf("second PUT: %d", w.Code)
	}
	f.refused("PUT", "/meshtimeouts/other", fmt.Sprintf(timeout, "", "1m"), http.StatusBadRequest)
	f.refused("PUT", "/meshtimeouts/slow?mesh=absent", fmt.Sprintf(timeout, "", "1m"), http.StatusBadRequest)
	f.refused("PUT", "/meshtimeouts/slow", fmt.Sprintf(timeout, "", "1m")+"---\n"+fmt.Sprintf(timeout, "er", "1m"), http.StatusBadRequest)
}

func TestReadOnlyKinds(t *testing.T) {
	f := newFixture(t)
	f.refused("POST", "/apply", "apiVersion: hauberk.io/v1alpha1\nkind: Token\nmetadata: {name: x}\nspec: {type: user, user: x}\n", http.StatusBadRequest)
	f.refused("DELETE", "/identityrevocations/x", "", http.StatusMethodNotAllowed)
}

func TestDelete(t *testing.T) {
	f := newFixture(t)
	f.ok("PUT", "/meshtimeouts/slow", fmt.Sprintf(timeout, "", "1m"))
	f.ok("DELETE", "/meshtimeouts/slow", "")
	f.refused("DELETE", "/meshtimeouts/slow", "", http.StatusNotFound)
	f.refused("DELETE", "/meshes/absent", "", http.StatusNotFound)
	f.ok("POST", "/apply", "apiVersion: hauberk.io/v1alpha1\nkind: Dataplane\nmetadata: {name: a}\nspec: {address: 127.0.0.1}\n")
	if e := f.refused("DELETE", "/meshes/default", "", http.StatusConflict); !strings.Contains(e.Message, "still has 1 dataplane") {
		t.Errorf("message: %s", e.Message)
	}
	f.mesh()
	f.statuses = []ProxyStatus{{Dataplane: "a", Connected: true}}
	if e := f.refused("DELETE", "/dataplanes/a", "", http.StatusConflict); !strings.Contains(e.Message, "is connected: stop it") {
		t.Errorf("message: %s", e.Message)
	}
	if e := f.refused("DELETE", "/meshservices/server", "", http.StatusConflict); !strings.Contains(e.Message, "is generated") {
		t.Errorf("message: %s", e.Message)
	}
	f.refused("DELETE", "/meshservices/absent", "", http.StatusNotFound)
	f.statuses[0].Connected = false
	f.ok("DELETE", "/dataplanes/a", "")
	f.ok("DELETE", "/meshes/default", "")
}

// What a proxy has registered becomes the user's when he applies over it. That is said, since it outlives the proxy then.
func TestApplyOverARegistration(t *testing.T) {
	f := newFixture(t)
	const dataplane = "apiVersion: hauberk.io/v1alpha1\nkind: Dataplane\nmetadata: {name: a%s}\nspec: {address: 127.0.0.%d}\n"
	registry := api.NewRegistry(append(resource.Kinds(), all.Kinds()...)...)
	docs, err := registry.Decode("", fmt.Appendf(nil, dataplane, ", labels: {hauberk.io/origin: dataplane}", 1))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := store.NewResources(f.store, registry).Put(t.Context(), docs[0]); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		address, warnings int
	}{{1, 1}, {1, 0}, {2, 0}} { // taken over, word for word as it was; unchanged; his already
		a := decode[Applied](t, f.ok("POST", "/apply", fmt.Sprintf(dataplane, "", c.address)))
		if len(a.Warnings) != c.warnings {
			t.Errorf("address 127.0.0.%d: warnings %q, want %d", c.address, a.Warnings, c.warnings)
		}
	}
}

func TestGeneratedServices(t *testing.T) {
	f := newFixture(t)
	f.mesh()
	list := decode[struct {
		Items []struct{ Metadata api.Meta }
	}](t, f.ok("GET", "/meshservices", ""))
	if len(list.Items) != 1 || list.Items[0].Metadata.Name != "server" || list.Items[0].Metadata.Labels[api.LabelOrigin] != api.OriginGenerated {
		t.Errorf("services: %+v", list.Items)
	}
	f.ok("GET", "/meshservices/server", "")
	f.refused("GET", "/meshservices/absent", "", http.StatusNotFound)
}

func TestStatus(t *testing.T) {
	f := newFixture(t)
	m := f.mesh()
	m.Dataplanes["server-1"].Unready = map[string]string{"http": "connection refused"}
	m.Dataplanes["gone-1"] = &world.Dataplane{Name: "gone-1", Service: "gone"}
	f.statuses[0].SentGeneration = 8
	f.statuses[1].NACK = "no such filter"
	got := map[string]string{}
	for _, d := range decode[Status](t, f.ok("GET", "/status", "")).Dataplanes {
		got[d.Dataplane] = d.State
	}
	if d := cmp.Diff(map[string]string{"client-1": "pending", "server-1": "rejected", "gone-1": "disconnected"}, got); d != "" {
		t.Error(d)
	}
	f.refused("GET", "/status?mesh=absent", "", http.StatusNotFound)
}

func TestPropagation(t *testing.T) {
	f := newFixture(t)
	f.wait = func(ctx context.Context, mesh string, generation uint64) (Propagation, error) {
		if _, limited := ctx.Deadline(); !limited {
			t.Error("the wait has no end")
		}
		return Propagation{Mesh: mesh, Generation: generation, Done: true, Acked: []string{"a"}}, nil
	}
	p := decode[Propagation](t, f.ok("GET", "/propagation?mesh=m&generation=5&timeout=1s", ""))
	if p.Mesh != "m" || p.Generation != 5 || !p.Done {
		t.Errorf("got %+v", p)
	}
	f.refused("GET", "/propagation?generation=five", "", http.StatusBadRequest)
	f.refused("GET", "/propagation?generation=5&timeout=soon", "", http.StatusBadRequest)
}

func TestStat(t *testing.T) {
	f := newFixture(t)
	f.mesh()
	f.edges = []report.Edge{
		{Source: "client", Destination: "server", Requests: 100, Errors: 9, Denied: 10, P99: 5, TLSVersion: "TLSv1.3"},
		{Source: "other", Destination: "server", Requests: 100, P99: 7},
	}
	s := decode[Stat](t, f.ok("GET", "/stat", ""))
	want := ServiceStat{Service: "server", Dataplanes: 1, Ready: 1, Requests: 200, Errors: 9, Denied: 10, SuccessRate: 1 - 9.0/190, P99: 7, SecuredShare: 0.5}
	if len(s.Services) != 2 || s.Services[0].Service != "client" {
		t.Fatalf("services: %+v", s.Services)
	}
	if d := cmp.Diff(want, s.Services[1]); d != "" {
		t.Error(d)
	}
	if n := len(decode[Edges](t, f.ok("GET", "/edges", "")).Edges); n != 2 {
		t.Errorf("%d edges", n)
	}
	// Nobody is given a shorter time than he asked for without a word.
	for _, path := range []string{"/edges", "/stat"} {
		f.ok("GET", path+"?window=1m", "")
		if e := f.refused("GET", path+"?window=61s", "", 400); !strings.Contains(e.Message, "window=1m1s is too long") {
			t.Errorf("%s: %+v", path, e)
		}
	}
}

func TestWhy(t *testing.T) {
	f := newFixture(t)
	f.mesh()
	f.verdict = why.Verdict{Policy: "MeshTrafficPermission/p", Rule: "MeshTrafficPermission/p#rules[0].deny[0]"}
	f.decisions = []report.Decision{
		{Dataplane: "client-1", Side: "source", RequestID: "r1", Method: "POST", Path: "/pay", Status: 403},
		{Dataplane: "server-1", Side: "destination", RequestID: "r1", Method: "POST", Path: "/pay", Status: 403},
		{Dataplane: "server-1", Side: "source", RequestID: "r2"},
	}
	for i := range f.decisions {
		f.decisions[i].Source, f.decisions[i].Destination = "client", "server"
	}
	a := decode[why.Answer](t, f.ok("GET", "/why?source=client&destination=server&requestId=r1", ""))
	if a.Verdict != why.Deny || a.Rule != f.verdict.Rule || a.Path != "/pay" || a.Method != "POST" || len(a.Observed) != 2 {
		t.Errorf("answer: %+v", a)
	}
	// Nobody of that name: the calls of others are no answer.
	if a := decode[why.Answer](t, f.ok("GET", "/why?source=absent&destination=server", "")); a.Verdict != why.None || len(a.Observed) != 0 {
		t.Errorf("answer: %+v", a)
	}
	// What called a service that is gone is still known.
	f.decisions = append(f.decisions, report.Decision{Dataplane: "client-1", Side: "source", Source: "client", Destination: "gone"})
	if a := decode[why.Answer](t, f.ok("GET", "/why?source=client&destination=gone", "")); len(a.Observed) != 1 {
		t.Errorf("answer: %+v", a)
	}
	f.statuses[1].NACK = "port taken"
	a = decode[why.Answer](t, f.ok("GET", "/why?source=client&destination=server", ""))
	if len(a.Obstacles) != 1 || a.Obstacles[0].Code != "config_rejected" || !strings.Contains(a.Obstacles[0].Message, "port taken") {
		t.Errorf("obstacles: %+v", a.Obstacles)
	}
	f.refused("GET", "/why?source=client", "", http.StatusBadRequest)
	f.refused("GET", "/why?source=client&destination=server&port=0", "", http.StatusBadRequest)
}

func TestInspect(t *testing.T) {
	f := newFixture(t)
	f.mesh()
	d := decode[InspectedDataplane](t, f.ok("GET", "/inspect/dataplanes/server-1", ""))
	if d.Proxy == nil || len(d.Contributions) != 1 {
		t.Errorf("got %+v", d)
	}
	p := decode[InspectedPolicy](t, f.ok("GET", "/inspect/meshtimeouts/slow", ""))
	if len(p.Dataplanes) != 2 {
		t.Errorf("got %+v", p)
	}
	f.refused("GET", "/inspect/dataplanes/absent", "", http.StatusNotFound)
	f.refused("GET", "/inspect/meshtimeouts/absent", "", http.StatusNotFound)
	f.refused("GET", "/inspect/meshes/default", "", http.StatusBadRequest)
}

// TestCheckKeys: each dataplane is named with its key provider and the reason, and one that does not do as a policy says is a warning.
func TestCheckKeys(t *testing.T) {
	f := newFixture(t)
	f.mesh()
	keys := func() (got []string) {
		for _, c := range decode[Checks](t, f.ok("GET", "/check", "")).Checks {
			if c.Name == "keys" {
				got = append(got, c.Result+" "+c.Message)
			}
		}
		return got
	}
	if d := cmp.Diff([]string(nil), keys()); d != "" {
		t.Error(d)
	}
	slow := report.KeyProvider{Name: "batch", Backend: "std", Reason: "no AVX-512 IFMA"}
	f.keys = map[string]report.KeyProvider{"client-1": slow, "server-1": slow, "gone-1": slow}
	if d := cmp.Diff([]string{"ok batch (std: no AVX-512 IFMA): client-1, server-1"}, keys()); d != "" {
		t.Error(d)
	}
	f.keys["server-1"] = report.KeyProvider{Name: "batch", Backend: "ifma", Reason: "AVX-512 IFMA"}
	f.wantedKeys = ir.KeysBatched
	if d := cmp.Diff([]string{"ok batch (ifma: AVX-512 IFMA): server-1", "ok batch (std: no AVX-512 IFMA): client-1"}, keys()); d != "" {
		t.Error(d)
	}
	delete(f.keys, "client-1")
	f.wantedKeys = ir.KeysInMemory
	want := []string{
		"ok batch (ifma: AVX-512 IFMA): server-1",
		"warn client-1 is to have memory, and does not say what it has; server-1 is to have memory, and has batch",
	}
	if d := cmp.Diff(want, keys()); d != "" {
		t.Error(d)
	}
}

func TestCheck(t *testing.T) {
	f := newFixture(t)
	f.mesh()
	results := func() map[string]string {
		got := map[string]string{}
		for _, c := range decode[Checks](t, f.ok("GET", "/check?mesh=*", "")).Checks {
			got[c.Name] = c.Result
		}
		return got
	}
	if d := cmp.Diff(map[string]string{"resources": OK, "dataplanes": OK, "authorities": Fail, "services": OK, "permissions": Warn}, results()); d != "" {
		t.Error(d)
	}
	// Authorities alone are no identity: nobody joins.
	f.world.Meshes["default"].Trust = []*resource.MeshTrust{trustOf(t)}
	for _, c := range decode[Checks](t, f.ok("GET", "/check", "")).Checks {
		if c.Name == "authorities" && (c.Result != Fail || !strings.Contains(c.Message, "no MeshIdentity")) {
			t.Errorf("got %+v", c)
		}
	}
	f.world.Meshes["default"].Identity = &resource.MeshIdentity{}
	if got := results(); got["authorities"] != OK {
		t.Errorf("got %v", got)
	}
	f.statuses[0].Connected = false
	f.world.Meshes["default"].Services["server"].Ports[0].Endpoints.List[0].Unready = true
	if got := results(); got["dataplanes"] != Fail || got["services"] != Fail {
		t.Errorf("got %v", got)
	}
	f.world.Meshes["default"].Unreadable = []world.Unreadable{{Key: api.Key{Kind: "MeshTimeout", Mesh: "default", Name: "new"}, Reason: "unknown field"}}
	if got := results(); got["resources"] != Fail {
		t.Errorf("got %v", got)
	}
}

// trustOf is a trust domain with one authority, valid for a year.
func trustOf(t *testing.T) *resource.MeshTrust {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	text := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return &resource.MeshTrust{TrustDomain: "default.default.mesh.local", CABundles: []resource.CABundle{{Type: resource.BundlePem, Pem: &resource.Pem{Value: text}}}}
}

func TestTokens(t *testing.T) {
	f := newFixture(t)
	w := f.do("POST", "/tokens", `{"type": "dataplane", "name": "cart-1", "service": "cart", "validFor": "1h"}`)
	if w.Code != http.StatusCreated || decode[IssuedToken](t, w.Body.Bytes()).Token != "secret-token" {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	if f.issued[0].Mesh != "default" || f.issued[0].ValidFor.String() != "1h0m0s" {
		t.Errorf("issued %+v", f.issued[0])
	}
	if strings.Contains(f.logs.String(), "secret-token") {
		t.Error("a token is in the log")
	}
	for _, bad := range []string{
		`{}`, `{"type": "king", "name": "x"}`, `{"type": "user"}`, `{"type": "user", "name": "x", "service": "y"}`,
		`{"type": "dataplane", "name": "x", "service": "Not A Name"}`, `{"type": "user", "name": "x", "validFor": "0s"}`,
		`{"type": "user", "name": "x", "rank": 1}`, `{"type": "user", "name": "x"} {}`, `nonsense`,
	} {
		f.refused("POST", "/tokens", bad, http.StatusBadRequest)
	}
	f.refused("POST", "/tokens", `{"type": "dataplane", "name": "x", "service": "y", "mesh": "absent"}`, http.StatusNotFound)
	f.ok("GET", "/tokens", "")
	f.ok("DELETE", "/tokens/id-1", "")
	f.refused("DELETE", "/tokens/id-2", "", http.StatusNotFound)
	f.ok("POST", "/identity/revoke", `{"spiffeID": "spiffe://default.default.mesh.local/workload/cart"}`)
	f.refused("POST", "/identity/revoke", `{"spiffeID": "cart"}`, http.StatusBadRequest)
	if d := cmp.Diff([]string{"id-1", "default spiffe://default.default.mesh.local/workload/cart"}, f.revoked); d != "" {
		t.Error(d)
	}
}

func TestRequestLog(t *testing.T) {
	f := newFixture(t)
	f.ok("GET", "/meshes?mesh=secret-query", "")
	log := f.logs.String()
	for _, want := range []string{"method=GET", "path=/api/v1alpha1/meshes ", "status=200", "user=alice", "duration="} {
		if !strings.Contains(log, want) {
			t.Errorf("the log lacks %q: %s", want, log)
		}
	}
	if strings.Contains(log, "secret-query") {
		t.Errorf("the query is in the log: %s", log)
	}
}

func TestNearest(t *testing.T) {
	words := []string{"dataplanes", "meshes", "meshtimeouts"}
	for word, want := range map[string]string{"dataplan": "dataplanes", "mesh": "meshes", "meshtimeots": "meshtimeouts", "xyz": "", "": ""} {
		if got := Nearest(word, words); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", word, got, want)
		}
	}
}
