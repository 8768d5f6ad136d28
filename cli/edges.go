package cli

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/controlplane/rest/client"
)

func (p *program) edges() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "edges",
		Short: "Show who talks to whom, and how it is secured",
		Long: "Shows each pair of services that talked, with the SPIFFE IDs that the handshakes proved. Counts are since the control\n" +
			"plane started, or of the last --window.",
		Example: "  hauberk edges\n  hauberk edges --window 1m -o json",
		Args:    args(0, 0, "no arguments"),
	}
	c := p.meshFlags(cmd)
	out := outputFlag(cmd)
	window := windowFlag(cmd)
	return p.verb(cmd, func(ctx context.Context, _ []string) error {
		return p.with(c, func(cl *client.Client) error {
			e, err := cl.Edges(ctx, c.mesh, *window)
			if err != nil {
				return err
			}
			if *out == asTable && len(e.Edges) == 0 {
				p.progress("no proxy of mesh %s has reported traffic", e.Mesh)
				return nil
			}
			return p.print(*out, e, func(w io.Writer) {
				row(w, "SOURCE", "DESTINATION", "PROTOCOL", "REQUESTS", "ERRORS", "DENIED", "RPS", "P50 MS", "P99 MS", "TLS", "SOURCE ID", "DESTINATION ID")
				for _, r := range e.Edges {
					row(w, dash(r.Source), dash(r.Destination), r.Protocol, r.Requests, r.Errors, r.Denied, ms(r.RPS), ms(r.P50), ms(r.P99),
						dash(r.TLSVersion), dash(r.SourceID), dash(r.DestinationID))
				}
			})
		})
	})
}

func windowFlag(cmd *cobra.Command) *time.Duration {
	return cmd.Flags().Duration("window", 0, "only the last so much time, at most 1m (default: since the control plane started)")
}
