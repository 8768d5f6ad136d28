package permission_test

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/policy/permission"
	"github.com/hauberk-mesh/hauberk/policy/policytest"
)

func TestValidation(t *testing.T) {
	for entry, want := range map[string]string{
		`{}`: "",
		`{spiffeID: {type: Exact, value: "spiffe://a/b"}, methods: [GET, M-SEARCH], paths: [{type: Prefix, value: /}]}`: "",
		`{spiffeID: {type: Prefix, value: "spiffe://"}}`:                                                                "",
		`{spiffeID: {type: Prefix, value: "spiffe://a/b/"}}`:                                                            "",
		`{spiffeID: {type: Prefix, value: "spiffe://a/b/c"}}`:                                                           "",
		`{paths: [{type: Template, value: "/a/{b}/*/**"}]}`:                                                             "",
		`{spiffeID: {type: Exact, value: "spiffe://a"}}`:                                                                `.spiffeID.value is not a SPIFFE ID: "spiffe://a" names a trust domain and no workload: write it whole, as spiffe://default.default.mesh.local/workload/cart`,
		`{spiffeID: {type: prefix, value: "spiffe://a"}}`:                                                               `.spiffeID.type "prefix" is not a type of match: write Prefix`,
		`{spiffeID: {value: "spiffe://a"}}`:                                                                             `.spiffeID.type is missing: write Exact or Prefix`,
		`{spiffeID: {type: Template, value: "spiffe://a"}}`:                                                             `.spiffeID.type "Template" is not a type of match: write Exact or Prefix`,
		`{spiffeID: {type: Prefix, value: default}}`:                                                                    `.spiffeID.value "default" does not begin with spiffe://: write spiffe:// for everybody with an identity, or more, as spiffe://default.`,
		`{spiffeID: {type: Prefix, value: "spiffe://A"}}`:                                                               `.spiffeID.value begins no SPIFFE ID: trust domain "A" has 'A': only lower-case letters, digits, '.', '-' and '_' are allowed: write the beginning of one, as spiffe://default.default.mesh.local/workload/cart`,
		`{spiffeID: {type: Prefix, value: "spiffe:///a"}}`:                                                              `.spiffeID.value "spiffe:///a" begins no SPIFFE ID: write the beginning of one, as spiffe://default.default.mesh.local/workload/cart`,
		`{methods: [get]}`:                               `.methods[0] "get" is in lower case: write GET`,
		`{methods: ["GET,PUT"]}`:                         `.methods[0] "GET,PUT" is not a method: write methods as GET, HEAD, POST, PUT, PATCH, DELETE`,
		`{methods: [""]}`:                                `.methods[0] is empty: write methods as GET, HEAD, POST, PUT, PATCH, DELETE`,
		`{paths: []}`:                                    `.paths is empty: list paths, or remove it: without it all match`,
		`{paths: [{type: Regex, value: /}]}`:             `.paths[0].type "Regex" is not a type of match: write Exact, Prefix or Template`,
		`{paths: [{type: Exact, value: admin}]}`:         `.paths[0].value "admin" does not begin with '/': write /admin`,
		`{paths: [{type: Exact, value: "/a?b"}]}`:        `.paths[0].value "/a?b" has '?': only the path is compared: remove it and what follows`,
		`{paths: [{type: Exact, value: "/%61"}]}`:        `.paths[0].value "/%61" has an escape, of which a caller can choose the spelling: write letters, digits, '-', '.', '_' and '~' as they are, and match the rest by Prefix or Template`,
		`{paths: [{type: Exact, value: "/a//b"}]}`:       `.paths[0].value "/a//b" has an empty segment, and slashes are merged before it is compared: write single slashes`,
		`{paths: [{type: Prefix, value: "/a/../b"}]}`:    `.paths[0].value "/a/../b" has a dot segment, and the path is normalised before it is compared: write it without`,
		`{paths: [{type: Prefix, value: "/a/*"}]}`:       `.paths[0].value "/a/*" has '*', which is compared as it is: write type: Template`,
		`{paths: [{type: Exact, value: '/a\b'}]}`:        `.paths[0].value "/a\\b" has '\\', which no path on the wire has: match this segment by Prefix or Template`,
		`{paths: [{type: Template, value: "/a/**/b"}]}`:  `.paths[0].value "/a/**/b" has ** before its end: write * for one segment; ** takes all the rest`,
		`{paths: [{type: Template, value: "/a/b*"}]}`:    `.paths[0].value "/a/b*" has a wildcard that is no whole segment: let * or {name}, of letters, digits and '_', stand for a whole segment`,
		`{paths: [{type: Template, value: "/{a}/{a}"}]}`: `.paths[0].value "/{a}/{a}" has {a} twice: give each segment a name of its own`,
		`{paths: [{type: Template, value: "/{a}/"}]}`:    `.paths[0].value "/{a}/" ends with '/': remove it, or write ** for what may follow`,
	} {
		t.Run(entry, func(t *testing.T) {
			_, err := policytest.Registry(permission.Policy{}).Decode("", []byte(
				"apiVersion: hauberk.io/v1alpha1\nkind: MeshTrafficPermission\nmetadata: {name: x}\nspec: {rules: [{default: {deny: ["+entry+"]}}]}"))
			got := ""
			if err != nil {
				for _, p := range err.(*api.InvalidError).Problems {
					got += strings.TrimPrefix(p.Problem.String(), "spec.rules[0].default.deny[0]")
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Whatever the entries and their order: adding a deny never allows more, adding an allow never less than without it
// except where a deny says so, and the verdict names an entry that is there.
func TestEvaluateProperties(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	ids := []string{"", "spiffe://a/b", "spiffe://a/c", "spiffe://b/b"}
	methods, paths := []string{"GET", "POST"}, []string{"/", "/a", "/a/b", "/a/b/c", "/ab", "/a/"}
	entry := func() ir.PermissionEntry {
		e := ir.PermissionEntry{Rule: "K/x#" + string(rune('a'+r.IntN(26)))}
		if r.IntN(2) == 0 {
			e.SPIFFEID = &ir.StringMatch{Type: []ir.MatchType{ir.Exact, ir.Prefix}[r.IntN(2)], Value: []string{"spiffe://a/b", "spiffe://a/", "spiffe://"}[r.IntN(3)]}
		}
		if r.IntN(3) == 0 {
			e.Methods = []string{methods[r.IntN(2)]}
		}
		if r.IntN(2) == 0 {
			e.Paths = []ir.PathMatch{{Type: []ir.MatchType{ir.Exact, ir.Prefix, ir.Template}[r.IntN(3)], Value: []string{"/", "/a", "/a/b", "/a/*", "/*/**"}[r.IntN(5)]}}
		}
		return e
	}
	for range 5000 {
		p := &ir.Permission{}
		for range r.IntN(4) {
			p.Deny = append(p.Deny, entry())
		}
		for range r.IntN(5) {
			p.Allow = append(p.Allow, entry())
		}
		c := permission.Call{PeerID: ids[r.IntN(4)], HTTP: r.IntN(3) > 0, Method: methods[r.IntN(2)], Path: paths[r.IntN(6)]}
		got := permission.Evaluate(p, c)
		r.Shuffle(len(p.Deny), func(i, j int) { p.Deny[i], p.Deny[j] = p.Deny[j], p.Deny[i] })
		r.Shuffle(len(p.Allow), func(i, j int) { p.Allow[i], p.Allow[j] = p.Allow[j], p.Allow[i] })
		if again := permission.Evaluate(p, c); again.Allowed != got.Allowed {
			t.Fatalf("order matters for %+v of %+v", c, p)
		}
		if got.Allowed && len(p.Allow) == 0 || !got.Allowed && got.Policy != permission.DefaultDeny && len(p.Deny) == 0 {
			t.Fatalf("%+v for %+v of %+v", got, c, p)
		}
		more := &ir.Permission{Deny: append([]ir.PermissionEntry{entry()}, p.Deny...), Allow: p.Allow}
		if !got.Allowed && permission.Evaluate(more, c).Allowed {
			t.Fatalf("another deny allows %+v", c)
		}
		more = &ir.Permission{Deny: p.Deny, Allow: append([]ir.PermissionEntry{entry()}, p.Allow...)}
		if got.Allowed && !permission.Evaluate(more, c).Allowed {
			t.Fatalf("another allow denies %+v", c)
		}
	}
	if got := permission.Evaluate(nil, permission.Call{}); got.Allowed || got.Policy != permission.DefaultDeny {
		t.Errorf("nothing is %+v", got)
	}
}

func TestWarnings(t *testing.T) {
	all, err := policytest.Registry(permission.Policy{}).Decode("", []byte(`
apiVersion: hauberk.io/v1alpha1
kind: Dataplane
metadata: {name: redis-1}
spec: {address: 10.0.0.1, inbounds: [{port: 6379}, {port: 80, protocol: http}]}
---
apiVersion: hauberk.io/v1alpha1
kind: MeshTrafficPermission
metadata: {name: x}
spec: {rules: [{default: {deny: [{paths: [{type: Exact, value: /}]}], allow: [{}, {methods: [GET]}]}}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := all[0].Spec.(*resource.Dataplane); !ok {
		t.Fatal("the first is no Dataplane")
	}
	got := permission.Policy{}.Warnings(all[1], policytest.Proxies(all))
	want := []string{
		"MeshTrafficPermission/x#rules[0].allow[1] lists methods or paths and so never allows anything on inbound|tcp of dataplane redis-1, which is tcp: write an entry without them for it",
		"MeshTrafficPermission/x#rules[0].deny[0] lists methods or paths and so denies every connection of its callers on inbound|tcp of dataplane redis-1, which is tcp: choose http inbounds by sectionName if that is not meant",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
