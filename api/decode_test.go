package api_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/policy/all"
)

func registry() *api.Registry { return api.NewRegistry(append(resource.Kinds(), all.Kinds()...)...) }

const head = "apiVersion: hauberk.io/v1alpha1\n"

// Each case is wrong in one way, and gets exactly one line that says where, what and what to write instead.
func TestDecodeSaysWhatIsWrong(t *testing.T) {
	permission := head + "kind: MeshTrafficPermission\nmetadata: {name: x}\nspec:\n  rules:\n  - default:\n"
	for name, c := range map[string]struct{ in, want string }{
		"unknown field": {permission + "      alow: [{}]\n",
			`f.yaml:7: document 1 (from line 1), MeshTrafficPermission/x: spec.rules[0].default.alow is unknown: write allow`},
		"unknown field deep in a list": {permission + "      allow:\n      - {}\n      - {}\n      - {method: [GET]}\n",
			`f.yaml:10: document 1 (from line 1), MeshTrafficPermission/x: spec.rules[0].default.allow[2].method is unknown: write methods`},
		"unknown field that resembles none": {permission + "      allow: [{jwt: x}]\n",
			`f.yaml:7: document 1 (from line 1), MeshTrafficPermission/x: spec.rules[0].default.allow[0].jwt is unknown: remove it, or write one of spiffeID, methods, paths`},
		"field in another case": {permission + "      Allow: [{}]\n",
			`f.yaml:7: document 1 (from line 1), MeshTrafficPermission/x: spec.rules[0].default.Allow is unknown: write allow`},
		"value in a list": {permission + "      allow: [{}, {}, {methods: [get]}]\n",
			`f.yaml:7: document 1 (from line 1), MeshTrafficPermission/x: spec.rules[0].default.allow[2].methods[0] "get" is in lower case: write GET`},
		"empty entry": {permission + "      allow:\n      -\n",
			`f.yaml:8: document 1 (from line 1), MeshTrafficPermission/x: spec.rules[0].default.allow[0] has no value: give it one, or remove the field`},
		"null spiffeID": {permission + "      allow:\n      - spiffeID:\n",
			`f.yaml:8: document 1 (from line 1), MeshTrafficPermission/x: spec.rules[0].default.allow[0].spiffeID has no value: give it one, or remove the field`},
		"empty list": {permission + "      allow: [{methods: []}]\n",
			`f.yaml:7: document 1 (from line 1), MeshTrafficPermission/x: spec.rules[0].default.allow[0].methods is empty: list methods, or remove it: without it all match`},
		"not a list": {permission + "      allow: {methods: [GET]}\n",
			`f.yaml:7: document 1 (from line 1), MeshTrafficPermission/x: spec.rules[0].default.allow is a mapping: write a list: '- ' before each entry, or [a, b]`},
		"duplicate key": {permission + "      allow: [{}]\n      allow: [{}]\n",
			`f.yaml:8: document 1 (from line 1), MeshTrafficPermission/x: spec.rules[0].default.allow is there for the second time: remove one of the two`},
		"duplicate label": {head + "kind: Mesh\nmetadata:\n  name: x\n  labels:\n    a: b\n    a: c\n",
			`f.yaml:7: document 1 (from line 1), Mesh/x: metadata.labels[a] is there for the second time: remove one of the two`},
		"merge key": {head + "kind: MeshTrafficPermission\nmetadata: {name: x}\nspec: {rules: [{default: &a {allow: [{}]}}, {default: {<<: *a}}]}\n",
			`f.yaml:4: document 1 (from line 1), MeshTrafficPermission/x: spec.rules[1].default.<< is a merge key: write the fields out: what is merged in is too easily overlooked`},
		"bad duration": {head + "kind: MeshTimeout\nmetadata: {name: x}\nspec: {rules: [{default: {idleTimeout: 5x}}]}\n",
			`f.yaml:4: document 1 (from line 1), MeshTimeout/x: spec.rules[0].default.idleTimeout "5x" is not a duration: write it with a unit, as 500ms, 10s, 5m or 1h`},
		"duration without a unit": {head + "kind: MeshTimeout\nmetadata: {name: x}\nspec: {rules: [{default: {idleTimeout: 5}}]}\n",
			`f.yaml:4: document 1 (from line 1), MeshTimeout/x: spec.rules[0].default.idleTimeout is not a duration: write it with a unit, as 500ms, 10s, 5m or 1h`},
		"number in quotes": {head + "kind: Dataplane\nmetadata: {name: x}\nspec: {address: 127.0.0.1, inbounds: [{port: \"80\", targetPort: 81}]}\n",
			`f.yaml:4: document 1 (from line 1), Dataplane/x: spec.inbounds[0].port is a string ("80"): write it without quotes`},
		"octal": {head + "kind: Dataplane\nmetadata: {name: x}\nspec: {address: 127.0.0.1, inbounds: [{port: 0x50, targetPort: 81}]}\n",
			`f.yaml:4: document 1 (from line 1), Dataplane/x: spec.inbounds[0].port is a number ("0x50"): write a whole number in decimal digits`},
		"label that is a number": {head + "kind: Dataplane\nmetadata: {name: x, labels: {version: 1.0}}\nspec: {address: 127.0.0.1}\n",
			`f.yaml:3: document 1 (from line 1), Dataplane/x: metadata.labels[version] is a number: put it in quotes: "1.0"`},
		"label of ours with a typo": {head + "kind: Dataplane\nmetadata: {name: x, labels: {hauberk.io/servise: cart}}\nspec: {address: 127.0.0.1}\n",
			`f.yaml:3: document 1 (from line 1), Dataplane/x: metadata.labels[hauberk.io/servise] is no label of Hauberk: write hauberk.io/service`},
		"bad label value": {head + "kind: Dataplane\nmetadata: {name: x, labels: {a: b c}}\nspec: {address: 127.0.0.1}\n",
			`f.yaml:3: document 1 (from line 1), Dataplane/x: metadata.labels[a] "b c" is not a label's value: use at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends`},
		"bad name": {head + "kind: Mesh\nmetadata: {name: My_Mesh}\n",
			`f.yaml:3: document 1 (from line 1), Mesh/My_Mesh: metadata.name "My_Mesh" is not a name: use lower-case letters, digits, '-' and '.', with a letter or digit at both ends of each part, as my-mesh`},
		"no name": {head + "kind: Mesh\nmetadata: {}\n",
			`f.yaml:3: document 1 (from line 1), Mesh: metadata.name is missing: give the resource a name, as metadata: {name: cart-1}`},
		"name at the top": {head + "kind: Mesh\nname: x\n",
			`f.yaml:3: document 1 (from line 1), Mesh: name is unknown: put it under metadata`},
		"unknown kind": {head + "kind: MeshTimeouts\nmetadata: {name: x}\n",
			`f.yaml:2: document 1 (from line 1), MeshTimeouts/x: kind "MeshTimeouts" is unknown: write MeshTimeout`},
		"no kind": {head + "metadata: {name: x}\n",
			`f.yaml:1: document 1 (from line 1), x: kind is missing: write one of Dataplane, Mesh, MeshIdentity, MeshService, MeshTLS, MeshTimeout, MeshTrafficPermission, MeshTrust`},
		"unknown apiVersion": {"apiVersion: v1\nkind: Mesh\nmetadata: {name: x}\n",
			`f.yaml:1: document 1 (from line 1), Mesh/x: apiVersion "v1" is unknown: write hauberk.io/v1alpha1`},
		"not YAML": {"\n# cart\n" + head + "kind: Mesh\nmetadata: {name: [}\n",
			`f.yaml:4: document 1 (from line 3): document is not YAML: did not find expected node content: correct it at or beside this line: indent with spaces, close quotes and brackets`},
		"no mapping": {"hello\n",
			`f.yaml:1: document 1 (from line 1): document is no resource: write apiVersion, kind, metadata and spec`},
		"spec is a list": {head + "kind: Mesh\nmetadata: {name: x}\nspec: []\n",
			`f.yaml:4: document 1 (from line 1), Mesh/x: spec is a list: write it as fields: {skipCreatingInitialPolicies: ...}`},
		"second document, in Windows line ends": {"\xef\xbb\xbf" + head + "kind: Mesh\r\nmetadata: {name: x}\r\n---\r\n\r\n" + head + "kind: Mesh\r\nmetadata: {name: y}\r\nspecs: {}\r\n",
			`f.yaml:9: document 2 (from line 6), Mesh/y: specs is unknown: write spec`},
		"a name twice": {head + "kind: Mesh\nmetadata: {name: x}\n---\n" + head + "kind: Mesh\nmetadata:\n  name: x\n",
			`f.yaml:8: document 2 (from line 5), Mesh/x: metadata.name "x" is the name of document 1 too: rename one of the two, or remove one`},
		"a template that is not quoted": {head + "kind: MeshIdentity\nmetadata: {name: x}\nspec: {spiffeID: {path: {{ .Workload }}}, provider: {type: Bundled}}\n",
			`f.yaml:4: document 1 (from line 1), MeshIdentity/x: spec.spiffeID.path is a mapping: write a single value`},
	} {
		t.Run(name, func(t *testing.T) {
			docs, err := registry().Decode("f.yaml", []byte(c.in))
			var invalid *api.InvalidError
			if !errors.As(err, &invalid) {
				t.Fatalf("got %v and %v, want an *api.InvalidError", docs, err)
			}
			if diff := cmp.Diff(c.want, err.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDecodeSaysEverythingAtOnce(t *testing.T) {
	in := head + "kind: Dataplane\nmetadata: {name: cart-1}\nspec:\n  addres: 127.0.0.1\n  inbounds:\n  - {port: 99999, protocol: HTTP}\n  - {name: b, port: 80, listenPort: 80, targetport: 1}\n" +
		"---\n# nothing but a comment\n---\nkind: [\n---\n" + head + "kind: MeshTLS\nmetadata: {name: strict}\nspec: {rules: [{default: {mode: strict}}]}\n"
	_, err := registry().Decode("shop.yaml", []byte(in))
	want := `shop.yaml:5: document 1 (from line 1), Dataplane/cart-1: spec.addres is unknown: write address
shop.yaml:7: document 1 (from line 1), Dataplane/cart-1: spec.inbounds[0].port 99999 is not a port: write a number from 1 to 65535
shop.yaml:7: document 1 (from line 1), Dataplane/cart-1: spec.inbounds[0].protocol "HTTP" is not a protocol: write http
shop.yaml:8: document 1 (from line 1), Dataplane/cart-1: spec.inbounds[1].targetport is unknown: write targetPort
shop.yaml:12: document 2 (from line 12): document is not YAML: did not find expected node content: correct it at or beside this line: indent with spaces, close quotes and brackets
shop.yaml:17: document 3 (from line 14), MeshTLS/strict: spec.rules[0].default.mode "strict" is not a mode: write Strict`
	if err == nil {
		t.Fatal("no error")
	}
	if diff := cmp.Diff(want, err.Error()); diff != "" {
		t.Error(diff)
	}
	b, err := json.Marshal(err)
	if err != nil {
		t.Fatal(err)
	}
	if first := `{"problems":[{"source":"shop.yaml","document":1,"line":1,"kind":"Dataplane","name":"cart-1","fieldLine":5,"field":"spec.addres","message":"is unknown","fix":"write address"},`; !strings.HasPrefix(string(b), first) {
		t.Errorf("JSON is %s", b)
	}
}

func TestDocuments(t *testing.T) {
	in := "%YAML 1.2\n--- # the first\n" + head + "kind: Mesh\nmetadata: {name: a}\n...\n---\n---\n" +
		head + "kind: MeshTrust\nmetadata:\n  name: b\nspec:\n  trustDomain: x\n  caBundles:\n  - type: Pem\n    pem:\n      value: |\n        ---\n        not a marker\n        ...\n" +
		"---\n" + `{"apiVersion": "hauberk.io/v1alpha1", "kind": "Mesh",` + "\n\t" + `"metadata": {"name": "c"}, "spec": {}}`
	_, err := registry().Decode("f.yaml", []byte(in))
	var invalid *api.InvalidError
	if !errors.As(err, &invalid) || len(invalid.Problems) != 1 {
		t.Fatalf("got %v, want one problem", err)
	}
	if p := invalid.Problems[0]; p.Document != 2 || p.Line != 9 || p.Field != "spec.caBundles[0].pem.value" || p.Message != "is not PEM" {
		t.Errorf("got %+v", p)
	}
}

func TestDecodeTakesWhatIsRight(t *testing.T) {
	in := head + "kind: Dataplane\nmetadata:\n  name: cart-1\n  creationTimestamp: null\n  labels: &l {hauberk.io/service: cart, team: \"on\"}\nspec:\n  address: 127.0.0.1\n" +
		"  inbounds:\n  - {name: http, port: 80, listenPort: 15080, targetPort: 8080, protocol: http, probe: {http: {path: /healthz}, interval: 1s}}\n" +
		"  outbounds: [{port: 10001, backendRef: {kind: MeshService, name: redis, port: 6379}}]\n" +
		"---\n" + head + "kind: MeshService\nmetadata: {name: old, labels: {hauberk.io/mesh: blue}}\nspec: {selector: {dataplaneLabels: {matchLabels: {a: b}}}, ports: [{port: 80, targetPort: http}]}\n" +
		"---\n" + head + "kind: MeshService\nmetadata: {name: old}\nspec: {selector: {dataplaneLabels: {matchLabels: {a: b}}}, ports: [{port: 80, targetPort: http}]}\n" +
		"---\n" + head + "kind: Mesh\nmetadata: {name: blue}\nspec:\n"
	r := registry()
	docs, err := r.Decode("f.yaml", []byte(in))
	if err != nil {
		t.Fatal(err)
	}
	if len(docs) != 4 || docs[1].Key() != (api.Key{Kind: "MeshService", Mesh: "blue", Name: "old"}) || docs[0].Metadata.Labels["team"] != "on" {
		t.Errorf("got %+v", docs)
	}
	if err := r.ValidateForApply(docs); err != nil {
		t.Error(err)
	}
	for _, d := range docs {
		b, err := r.Encode(d)
		if err != nil {
			t.Fatal(err)
		}
		back, err := r.DecodeJSON(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, back); diff != "" {
			t.Errorf("%s is not what was encoded: %s", d.Key(), diff)
		}
		again, err := r.Decode("again", b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(d, again[0]); diff != "" {
			t.Errorf("%s is not what was encoded: %s", d.Key(), diff)
		}
	}
}

func TestCloneSharesNothing(t *testing.T) {
	docs, err := registry().Decode("f", []byte(head+"kind: MeshTimeout\nmetadata: {name: x, labels: {a: b}}\nspec: {targetRef: {kind: Dataplane, labels: {c: d}}, to: [{targetRef: {kind: Mesh}, default: {idleTimeout: 5s}}]}\n"))
	if err != nil {
		t.Fatal(err)
	}
	before, _ := json.Marshal(docs[0])
	c := docs[0].Clone()
	if diff := cmp.Diff(docs[0], c); diff != "" {
		t.Fatal(diff)
	}
	spec := c.Spec.(interface{ Target() *api.TargetRef })
	spec.Target().Labels["c"] = "changed"
	c.Metadata.Labels["a"] = "changed"
	if after, _ := json.Marshal(docs[0]); string(after) != string(before) {
		t.Errorf("the original became %s", after)
	}
}

func TestValidateForApply(t *testing.T) {
	r := registry()
	docs, err := r.Decode("f", []byte(head+"kind: Mesh\nmetadata: {name: x, labels: {hauberk.io/origin: default}}\n---\n"+
		head+"kind: DataplaneInsight\nmetadata: {name: x}\n---\n"+head+"kind: Mesh\nmetadata: {name: y, namespace: z}\n"))
	if err != nil {
		t.Fatal(err)
	}
	err = r.ValidateForApply(docs)
	want := `document 1, Mesh/x: metadata.labels[hauberk.io/origin] is set by the control plane alone: remove the label: what you apply is yours
document 2, DataplaneInsight/x: kind is written by the control plane alone: leave the document out
document 3, Mesh/y: metadata.namespace is for Kubernetes: remove it, and choose the mesh by the label hauberk.io/mesh`
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

func TestDecodeJSONLosesNothing(t *testing.T) {
	r := registry()
	for _, in := range []string{
		`{"apiVersion":"hauberk.io/v1alpha1","kind":"Mesh","metadata":{"name":"x"},"spec":{"newer":1}}`,
		`{"apiVersion":"hauberk.io/v1alpha1","kind":"Mesh","metadata":{"name":"x","newer":1}}`,
		`{"apiVersion":"hauberk.io/v1alpha1","kind":"Newer","metadata":{"name":"x"}}`,
		`{"kind":"Mesh"} {}`,
		`{`,
	} {
		if res, err := r.DecodeJSON([]byte(in)); err == nil {
			t.Errorf("%s became %+v", in, res)
		}
	}
}

func TestAliasBombIsRefused(t *testing.T) {
	var b strings.Builder
	b.WriteString("a: &a [x, x, x, x, x, x, x, x, x, x]\n")
	for c := 'b'; c <= 'k'; c++ {
		p := string(c - 1)
		b.WriteString(string(c) + ": &" + string(c) + " [" + strings.Repeat("*"+p+", ", 9) + "*" + p + "]\n")
	}
	in := head + "kind: Mesh\nmetadata: {name: x, labels: {}}\nspec:\n  skipCreatingInitialPolicies: *k\n" + b.String()
	if _, err := registry().Decode("bomb", []byte(in)); err == nil {
		t.Error("no error")
	}
	list := strings.Repeat("x, ", 1000)
	in = head + "kind: MeshTrafficPermission\nmetadata: {name: x}\nspec: {rules: [{default: {allow: [{methods: &m [" + list + "X]}, " + strings.Repeat("{methods: *m}, ", 100) + "]}}]}\n"
	_, err := registry().Decode("bomb", []byte(in))
	if err == nil || !strings.Contains(err.Error(), "too big") {
		t.Errorf("got no refusal for its size")
	}
}

func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		head + "kind: Mesh\nmetadata: {name: x}\n---\n...\n",
		head + "kind: MeshTimeout\nmetadata: {name: x}\nspec: {rules: [{default: {idleTimeout: 5s}}]}\n",
		head + "kind: Dataplane\nmetadata: {name: x, labels: {hauberk.io/service: a}}\nspec: {address: '::1', inbounds: [{port: 80, probe: {interval: 1s}}]}\n",
		"a: &a [*a]", "<<: {}", "? {a: b}\n: c", "--- |\n ---\n", `{"kind": "Mesh"}`, "!!binary x: y", "kind: !!int x",
	} {
		f.Add([]byte(seed))
	}
	r := registry()
	f.Fuzz(func(t *testing.T, in []byte) {
		docs, err := r.Decode("fuzz", in)
		if err != nil {
			var invalid *api.InvalidError
			if !errors.As(err, &invalid) || len(invalid.Problems) == 0 || docs != nil {
				t.Fatalf("got %v and %#v", docs, err)
			}
			return
		}
		for _, d := range docs {
			b, err := r.Encode(d)
			if err != nil {
				t.Fatal(err)
			}
			again, err := r.Decode("again", b)
			if err != nil {
				t.Fatalf("%s\nis refused: %v", b, err)
			}
			if b2, _ := r.Encode(again[0]); string(b2) != string(b) {
				t.Fatalf("%s\nbecame\n%s", b, b2)
			}
		}
	})
}
