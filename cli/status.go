package cli

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/controlplane/rest"
	"github.com/hauberk-mesh/hauberk/controlplane/rest/client"
)

func (p *program) status() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show each dataplane: connected or not, and what it runs",
		Long: "Shows each dataplane of a mesh with the generation of the configuration that it runs. STATE is current, pending\n" +
			"(sent, not yet acknowledged), rejected (with the proxy's reason) or disconnected.",
		Example: "  hauberk status\n  hauberk status --mesh payments -o json",
		Args:    args(0, 0, "no arguments"),
	}
	c := p.meshFlags(cmd)
	out := outputFlag(cmd)
	return p.verb(cmd, func(ctx context.Context, _ []string) error {
		return p.with(c, func(cl *client.Client) error {
			s, err := cl.Status(ctx, c.mesh)
			if err != nil {
				return err
			}
			if *out == asTable && len(s.Dataplanes) == 0 {
				p.progress("mesh %s has no dataplanes: hauberk dataplane run starts one", s.Mesh)
				return nil
			}
			return p.print(*out, s, func(w io.Writer) {
				row(w, "DATAPLANE", "SERVICE", "CONNECTED", "SINCE", "GENERATION", "STATE")
				for _, d := range s.Dataplanes {
					row(w, d.Dataplane, dash(d.Service), yes(d.Connected), ago(d.Since), d.Generation, stateOf(d))
				}
			})
		})
	})
}

// stateOf adds to the word what makes it useful.
func stateOf(d rest.ProxyStatus) string {
	s := d.State
	if d.NACK != "" {
		s += ": " + d.NACK
	}
	if len(d.Unready) > 0 {
		s += "; not ready: " + strings.Join(d.Unready, "; ")
	}
	return s
}
