package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/api/resource"
	"github.com/hauberk-mesh/hauberk/controlplane/rest"
	"github.com/hauberk-mesh/hauberk/controlplane/rest/client"
)

func (p *program) token() *cobra.Command {
	create := p.group(&cobra.Command{
		Use: "create", Short: "Make a token",
		Example: "  hauberk token create dataplane --name cart-1 --service cart > token",
	}, p.tokenCreateDataplane(), p.tokenCreateUser())
	return p.group(&cobra.Command{
		Use: "token", Short: "Make, list and revoke tokens",
		Long:    "A dataplane token buys the identity of one dataplane, a user token the use of the API.",
		Example: "  hauberk token create dataplane --name cart-1 --service cart\n  hauberk token list\n  hauberk token revoke 6e1f...",
	}, create, p.tokenList(), p.tokenRevoke())
}

func (p *program) tokenCreateDataplane() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "dataplane --name NAME --service SERVICE",
		Short:   "Make a token with which one dataplane joins; prints the token alone",
		Example: "  hauberk token create dataplane --name cart-1 --service cart --valid-for 1h > token",
		Args:    args(0, 0, "no arguments: the name is --name"),
	}
	c := p.meshFlags(cmd)
	out := outputFlag(cmd)
	t := rest.TokenRequest{Type: "dataplane"}
	cmd.Flags().StringVar(&t.Name, "name", "", "name of the Dataplane")
	cmd.Flags().StringVar(&t.Service, "service", "", "its service (label "+api.LabelService+")")
	cmd.Flags().StringVar(&t.Workload, "workload", "", "last part of its SPIFFE ID (default: the service)")
	validFor := validForFlag(cmd)
	return p.verb(cmd, func(ctx context.Context, _ []string) error {
		if t.Name == "" {
			return usagef("token create dataplane needs --name, the name of the Dataplane")
		}
		if t.Service == "" {
			return usagef("token create dataplane needs --service: a token buys the identity of one service's dataplane")
		}
		t.Mesh, t.ValidFor = c.mesh, &api.Duration{Duration: *validFor}
		return p.createToken(ctx, c, t, *out)
	})
}

func (p *program) tokenCreateUser() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "user --name NAME",
		Short:   "Make a token for the API; prints the token alone",
		Long:    "Makes a token for the API. Its user puts it into admin.token of a directory of his own, beside a copy of ca.crt,\nand names that directory with --data-dir.",
		Example: "  hauberk token create user --name alice --valid-for 720h > alice/admin.token",
		Args:    args(0, 0, "no arguments: the name is --name"),
	}
	c := p.connectFlags(cmd)
	out := outputFlag(cmd)
	t := rest.TokenRequest{Type: "user"}
	cmd.Flags().StringVar(&t.Name, "name", "", "whose token it is; the name is in the control plane's log of requests")
	validFor := validForFlag(cmd)
	return p.verb(cmd, func(ctx context.Context, _ []string) error {
		if t.Name == "" {
			return usagef("token create user needs --name: whose token it is")
		}
		t.ValidFor = &api.Duration{Duration: *validFor}
		return p.createToken(ctx, c, t, *out)
	})
}

func validForFlag(cmd *cobra.Command) *time.Duration {
	return cmd.Flags().Duration("valid-for", 24*time.Hour, "how long it can be used")
}

func (p *program) createToken(ctx context.Context, c *connection, t rest.TokenRequest, out format) error {
	if t.ValidFor.Duration < time.Second {
		return usagef("--valid-for %v is too short: write 1s or more", t.ValidFor.Duration)
	}
	return p.with(c, func(cl *client.Client) error {
		issued, err := cl.CreateToken(ctx, t)
		if err != nil {
			return err
		}
		return p.print(out, issued, func(w io.Writer) { fmt.Fprintln(w, issued.Token) })
	})
}

func (p *program) tokenList() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List the tokens that were made; their secrets are not kept",
		Example: "  hauberk token list --mesh payments",
		Args:    args(0, 0, "no arguments"),
	}
	c := p.meshFlags(cmd)
	out := outputFlag(cmd)
	return p.verb(cmd, func(ctx context.Context, _ []string) error {
		return p.with(c, func(cl *client.Client) error {
			all, err := cl.Tokens(ctx, c.mesh)
			if err != nil {
				return err
			}
			return p.print(*out, map[string]any{"items": all}, func(w io.Writer) {
				row(w, "ID", "TYPE", "FOR", "EXPIRES", "REVOKED")
				for _, r := range all {
					row(w, tokenCells(r)...)
				}
			})
		})
	})
}

func tokenCells(r *api.Resource) []any {
	t := r.Spec.(*resource.Token)
	whom := t.User
	if t.Type == resource.TokenDataplane {
		whom = t.Dataplane
		if t.Service != "" {
			whom += " (" + t.Service + ")"
		}
	}
	expires := t.Expires.UTC().Format(time.RFC3339)
	if time.Now().After(t.Expires) {
		expires += " (expired)"
	}
	return []any{r.Metadata.Name, t.Type, whom, expires, yes(t.Revoked)}
}

func (p *program) tokenRevoke() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "revoke ID",
		Short:   "End a token, and the connections of whoever joined with it",
		Example: "  hauberk token revoke 6e1f0a7c2b9d4e55",
		Args:    args(1, 1, "the ID of a token: hauberk token list has them"),
	}
	c := p.connectFlags(cmd)
	return p.verb(cmd, func(ctx context.Context, args []string) error {
		return p.with(c, func(cl *client.Client) error {
			if err := cl.RevokeToken(ctx, args[0]); err != nil {
				return err
			}
			p.progress("token %s is revoked", args[0])
			return nil
		})
	})
}
