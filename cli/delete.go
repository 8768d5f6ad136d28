package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/rest"
	"github.com/hauberk-mesh/hauberk/controlplane/rest/client"
)

func (p *program) delete() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "delete KINDS NAME... | -f FILE|DIR|-",
		Short: "Remove resources",
		Long: "Removes resources by name, or those that files name. Files are removed from last to first, one by one.\n" +
			"A Mesh takes all that is in it along, and stays as long as a dataplane lives in it.",
		Example:           "  hauberk delete meshtimeouts slow\n  hauberk delete -f policies/",
		ValidArgsFunction: completeKinds,
	}
	c := p.meshFlags(cmd)
	out := outputFlag(cmd)
	files := cmd.Flags().StringArrayP("file", "f", nil, "file, directory or - for stdin, whose resources are removed; may be repeated")
	missingOK := cmd.Flags().Bool("ignore-not-found", false, "do not fail on what is not there")
	return p.verb(cmd, func(ctx context.Context, args []string) error {
		keys, err := p.named(*files, args, c.mesh)
		if err != nil {
			return err
		}
		return p.with(c, func(cl *client.Client) error {
			answer := rest.Applied{Resources: []rest.AppliedResource{}}
			for _, k := range keys {
				kind, err := kindOf(k.Kind)
				if err != nil {
					return err
				}
				one, err := cl.Delete(ctx, kind.Plural, k.Name, k.Mesh)
				if client.IsStatus(err, http.StatusNotFound) && *missingOK {
					continue
				}
				if err != nil {
					return errors.Join(err, p.deleted(*out, answer))
				}
				answer.Generation = one.Generation
				answer.Resources = append(answer.Resources, one.Resources...)
			}
			return p.deleted(*out, answer)
		})
	})
}

func (p *program) deleted(out format, answer rest.Applied) error {
	return p.print(out, answer, func(w io.Writer) {
		for _, r := range answer.Resources {
			fmt.Fprintf(w, "%v %s\n", api.Key{Kind: r.Kind, Mesh: r.Mesh, Name: r.Name}, r.Outcome)
		}
	})
}

// named are the keys that arguments or files name.
func (p *program) named(files, args []string, mesh string) ([]api.Key, error) {
	var keys []api.Key
	switch {
	case len(files) > 0 && len(args) > 0:
		return nil, usagef("delete takes either KINDS and NAMEs, or -f")
	case len(files) > 0:
		docs, err := p.read(files)
		if err != nil {
			return nil, err
		}
		for _, d := range slices.Backward(docs.resources) {
			keys = append(keys, d.Key())
		}
	case len(args) < 2:
		return nil, usagef("delete takes KINDS and one NAME or more, as in: hauberk delete meshtimeouts slow")
	default:
		kind, err := kindOf(args[0])
		if err != nil {
			return nil, err
		}
		for _, name := range args[1:] {
			keys = append(keys, api.Key{Kind: kind.Name, Mesh: mesh, Name: name})
		}
	}
	return keys, nil
}
