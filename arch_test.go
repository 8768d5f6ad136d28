package hauberk

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/hauberk-mesh/hauberk/"

// fence forbids imports. Packages and imports are given below the module, or whole where they are somebody else's; a
// trailing "/..." takes everything below. Test files are exempt.
type fence struct {
	packages []string
	except   []string
	imports  []string
	unless   []string
	why      string
}

var fences = []fence{{
	packages: []string{"..."},
	except:   []string{"cmd/..."},
	imports:  []string{"cli", "cli/...", "cmd/...", "test/..."},
	why:      "only the program imports the command line, and nobody imports tests",
}, {
	packages: []string{"..."},
	except:   []string{"cli", "bench/..."},
	imports:  []string{"bench/..."},
	why:      "what measures is no part of what is measured",
}, {
	packages: []string{"api/..."},
	imports:  []string{"..."},
	unless:   []string{"api/...", "internal/..."},
	why:      "api is the vocabulary below everything else",
}, {
	packages: []string{"controlplane/..."},
	imports:  []string{"dataplane/...", "cli/...", "redirect/...", "demo/..."},
	why:      "the wire is the only contract between the halves: each can be replaced by somebody else's",
}, {
	packages: []string{"dataplane/..."},
	imports:  []string{"controlplane/...", "api/...", "policy/...", "kube/...", "demo/..."},
	why:      "the wire is the only contract between the halves: each can be replaced by somebody else's",
}, {
	packages: []string{"policy", "policy/target", "policy/policytest"},
	imports:  []string{"controlplane/...", "dataplane/..."},
	unless:   []string{"controlplane/ir"},
	why:      "policies edit the intermediate form and see neither stores, nor xDS, nor the proxy",
}, {
	packages: []string{"accel/...", "redirect/...", "internal/..."},
	imports:  []string{"..."},
	unless:   []string{"accel/...", "redirect/...", "internal/..."},
	why:      "leaves: usable alone",
}, {
	packages: []string{"internal/..."},
	imports:  []string{"internal/..."},
	why:      "leaf helpers do not lean on each other",
}, {
	packages: []string{"demo/..."},
	imports:  []string{"..."},
	unless:   []string{"demo/...", "internal/..."},
	why:      "the demo uses Hauberk as a user does: by its programs and its API",
}, {
	packages: []string{"..."},
	except: []string{"controlplane/xds/...", "dataplane/xdsclient", "dataplane/config", "dataplane/bootstrap", "dataplane/bootstrap", "dataplane/standalone",
		"dataplane/filter/healthcheck", "policy/permission/filter", "wire/gen", "wire/privatekey/...", "test/..."},
	imports: []string{"github.com/envoyproxy/go-control-plane/..."},
	why:     "one translator on each side knows Envoy's messages",
}, {
	packages: []string{"dataplane/http/...", "dataplane/tcp", "dataplane/route", "dataplane/filter", "dataplane/upstream/...", "dataplane/resilience", "dataplane/listener", "dataplane/telemetry",
		"dataplane/admission", "dataplane/overload", "dataplane/proxyprotocol"},
	imports: []string{"google.golang.org/protobuf/...", "google.golang.org/grpc/...", "regexp", "log/slog", "log", "net/http", "encoding/json", "wire/..."},
	why:     "request-time packages are plain data: no protobuf, no regexp, no logging framework",
}, {
	packages: []string{"..."},
	except:   []string{"cmd/hauberk-pkcs11"},
	imports:  []string{"C"},
	why:      "the main binary is static, without cgo",
}}

// goPackage is what the tests below need of `go list -json`.
type goPackage struct {
	ImportPath, Dir, Doc      string
	GoFiles, CgoFiles         []string
	TestGoFiles, XTestGoFiles []string
	Imports                   []string
	Incomplete                bool
}

func packages(t *testing.T) []goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		for _, f := range fences {
			if !in(name, f.packages) || in(name, f.except) {
				continue
			}
			for _, i := range p.Imports {
				if own, ok := strings.CutPrefix(i, module); ok {
					i = own
				} else if slices.Contains(f.imports, "...") {
					continue // "..." means this module's packages
				}
				if in(i, f.imports) && !in(i, f.unless) {
					t.Errorf("%s imports %s: %s", name, i, f.why)
				}
			}
		}
	}
}

// TestPoliciesAreApart: a policy's folder imports neither another policy nor, in its filter, its own control-plane half.
func TestPoliciesAreApart(t *testing.T) {
	shared := []string{"policy", "policy/target", "policy/policytest"}
	for _, p := range packages(t) {
		name := strings.TrimPrefix(p.ImportPath, module)
		parts := strings.Split(name, "/")
		if parts[0] != "policy" || len(parts) < 2 || parts[1] == "all" || in(name, shared) {
			continue
		}
		for _, i := range p.Imports {
			own, ok := strings.CutPrefix(i, module)
			if !ok {
				continue
			}
			isFilter := len(parts) > 2 && parts[2] == "filter"
			switch {
			case isFilter && !in(own, []string{"dataplane/filter", "dataplane/filter/typedconfig", "dataplane/http/...", "accel/...", "internal/..."}):
				t.Errorf("%s imports %s: a filter leans on the filter contract alone, so that the proxy links no control plane", name, own)
			case !isFilter && strings.HasPrefix(own, "policy/") && !in(own, shared) && !strings.HasPrefix(own, "policy/"+parts[1]+"/"):
				t.Errorf("%s imports %s: a policy can be added or deleted without reading another", name, own)
			case !isFilter && (strings.HasPrefix(own, "dataplane") || strings.HasPrefix(own, "controlplane") && own != "controlplane/ir"):
				t.Errorf("%s imports %s: policies edit the intermediate form and nothing else", name, own)
			}
		}
	}
}

