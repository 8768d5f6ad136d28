package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/rest/client"
)

func (p *program) identity() *cobra.Command {
	return p.group(&cobra.Command{
		Use: "identity", Short: "Revoke identities",
		Example: "  hauberk identity revoke spiffe://default.default.mesh.local/workload/cart",
	}, p.identityRevoke())
}

func (p *program) identityRevoke() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "revoke SPIFFE-ID",
		Short: "Issue nothing more to an identity, and have every proxy refuse it",
		Long: "From now on nothing is issued to the identity, and every connected proxy refuses its handshakes. It holds until the\n" +
			"IdentityRevocation is gone with its mesh.",
		Example: "  hauberk identity revoke spiffe://default.default.mesh.local/workload/cart",
		Args:    args(1, 1, "a SPIFFE ID, as spiffe://default.default.mesh.local/workload/cart"),
	}
	c := p.meshFlags(cmd)
	return p.verb(cmd, func(ctx context.Context, args []string) error {
		if err := api.CheckSPIFFEID(args[0]); err != nil {
			return usagef("%v", err)
		}
		return p.with(c, func(cl *client.Client) error {
			if err := cl.RevokeIdentity(ctx, c.mesh, args[0]); err != nil {
				return err
			}
			p.progress("%s is revoked in mesh %s", args[0], c.mesh)
			return nil
		})
	})
}
