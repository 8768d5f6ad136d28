package docs

import (
	"bytes"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/dataplane/bootstrap"
	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/standalone"
	"github.com/hauberk-mesh/hauberk/policy/all"
	"github.com/hauberk-mesh/hauberk/policy/all/filters"
)

var update = flag.Bool("update", false, "rewrite the generated tables in docs")

const root = "../.."

// TestGenerated: the tables of docs/envoy-compat.md and docs/reasons.md are what the code says.
func TestGenerated(t *testing.T) {
	for file, table := range map[string]string{"docs/envoy-compat.md": compat(), "docs/reasons.md": reasons()} {
		path := filepath.Join(root, file)
		old, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		head, _, ok := bytes.Cut(old, []byte(marker))
		if !ok {
			t.Fatalf("%s has no line %q", file, strings.TrimSpace(marker))
		}
		now := append(append(bytes.Clone(head), marker...), table...)
		if bytes.Equal(now, old) {
			continue
		}
		if !*update {
			t.Errorf("%s is stale: make gen", file)
		} else if err := os.WriteFile(path, now, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

const marker = "<!-- generated: make gen -->\n"

func compat() string {
	var b strings.Builder
	message := ""
	for _, e := range config.Compat() {
		name := e.Message
		if e.Within != "" {
			name += " (in " + e.Within + ")"
		}
		if name != message {
			fmt.Fprintf(&b, "\n### %s\n\n| field | class | why it is harmless |\n|---|---|---|\n", name)
			message = name
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", e.Field, e.Class, e.Note)
	}
	return b.String()
}

func reasons() string {
	var b strings.Builder
	b.WriteString("\n| reason | status | flag | what the caller reads |\n|---|---|---|---|\n")
	for _, r := range http.Reasons() {
		fmt.Fprintf(&b, "| `%s` | %d | %s | %s |\n", r.Code, r.Status, r.Flag, r.Sentence)
	}
	return b.String()
}

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

// TestExamples: every yaml block in README.md and docs decodes and validates; one with static_resources is a bootstrap file, and
// the proxy takes it.
func TestExamples(t *testing.T) {
	registry := api.NewRegistry(append(resource.Kinds(), all.Kinds()...)...)
	files, err := filepath.Glob(filepath.Join(root, "docs", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := 0
	for _, file := range append(files, filepath.Join(root, "README.md")) {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for i, b := range yamlBlock.FindAllSubmatch(text, -1) {
			blocks++
			name := fmt.Sprintf("%s, example %d", filepath.Base(file), i+1)
			if bytes.Contains(b[1], []byte("static_resources:")) {
				if err := checkBootstrap(name, b[1]); err != nil {
					t.Error(err)
				}
				continue
			}
			if _, err := registry.Decode(name, b[1]); err != nil {
				t.Error(err)
			}
		}
	}
	if blocks == 0 {
		t.Error("no examples were found")
	}
}

func checkBootstrap(name string, text []byte) error {
	file, err := bootstrap.Parse(name, text)
	if err != nil {
		return err
	}
	proxy, err := standalone.New(standalone.Config{Bootstrap: file, Filters: filters.Factories(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	_, err = proxy.Check()
	return err
}

// TestLinks: what a document points at in this repository is there.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#:]+)(#[^)]*)?\)`)
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/adr/*.md", "policy/*/README.md"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range link.FindAllSubmatch(text, -1) {
				if _, err := os.Stat(filepath.Join(filepath.Dir(file), string(m[1]))); err != nil {
					t.Errorf("%s links to %s, which is not there", file, m[1])
				}
			}
		}
	}
}

// TestArchitecture: each file that ARCHITECTURE.md names exists.
func TestArchitecture(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "ARCHITECTURE.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile("`([a-z][a-z0-9_./-]*\\.(?:go|proto))`").FindAllSubmatch(text, -1)
	if len(names) < 20 {
		t.Errorf("only %d files are named", len(names))
	}
	for _, m := range names {
		if _, err := os.Stat(filepath.Join(root, string(m[1]))); err != nil {
			t.Errorf("ARCHITECTURE.md names %s, which is not there", m[1])
		}
	}
}
