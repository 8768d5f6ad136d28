// Package policytest runs a policy's cases, so that its own test is a few lines. A case is a testdata/*.txtar file with
//
//	resources.yaml   Dataplanes and policies, decoded and validated as apply would
//	ir.yaml          what the policy made of each dataplane, as Suite.View shows it (golden)
//	inspect.txt      which resource each field came from (golden)
//	calls.txt        calls and their results (golden behind "=>"), where the suite has a Call
//
// "go test ./policy/... -update" rewrites what is golden. Start at Run.
package policytest

import (
	"bytes"
	"cmp"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"
	"sigs.k8s.io/yaml"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/policy"
)

var update = flag.Bool("update", false, "rewrite the golden parts of testdata/*.txtar")

// Suite is a policy with the view that its cases take of it.
type Suite struct {
	Policy policy.Policy
	// View is the part of a proxy that the policy edits: a golden file that shows everything shows nothing.
	View func(*ir.Proxy) any
	// Call judges one line of calls.txt, whose first word, the dataplane, has been cut off. Optional.
	Call func(p *ir.Proxy, call string) string
}

// Run runs testdata/*.txtar and the examples of README.md.
func Run(t *testing.T, s Suite) {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata has no cases (%v)", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { s.run(t, file) })
	}
	t.Run("README", func(t *testing.T) { README(t, Registry(s.Policy), "README.md") })
}

// Registry knows a policy's kind and those that are no policies.
func Registry(p policy.Policy) *api.Registry {
	return api.NewRegistry(append(resource.Kinds(), p.Kind())...)
}

var fence = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

// README decodes and validates every yaml block of a document.
func README(t *testing.T, registry *api.Registry, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	blocks := fence.FindAllSubmatch(text, -1)
	if len(blocks) == 0 {
		t.Fatalf("%s has no yaml example", file)
	}
	for i, b := range blocks {
		docs, err := registry.Decode(fmt.Sprintf("%s, example %d", file, i+1), b[1])
		if err != nil {
			t.Error(err)
		}
		if err := registry.ValidateForApply(docs); err != nil {
			t.Error(err)
		}
	}
}

func (s Suite) run(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	all, err := Registry(s.Policy).Decode("resources.yaml", part(archive, "resources.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	proxies := Proxies(all)
	views := map[string]any{}
	var inspect bytes.Buffer
	byName := map[string]*ir.Proxy{}
	for _, p := range proxies {
		resources := Of(s.Policy, all)
		if err := s.Policy.Apply(resources, p); err != nil {
			t.Fatal(err)
		}
		views[p.Name], byName[p.Name] = s.View(p), p
		for _, c := range s.Policy.Explain(resources, p) {
			fmt.Fprintf(&inspect, "%s %s %s = %s (%s, %s)\n", p.Name, c.On, c.Field, c.Value, c.Origin, c.Rule)
		}
	}
	golden, err := yaml.Marshal(views)
	if err != nil {
		t.Fatal(err)
	}
	check(t, archive, "ir.yaml", golden)
	check(t, archive, "inspect.txt", inspect.Bytes())
	if s.Call != nil {
		check(t, archive, "calls.txt", s.calls(t, part(archive, "calls.txt"), byName))
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// calls writes the result behind each call; empty lines and comments stay.
func (s Suite) calls(t *testing.T, text []byte, proxies map[string]*ir.Proxy) []byte {
	var out bytes.Buffer
	for line := range strings.Lines(string(text)) {
		call, _, _ := strings.Cut(strings.TrimSpace(line), "=>")
		call = strings.TrimSpace(call)
		if call == "" || call[0] == '#' {
			out.WriteString(line)
			continue
		}
		name, rest, _ := strings.Cut(call, " ")
		p := proxies[name]
		if p == nil {
			t.Fatalf("calls.txt: %q is no dataplane of this case", name)
		}
		fmt.Fprintf(&out, "%s => %s\n", call, s.Call(p, strings.TrimSpace(rest)))
	}
	return out.Bytes()
}

func check(t *testing.T, archive *txtar.Archive, name string, got []byte) {
	t.Helper()
	for i := range archive.Files {
		if f := &archive.Files[i]; f.Name == name {
			if diff := gocmp.Diff(string(f.Data), string(got)); diff != "" && !*update {
				t.Errorf("%s (-want +got; -update rewrites it):\n%s", name, diff)
			}
			f.Data = got
			return
		}
	}
	if !*update && len(got) > 0 {
		t.Errorf("there is no %s: run with -update", name)
	}
	if len(got) > 0 {
		archive.Files = append(archive.Files, txtar.File{Name: name, Data: got})
	}
}

func part(archive *txtar.Archive, name string) []byte {
	for _, f := range archive.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

// Of are the resources of a policy, sorted by name as Apply gets them.
func Of(p policy.Policy, all []*api.Resource) []*api.Resource {
	kind := p.Kind().Name
	out := slices.DeleteFunc(slices.Clone(all), func(r *api.Resource) bool { return r.Kind != kind })
	slices.SortFunc(out, func(a, b *api.Resource) int { return cmp.Compare(a.Metadata.Name, b.Metadata.Name) })
	return out
}
