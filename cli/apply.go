package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/rest"
	"github.com/hauberk-mesh/hauberk/controlplane/rest/client"
)

func (p *program) apply() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "apply -f FILE|DIR|-",
		Short: "Store resources, all of them or none",
		Long: "Stores every document of the files in one transaction: either all are valid and stored, or nothing changes.\n" +
			"With --wait it returns when every connected proxy that is affected runs the change, and fails if one refuses it.",
		Example: "  hauberk apply -f mesh.yaml --wait\n  hauberk apply -f policies/ -f more.yaml\n  hauberk get meshtimeouts -o yaml | hauberk apply -f -",
		Args:    cobra.NoArgs,
	}
	c := p.connectFlags(cmd)
	out := outputFlag(cmd)
	files := cmd.Flags().StringArrayP("file", "f", nil, "file, directory (its *.yaml, *.yml and *.json), or - for stdin; may be repeated")
	wait := cmd.Flags().Bool("wait", false, "wait until every affected and connected proxy runs it")
	timeout := cmd.Flags().Duration("timeout", 30*time.Second, "how long --wait waits")
	return p.verb(cmd, func(ctx context.Context, _ []string) error {
		if len(*files) == 0 {
			return usagef("apply needs -f: a file, a directory, or - for stdin")
		}
		docs, err := p.read(*files)
		if err != nil {
			return err
		}
		return p.with(c, func(cl *client.Client) error {
			applied, err := cl.Apply(ctx, docs.body)
			if err != nil {
				return docs.placed(err)
			}
			for _, w := range applied.Warnings {
				p.progress("warning: %s", w)
			}
			err = p.print(*out, applied, func(w io.Writer) {
				for _, r := range applied.Resources {
					row(w, api.Key{Kind: r.Kind, Mesh: r.Mesh, Name: r.Name}.String()+" "+r.Outcome)
				}
			})
			if err != nil || !*wait {
				return err
			}
			return p.waitFor(ctx, cl, applied, *timeout)
		})
	})
}

// waitFor waits in every mesh that was touched, and says who does not run the change.
func (p *program) waitFor(ctx context.Context, cl *client.Client, applied *rest.Applied, timeout time.Duration) error {
	deadline := time.Now().Add(timeout)
	failed := false
	for _, mesh := range meshesOf(applied) {
		got, err := cl.Propagation(ctx, mesh, applied.Generation, max(time.Until(deadline), 0))
		if err != nil {
			return err
		}
		if n := len(got.Acked); n > 0 {
			who := "1 proxy of mesh " + mesh + " runs"
			if n > 1 {
				who = fmt.Sprintf("%d proxies of mesh %s run", n, mesh)
			}
			p.progress("generation %d: %s it", got.Generation, who)
		} else if len(got.NACKed)+len(got.Waiting) == 0 {
			p.progress("generation %d: no connected proxy of mesh %s is affected", got.Generation, mesh)
		}
		if len(got.NotConnected) > 0 {
			p.progress("not connected, so that they will run it when they are back: %s", strings.Join(got.NotConnected, ", "))
		}
		for _, n := range got.NACKed {
			p.progress("%s refuses it: %s", n.Dataplane, plain(n.Reason))
			failed = true
		}
		if !got.Done {
			p.progress("after %v still waiting for: %s", timeout, dash(strings.Join(got.Waiting, ", ")))
			failed = true
		}
	}
	if failed {
		return fmt.Errorf("generation %d is stored, but not every proxy runs it: hauberk status shows which", applied.Generation)
	}
	return nil
}

func meshesOf(applied *rest.Applied) []string {
	var all []string
	for _, r := range applied.Resources {
		mesh := r.Mesh
		if r.Kind == "Mesh" {
			mesh = r.Name
		}
		if !slices.Contains(all, mesh) {
			all = append(all, mesh)
		}
	}
	return all
}

