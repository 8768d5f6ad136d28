package cli

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/controlplane/rest/client"
)

func (p *program) stat() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "stat",
		Short: "Show success rate and latency of each service",
		Long: "Shows what each service was asked and how it answered. Refusals by permission count apart from errors. A percentile is\n" +
			"that of the service's slowest caller.",
		Example: "  hauberk stat\n  hauberk stat --window 30s",
		Args:    args(0, 0, "no arguments"),
	}
	c := p.meshFlags(cmd)
	out := outputFlag(cmd)
	window := windowFlag(cmd)
	return p.verb(cmd, func(ctx context.Context, _ []string) error {
		return p.with(c, func(cl *client.Client) error {
			s, err := cl.Stat(ctx, c.mesh, *window)
			if err != nil {
				return err
			}
			return p.print(*out, s, func(w io.Writer) {
				row(w, "SERVICE", "READY", "SUCCESS", "REQUESTS", "ERRORS", "DENIED", "RPS", "P50 MS", "P90 MS", "P99 MS", "SECURED")
				for _, r := range s.Services {
					ready := fmt.Sprintf("%d/%d", r.Ready, r.Dataplanes)
					if r.Requests == 0 {
						row(w, r.Service, ready, "-", 0, 0, 0, "-", "-", "-", "-", "-")
						continue
					}
					row(w, r.Service, ready, percent(r.SuccessRate), r.Requests, r.Errors, r.Denied,
						ms(r.RPS), ms(r.P50), ms(r.P90), ms(r.P99), percent(r.SecuredShare))
				}
			})
		})
	})
}
