package cli

import (
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/controlplane/rest/client"
	"github.com/hauberk-mesh/hauberk/policy"
)

func (p *program) inspect() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "inspect KINDS NAME",
		Short: "Show which policy decides what on a dataplane, or where a policy is in force",
		Long: "For a dataplane: each field in force and the resource that it came from; -o yaml and -o json add the whole resolved\n" +
			"configuration. For a policy: the dataplanes on which it decides something.",
		Example:           "  hauberk inspect dataplanes cart-1\n  hauberk inspect meshtrafficpermissions allow-web",
		Args:              args(2, 2, "KINDS and a NAME: dataplanes cart-1, or a kind of policy and its name"),
		ValidArgsFunction: completeKinds,
	}
	c := p.meshFlags(cmd)
	out := outputFlag(cmd)
	return p.verb(cmd, func(ctx context.Context, args []string) error {
		kind, err := kindOf(args[0])
		if err != nil {
			return err
		}
		if kind.Name != "Dataplane" && !kind.IsPolicy {
			return usagef("%s cannot be inspected: inspect dataplanes, or a kind of policy", kind.Plural)
		}
		return p.with(c, func(cl *client.Client) error {
			if kind.Name == "Dataplane" {
				d, err := cl.InspectDataplane(ctx, args[1], c.mesh)
				if err != nil {
					return err
				}
				return p.print(*out, d, func(w io.Writer) { contributions(w, d.Contributions) })
			}
			pol, err := cl.InspectPolicy(ctx, kind.Plural, args[1], c.mesh)
			if err != nil {
				return err
			}
			if *out == asTable && len(pol.Dataplanes) == 0 {
				p.progress("%s decides nothing on any dataplane", pol.Policy)
				return nil
			}
			return p.print(*out, pol, func(w io.Writer) {
				row(w, "DATAPLANE", "SERVICE", "ON", "FIELD", "VALUE")
				for _, d := range pol.Dataplanes {
					for _, f := range d.Contributions {
						row(w, d.Dataplane, dash(d.Service), f.On, f.Field, f.Value)
					}
				}
			})
		})
	})
}

func contributions(w io.Writer, all []policy.Contribution) {
	row(w, "ON", "FIELD", "VALUE", "FROM", "RULE")
	for _, f := range all {
		row(w, f.On, f.Field, f.Value, f.Origin, f.Rule)
	}
}