// documents are what is applied or deleted, with where each came from.
type documents struct {
	resources []*api.Resource
	from      []place
	body      []byte // all of them, as one input
}

// place is a document in a file.
type place struct {
	source   string
	document int // from 1
}

// read decodes everything, and reports every mistake in every file at once.
func (p *program) read(files []string) (*documents, error) {
	sources, err := expandFiles(files)
	if err != nil {
		return nil, err
	}
	d := &documents{}
	invalid := &api.InvalidError{}
	first := map[api.Key]place{}
	kinds := registry()
	for _, s := range sources {
		text, err := p.readSource(s)
		if err != nil {
			return nil, err
		}
		docs, err := kinds.Decode(s, text)
		var wrong *api.InvalidError
		if errors.As(err, &wrong) {
			invalid.Problems = append(invalid.Problems, wrong.Problems...)
			continue
		} else if err != nil {
			return nil, err
		}
		for i, doc := range docs {
			here := place{s, i + 1}
			if there, twice := first[doc.Key()]; twice {
				invalid.Problems = append(invalid.Problems, api.Finding{Source: s, Document: i + 1, Kind: doc.Kind, Name: doc.Metadata.Name,
					Problem: api.Problem{Field: "metadata.name", Message: fmt.Sprintf("is also in %s, document %d", there.source, there.document), Fix: "rename one of the two, or remove one"}})
				continue
			}
			first[doc.Key()] = here
			if err := d.add(kinds, doc, here); err != nil {
				return nil, err
			}
		}
	}
	if len(invalid.Problems) > 0 {
		return nil, fmt.Errorf("nothing was applied\n%w", invalid)
	}
	if len(d.resources) == 0 {
		return nil, fmt.Errorf("there is no document in %s", strings.Join(sources, ", "))
	}
	return d, nil
}

func (d *documents) add(kinds *api.Registry, doc *api.Resource, from place) error {
	text, err := kinds.Encode(doc)
	if err != nil {
		return err
	}
	d.resources = append(d.resources, doc)
	d.from = append(d.from, from)
	d.body = append(d.body, "---\n"...)
	d.body = append(append(d.body, bytes.TrimSpace(text)...), '\n')
	return nil
}

// placed turns the control plane's document numbers, which count over all files, into files and their documents.
func (d *documents) placed(err error) error {
	var refused *rest.Error
	if !errors.As(err, &refused) {
		return err
	}
	for i, f := range refused.Problems {
		if f.Document >= 1 && f.Document <= len(d.from) {
			at := d.from[f.Document-1]
			refused.Problems[i].Source, refused.Problems[i].Document, refused.Problems[i].Line, refused.Problems[i].FieldLine = at.source, at.document, 0, 0
		}
	}
	return refused
}

// expandFiles replaces directories by their files.
func expandFiles(files []string) ([]string, error) {
	var all []string
	for _, f := range files {
		if f == "-" {
			all = append(all, stdinName)
			continue
		}
		info, err := os.Stat(f)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s is not there: -f takes a file, a directory, or - for stdin", f)
		} else if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			all = append(all, f)
			continue
		}
		entries, err := os.ReadDir(f)
		if err != nil {
			return nil, err
		}
		before := len(all)
		for _, e := range entries {
			if ext := filepath.Ext(e.Name()); !e.IsDir() && slices.Contains([]string{".yaml", ".yml", ".json"}, ext) {
				all = append(all, filepath.Join(f, e.Name()))
			}
		}
		if len(all) == before {
			return nil, fmt.Errorf("directory %s has no *.yaml, *.yml or *.json", f)
		}
	}
	return all, nil
}

const stdinName = "stdin"

func (p *program) readSource(source string) ([]byte, error) {
	if source != stdinName {
		return os.ReadFile(source)
	}
	text, err := io.ReadAll(io.LimitReader(p.stdin, rest.MaxBody+1))
	if err != nil {
		return nil, fmt.Errorf("stdin: %w", err)
	}
	return text, nil
}
