package cli

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/controlplane/rest/client"
	"github.com/hauberk-mesh/hauberk/controlplane/why"
)

func (p *program) why() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "why SOURCE DESTINATION",
		Short: "Explain whether a call is allowed, by which rule, and what happened to real ones",
		Long: "Says what decides a call from one service or dataplane to another, whether it was ever made or not, and lists what both\n" +
			"proxies recorded of real ones. It exits 0 whatever the verdict is.",
		Example: "  hauberk why frontend payments --path /refunds --method POST\n  hauberk why frontend payments --request-id 0192c3a1-...",
		Args:    args(2, 2, "SOURCE and DESTINATION, each a service or a dataplane"),
	}
	c := p.meshFlags(cmd)
	out := outputFlag(cmd)
	var q why.Query
	cmd.Flags().StringVar(&q.Path, "path", "", "path of the request (default /, on HTTP)")
	cmd.Flags().StringVar(&q.Method, "method", "", "method of the request (default GET, or POST on gRPC)")
	cmd.Flags().Uint32Var(&q.Port, "port", 0, "port of the destination, as clients name it (default: those that the source calls)")
	requestID := cmd.Flags().String("request-id", "", "ask about this one request (header x-request-id)")
	return p.verb(cmd, func(ctx context.Context, args []string) error {
		q.Source, q.Destination = args[0], args[1]
		return p.with(c, func(cl *client.Client) error {
			a, err := cl.Why(ctx, c.mesh, q, *requestID)
			if err != nil {
				return err
			}
			if *out != asTable {
				return p.print(*out, a, nil)
			}
			if err := p.print(asTable, nil, func(w io.Writer) { verdict(w, a) }); err != nil {
				return err
			}
			return p.print(asTable, nil, func(w io.Writer) { observed(w, a) })
		})
	})
}

// verdict is the answer in a few lines, the most important first.
func verdict(w io.Writer, a *why.Answer) {
	call := fmt.Sprintf("%s -> %s", a.Source.Name, a.Destination.Name)
	if a.Method != "" {
		call += fmt.Sprintf("  %s %s", a.Method, a.Path)
	}
	switch a.Verdict {
	case why.Allow:
		but := ""
		if len(a.Obstacles) > 0 {
			but = ", but see below" // allowed is not yet arrived
		}
		fmt.Fprintf(w, "%s: ALLOWED by %s%s\n", plain(call), plain(a.Rule), but)
	case why.Deny:
		fmt.Fprintf(w, "%s: DENIED by %s\n", plain(call), plain(a.Rule))
	case why.Mixed:
		fmt.Fprintf(w, "%s: IT DEPENDS on the dataplane; denied by %s\n", plain(call), plain(a.Rule))
	default:
		fmt.Fprintf(w, "%s: NOTHING TO DECIDE\n", plain(call))
	}
	for _, j := range a.Decisions {
		row(w, "  caller", j.Identity)
		row(w, "  inbound", fmt.Sprintf("%s of %s, port %d, %s, mutual TLS %s", j.Inbound, j.Dataplane, j.Port, j.Protocol, dash(j.TLSMode)))
		row(w, "  "+j.Verdict, j.Rule)
		if j.ShadowRule != "" {
			row(w, "  shadow", j.ShadowRule+" would deny it")
		}
	}
	for _, o := range a.Obstacles {
		row(w, "  but", o.Message)
		if o.Fix != "" {
			row(w, "", "  "+o.Fix)
		}
	}
}

func observed(w io.Writer, a *why.Answer) {
	if len(a.Observed) == 0 {
		fmt.Fprintln(w, "no such call was recorded by the proxies")
		return
	}
	row(w, "SEEN", "BY", "CALLER", "REQUEST", "STATUS", "REASON", "RULE", "REQUEST ID")
	for _, d := range a.Observed {
		request, status := d.Protocol, "-"
		if d.Method != "" {
			request = d.Method + " " + d.Path
		}
		if d.Status != 0 {
			status = fmt.Sprint(d.Status)
		}
		if d.GRPCStatus != nil {
			status += fmt.Sprintf(", gRPC %d", *d.GRPCStatus)
		}
		row(w, d.Time.Local().Format(time.TimeOnly), fmt.Sprintf("%s (%s)", d.Dataplane, d.Side), dash(d.SourceID), request, status,
			dash(d.Reason), dash(d.Rule), dash(d.RequestID))
	}
}