func TestPackagesHaveDocs(t *testing.T) {
	for _, p := range packages(t) {
		if len(p.GoFiles) == 0 || strings.HasPrefix(p.ImportPath, module+"wire/") {
			continue
		}
		want := "Package " + filepath.Base(p.ImportPath) + " "
		if strings.HasPrefix(p.Doc, "Command ") || strings.HasPrefix(p.Doc, want) {
			continue
		}
		t.Errorf("%s: its doc comment begins with %q, want %q: say what it is, what it is not, where to start", p.ImportPath, p.Doc, want)
	}
}

// TestNames keeps names that say nothing out of the tree.
func TestNames(t *testing.T) {
	banned := []string{"util", "utils", "common", "helpers", "helper", "core", "types", "misc", "shared"}
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (d.Name() == ".git" || d.Name() == "bin") {
			return filepath.SkipDir
		}
		if name := strings.TrimSuffix(d.Name(), ".go"); slices.Contains(banned, name) {
			t.Errorf("%s: a package or file is one noun that a user or an RFC would say", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// calls that a reader must not meet outside tests, each with its reason.
var banned = []struct {
	pattern *regexp.Regexp
	except  []string
	why     string
}{
	{regexp.MustCompile(`\bmath/rand"`), nil, "use math/rand/v2 for jitter and crypto/rand for secrets"},
	{regexp.MustCompile(`\bpanic\("(not implemented|unimplemented)`), nil, "there are no stubs"},
	{regexp.MustCompile(`\b(TODO|FIXME|XXX)\b`), []string{"arch_test.go"}, "finish it, or write it into the issue"},
	{regexp.MustCompile(`\bos\.Setenv\(`), nil, "the environment is read once, by cli"},
	{regexp.MustCompile(`InsecureSkipVerify:\s*true`), []string{"dataplane/tls/", "controlplane/identity/", "dataplane/identity/"}, "only where a SPIFFE verifier stands in its place"},
}

func TestBannedCalls(t *testing.T) {
	for _, p := range packages(t) {
		for _, f := range p.GoFiles {
			path, _ := filepath.Rel(mustGetwd(t), filepath.Join(p.Dir, f))
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range banned {
				if slices.ContainsFunc(b.except, func(e string) bool { return strings.HasPrefix(path, e) }) {
					continue
				}
				if at := b.pattern.FindIndex(text); at != nil {
					t.Errorf("%s:%d: %q: %s", path, 1+bytes.Count(text[:at[0]], []byte("\n")), text[at[0]:at[1]], b.why)
				}
			}
		}
	}
}

// TestNoMutableState: a package-level variable is a constant in all but name (errors, tables, regular expressions), or the
// linker's build version.
func TestNoMutableState(t *testing.T) {
	for _, p := range packages(t) {
		if strings.HasPrefix(p.ImportPath, module+"wire/") {
			continue
		}
		fset := token.NewFileSet()
		for _, name := range p.GoFiles {
			file, err := parser.ParseFile(fset, filepath.Join(p.Dir, name), nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			assigned := packageVariables(file)
			ast.Inspect(file, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.FuncDecl:
					if n.Recv == nil && n.Name.Name == "init" {
						t.Errorf("%s: init(): order and content belong where a reader sees them", fset.Position(n.Pos()))
					}
				case *ast.AssignStmt:
					if n.Tok != token.ASSIGN {
						return true
					}
					for _, left := range n.Lhs {
						if id, ok := left.(*ast.Ident); ok && id.Obj != nil && assigned[id.Obj] {
							t.Errorf("%s: assigns the package-level %s: inject it instead", fset.Position(n.Pos()), id.Name)
						}
					}
				}
				return true
			})
		}
	}
}

// packageVariables uses the parser's own resolution of names: it is exact within one file, which is all that is asked, and
// needs no type checking.
//
//lint:ignore SA1019 see above
func packageVariables(file *ast.File) map[*ast.Object]bool {
	vars := map[*ast.Object]bool{} //lint:ignore SA1019 see above
	for _, d := range file.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.VAR {
			for _, s := range g.Specs {
				for _, id := range s.(*ast.ValueSpec).Names {
					if id.Obj != nil {
						vars[id.Obj] = true
					}
				}
			}
		}
	}
	return vars
}

func in(name string, patterns []string) bool {
	for _, p := range patterns {
		if base, below := strings.CutSuffix(p, "..."); below {
			if strings.HasPrefix(name+"/", base) {
				return true
			}
		} else if name == p {
			return true
		}
	}
	return false
}

func mustGetwd(t *testing.T) string {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
