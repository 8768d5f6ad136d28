package cli

import (
	"context"
	"fmt"
	"io"
	"runtime"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/controlplane/rest"
	"github.com/hauberk-mesh/hauberk/controlplane/rest/client"
)

func (p *program) version() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show the version of this program, and of the control plane with --server",
		Example: "  hauberk version\n  hauberk version --server -o json",
		Args:    args(0, 0, "no arguments"),
	}
	c := p.connectFlags(cmd)
	out := outputFlag(cmd)
	server := cmd.Flags().Bool("server", false, "ask the control plane too")
	return p.verb(cmd, func(ctx context.Context, _ []string) error {
		answer := map[string]*rest.Version{"client": {Version: buildVersion, GoVersion: runtime.Version()}}
		if *server {
			err := p.with(c, func(cl *client.Client) (err error) {
				answer["server"], err = cl.Version(ctx)
				return err
			})
			if err != nil {
				return err
			}
		}
		return p.print(*out, answer, func(w io.Writer) {
			for _, side := range []string{"client", "server"} {
				if v := answer[side]; v != nil {
					fmt.Fprintf(w, "%s\thauberk %s (%s)\n", side, v.Version, v.GoVersion)
				}
			}
		})
	})
}
