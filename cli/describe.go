package cli

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/rest/client"
)

func (p *program) describe() *cobra.Command {
	cmd := &cobra.Command{
		Use:               "describe KINDS NAME",
		Short:             "Tell all about one resource",
		Long:              "Tells what a resource says and what becomes of it: of a dataplane its state and the policies in force, of a policy the\ndataplanes that it decides on, of a service who serves it and who calls it. For people; scripts use get and inspect.",
		Example:           "  hauberk describe dataplanes cart-1\n  hauberk describe meshservices cart",
		Args:              args(2, 2, "KINDS and a NAME, as in: hauberk describe dataplanes cart-1"),
		ValidArgsFunction: completeKinds,
	}
	c := p.meshFlags(cmd)
	return p.verb(cmd, func(ctx context.Context, args []string) error {
		kind, err := kindOf(args[0])
		if err != nil {
			return err
		}
		return p.with(c, func(cl *client.Client) error {
			r, err := cl.Get(ctx, kind.Plural, args[1], c.mesh)
			if err != nil {
				return err
			}
			p.describeMeta(r)
			if err := p.describeSpec(r); err != nil {
				return err
			}
			switch {
			case kind.Name == "Dataplane":
				return p.describeDataplane(ctx, cl, r)
			case kind.Name == "MeshService":
				return p.describeService(ctx, cl, r)
			case kind.IsPolicy:
				return p.describePolicy(ctx, cl, kind, r)
			}
			return nil
		})
	})
}

func (p *program) describeMeta(r *api.Resource) {
	_ = p.print(asTable, nil, func(w io.Writer) {
		row(w, "Kind:", r.Kind)
		row(w, "Name:", r.Metadata.Name)
		if r.Mesh() != "" {
			row(w, "Mesh:", r.Mesh())
		}
		for i, k := range slices.Sorted(maps.Keys(r.Metadata.Labels)) {
			title := ""
			if i == 0 {
				title = "Labels:"
			}
			row(w, title, k+"="+r.Metadata.Labels[k])
		}
		if t := r.Metadata.CreationTime; t != nil {
			row(w, "Created:", fmt.Sprintf("%s (%s ago)", t.Format("2006-01-02 15:04:05 MST"), ago(t)))
		}
		if r.Metadata.ResourceVersion != "" {
			row(w, "Generation:", r.Metadata.ResourceVersion)
		}
	})
}

func (p *program) describeSpec(r *api.Resource) error {
	text, err := yaml.Marshal(r.Spec)
	if err != nil {
		return err
	}
	p.section("Spec")
	for line := range strings.Lines(string(text)) {
		fmt.Fprint(p.stdout, "  "+line)
	}
	return nil
}

func (p *program) section(title string) { fmt.Fprintf(p.stdout, "\n%s:\n", title) }

func (p *program) describeDataplane(ctx context.Context, cl *client.Client, r *api.Resource) error {
	status, err := cl.Status(ctx, r.Mesh())
	if err != nil {
		return err
	}
	inspected, err := cl.InspectDataplane(ctx, r.Metadata.Name, r.Mesh())
	if err != nil {
		return err
	}
	p.section("State")
	for _, d := range status.Dataplanes {
		if d.Dataplane == r.Metadata.Name {
			fmt.Fprintf(p.stdout, "  %s, generation %d of %d\n", plain(stateOf(d)), d.Generation, status.Generation)
		}
	}
	fmt.Fprintf(p.stdout, "  identity %s\n", inspected.Proxy.SPIFFEID)
	p.section("In force")
	return p.print(asTable, nil, func(w io.Writer) { contributions(w, inspected.Contributions) })
}

func (p *program) describePolicy(ctx context.Context, cl *client.Client, kind api.Kind, r *api.Resource) error {
	inspected, err := cl.InspectPolicy(ctx, kind.Plural, r.Metadata.Name, r.Mesh())
	if err != nil {
		return err
	}
	p.section("Decides on")
	if len(inspected.Dataplanes) == 0 {
		fmt.Fprintln(p.stdout, "  nothing")
	}
	for _, d := range inspected.Dataplanes {
		var fields []string
		for _, f := range d.Contributions {
			if text := f.On + " " + f.Field; !slices.Contains(fields, text) {
				fields = append(fields, text)
			}
		}
		fmt.Fprintf(p.stdout, "  %s: %s\n", plain(d.Dataplane), plain(strings.Join(fields, ", ")))
	}
	return nil
}

func (p *program) describeService(ctx context.Context, cl *client.Client, r *api.Resource) error {
	dataplanes, err := cl.List(ctx, "dataplanes", r.Mesh())
	if err != nil {
		return err
	}
	selected := r.Spec.(*resource.MeshService).Selector.DataplaneLabels.MatchLabels
	var servers, callers []string
	for _, d := range dataplanes {
		if len(selected) > 0 && matches(d.Metadata.Labels, selected) {
			servers = append(servers, d.Metadata.Name)
		}
		for _, o := range d.Spec.(*resource.Dataplane).Outbounds {
			if o.BackendRef.Name == r.Metadata.Name && !slices.Contains(callers, d.Metadata.Name) {
				callers = append(callers, d.Metadata.Name)
			}
		}
	}
	p.section("Dataplanes")
	fmt.Fprintf(p.stdout, "  served by %s\n  called by %s\n", dash(strings.Join(servers, ", ")), dash(strings.Join(callers, ", ")))
	return nil
}

func matches(labels, selected map[string]string) bool {
	for k, v := range selected {
		if labels[k] != v {
			return false
		}
	}
	return true
}
