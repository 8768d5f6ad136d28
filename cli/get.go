package cli

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/rest/client"
)

func (p *program) get() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "get KINDS [NAME]",
		Short: "Show resources",
		Long: "Shows the resources of a kind, or one of them. What -o yaml prints can be applied again: it leaves out what the\n" +
			"control plane wrote (revision, time, origin). -o json has everything.",
		Example:           "  hauberk get dataplanes\n  hauberk get meshtrafficpermissions allow-web -o yaml\n  hauberk get meshservices --all-meshes",
		Args:              args(1, 2, "KINDS and perhaps a NAME, as in: hauberk get dataplanes cart-1"),
		ValidArgsFunction: completeKinds,
	}
	c := p.meshFlags(cmd)
	out := outputFlag(cmd)
	everywhere := cmd.Flags().BoolP("all-meshes", "A", false, "of all meshes")
	return p.verb(cmd, func(ctx context.Context, args []string) error {
		kind, err := kindOf(args[0])
		if err != nil {
			return err
		}
		if *everywhere {
			if len(args) == 2 {
				return usagef("--all-meshes does not go with a NAME: a name is meant in one mesh")
			}
			c.mesh = "*"
		}
		return p.with(c, func(cl *client.Client) error {
			if len(args) == 2 {
				r, err := cl.Get(ctx, kind.Plural, args[1], c.mesh)
				if err != nil {
					return err
				}
				if *out == asJSON {
					return p.print(asJSON, r, nil)
				}
				return p.resources(*out, kind, []*api.Resource{r}, false)
			}
			all, err := cl.List(ctx, kind.Plural, c.mesh)
			if err != nil {
				return err
			}
			return p.resources(*out, kind, all, *everywhere)
		})
	})
}

func (p *program) resources(out format, kind api.Kind, all []*api.Resource, everywhere bool) error {
	switch out {
	case asYAML:
		for i, r := range all {
			text, err := applicable(r)
			if err != nil {
				return err
			}
			if i > 0 {
				fmt.Fprintln(p.stdout, "---")
			}
			if _, err := p.stdout.Write(text); err != nil {
				return err
			}
		}
		return nil
	case asJSON:
		if all == nil {
			all = []*api.Resource{}
		}
		return p.print(asJSON, map[string]any{"items": all}, nil)
	}
	if len(all) == 0 {
		p.progress("no %s", kind.Plural)
		return nil
	}
	return p.print(asTable, nil, func(w io.Writer) {
		header, cells := columns(kind)
		if everywhere {
			header = append([]any{"MESH"}, header...)
		}
		row(w, append(header, "ORIGIN", "AGE")...)
		for _, r := range all {
			line := cells(r)
			if everywhere {
				line = append([]any{dash(r.Mesh())}, line...)
			}
			row(w, append(line, dash(r.Metadata.Labels[api.LabelOrigin]), ago(r.Metadata.CreationTime))...)
		}
	})
}

// applicable is a resource as its user would have written it.
func applicable(r *api.Resource) ([]byte, error) {
	c := *r
	c.Metadata.ResourceVersion, c.Metadata.CreationTime = "", nil
	c.Metadata.Labels = map[string]string{}
	for k, v := range r.Metadata.Labels {
		if k != api.LabelOrigin {
			c.Metadata.Labels[k] = v
		}
	}
	return yaml.Marshal(&c)
}

// columns are what a table shows of a kind.
func columns(kind api.Kind) (header []any, cells func(*api.Resource) []any) {
	switch kind.Name {
	case "Dataplane":
		return []any{"NAME", "SERVICE", "ADDRESS", "INBOUNDS", "OUTBOUNDS"}, func(r *api.Resource) []any {
			spec := r.Spec.(*resource.Dataplane)
			return []any{r.Metadata.Name, dash(r.Metadata.Labels[api.LabelService]), spec.Address, inbounds(spec), outbounds(spec)}
		}
	case "MeshService":
		return []any{"NAME", "PORTS"}, func(r *api.Resource) []any {
			var ports []string
			for _, port := range r.Spec.(*resource.MeshService).Ports {
				ports = append(ports, fmt.Sprintf("%d/%s", port.Port, dash(port.AppProtocol)))
			}
			return []any{r.Metadata.Name, dash(strings.Join(ports, ","))}
		}
	case "MeshTrust":
		return []any{"NAME", "TRUST DOMAIN"}, func(r *api.Resource) []any {
			return []any{r.Metadata.Name, r.Spec.(*resource.MeshTrust).TrustDomain}
		}
	case "IdentityRevocation": // its name is a hash
		return []any{"NAME", "SPIFFE ID"}, func(r *api.Resource) []any {
			return []any{r.Metadata.Name, r.Spec.(*resource.IdentityRevocation).SpiffeID}
		}
	case "Token":
		return []any{"NAME", "TYPE", "FOR", "EXPIRES", "REVOKED"}, tokenCells
	default:
		return []any{"NAME"}, func(r *api.Resource) []any { return []any{r.Metadata.Name} }
	}
}

func inbounds(d *resource.Dataplane) string {
	var all []string
	for _, in := range d.Inbounds {
		protocol := in.Protocol
		if protocol == "" {
			protocol = "tcp"
		}
		all = append(all, fmt.Sprintf("%d/%s", in.Port, protocol))
	}
	return dash(strings.Join(all, ","))
}

func outbounds(d *resource.Dataplane) string {
	var all []string
	for _, o := range d.Outbounds {
		all = append(all, o.BackendRef.Name)
	}
	return dash(strings.Join(all, ","))
}
