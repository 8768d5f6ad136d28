package cli

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/controlplane"
	"github.com/hauberk-mesh/hauberk/controlplane/rest"
	"github.com/hauberk-mesh/hauberk/controlplane/rest/client"
)

// maxSkew is how far clocks may be apart before certificates and tokens begin to fail in ways that nobody understands.
const maxSkew = 10 * time.Second

func (p *program) check() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Look for what is wrong with the mesh; exits 1 if something is",
		Long: "Checks that the API answers, that the credential is good, how long certificates live, that clocks agree, that every\n" +
			"dataplane is connected and runs what it should, that every service has an endpoint that answers, and that there are\n" +
			"permissions. It says where each dataplane keeps its private keys and what computes with them, and what a proxy on this\n" +
			"machine would do. A warning does not fail.",
		Example: "  hauberk check\n  hauberk check --mesh payments -o json",
		Args:    args(0, 0, "no arguments"),
	}
	c := p.connectFlags(cmd)
	cmd.Flags().StringVarP(&c.mesh, "mesh", "m", "*", "mesh to look at (default: all)")
	cmd.Flags().Lookup("mesh").DefValue = ""
	out := outputFlag(cmd)
	return p.verb(cmd, func(ctx context.Context, _ []string) error {
		all := append([]rest.Check{checkKeysHere()}, p.checks(ctx, c)...)
		err := p.print(*out, map[string]any{"checks": all}, func(w io.Writer) {
			row(w, "RESULT", "CHECK", "MESH", "WHAT WAS SEEN")
			for _, k := range all {
				row(w, k.Result, k.Name, dash(k.Mesh), k.Message)
				if k.Fix != "" {
					row(w, "", "", "", "  "+k.Fix)
				}
			}
		})
		if err != nil {
			return err
		}
		for _, k := range all {
			if k.Result == rest.Fail {
				return errSilent
			}
		}
		return nil
	})
}

// checks are what this side can see, then what the control plane sees. Without the first the second cannot be asked.
func (p *program) checks(ctx context.Context, c *connection) []rest.Check {
	cl, err := p.dial(c)
	if err != nil {
		return []rest.Check{{Name: "credential", Result: rest.Fail, Message: err.Error()}}
	}
	defer cl.Close()
	asked := time.Now()
	answer, err := cl.Check(ctx, c.mesh)
	switch {
	case client.IsStatus(err, http.StatusUnauthorized):
		return []rest.Check{
			{Name: "api", Result: rest.OK, Message: cl.Base().Host + " answers"},
			{Name: "credential", Result: rest.Fail, Message: explain(err, cl).Error()},
		}
	case err != nil:
		return []rest.Check{{Name: "api", Result: rest.Fail, Message: explain(err, cl).Error()}}
	}
	// The control plane read its clock somewhere between the question and the answer.
	all := []rest.Check{
		{Name: "api", Result: rest.OK, Message: fmt.Sprintf("%s answers in %v", cl.Base().Host, time.Since(asked).Round(time.Millisecond))},
		{Name: "credential", Result: rest.OK, Message: "accepted"},
		p.checkCertificate(ctx, c, cl),
		checkClock(asked, answer.Time, time.Now()),
	}
	return append(all, answer.Checks...)
}

// checkCertificate looks at what the API port presents.
func (p *program) checkCertificate(ctx context.Context, c *connection, cl *client.Client) rest.Check {
	k := rest.Check{Name: "api certificate", Result: rest.Fail}
	anchors, err := readAnchors(filepath.Join(p.expand(c.dataDir), controlplane.AnchorFile))
	if err != nil {
		k.Message = err.Error()
		return k
	}
	d := tls.Dialer{Config: &tls.Config{RootCAs: anchors, MinVersion: tls.VersionTLS13}}
	conn, err := d.DialContext(ctx, "tcp", cl.Base().Host)
	if err != nil {
		k.Message = err.Error()
		return k
	}
	defer conn.Close()
	ends := conn.(*tls.Conn).ConnectionState().PeerCertificates[0].NotAfter
	k.Result, k.Message = rest.OK, "valid until "+ends.UTC().Format(time.RFC3339)
	if left := time.Until(ends); left < time.Hour {
		k.Result, k.Message = rest.Warn, fmt.Sprintf("ends in %v", left.Round(time.Second))
		k.Fix = "restart the control plane: that makes a new one"
	}
	return k
}

// checkClock compares clocks, as far as the time of the round trip lets it.
func checkClock(asked, there, answered time.Time) rest.Check {
	skew := time.Duration(0)
	switch {
	case there.Before(asked):
		skew = asked.Sub(there)
	case there.After(answered):
		skew = there.Sub(answered)
	}
	if skew > maxSkew {
		return rest.Check{Name: "clock", Result: rest.Fail, Message: fmt.Sprintf("this machine and the control plane are %v apart", skew.Round(time.Second)),
			Fix: "synchronise the clocks (chrony, systemd-timesyncd): certificates and tokens depend on them"}
	}
	return rest.Check{Name: "clock", Result: rest.OK, Message: "agrees with the control plane's"}
}
