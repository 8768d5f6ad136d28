package cli

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/demo"
)

func (p *program) demo() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Run a small shop in a mesh on this machine",
		Long: "Starts a control plane and a small shop of real HTTP services, each a process with a sidecar of its own, sends traffic\n" +
			"and tells what the mesh saw. It runs until Ctrl-C, or ends by itself after --duration, and leaves nothing behind.",
		Example: "  hauberk demo\n  hauberk demo --duration 10s -o json",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknown(cmd, args[0])
			}
			return nil
		},
	}
	duration := cmd.Flags().Duration("duration", 0, "end by itself after so much traffic (default: run until Ctrl-C)")
	out := outputFlag(cmd)
	cmd.AddCommand(p.demoService())
	return p.verb(cmd, func(ctx context.Context, _ []string) error {
		if *duration < 0 {
			return usagef("--duration %v is negative", *duration)
		}
		if *out == asYAML {
			return usagef("demo prints a summary or, with -o json, its facts; there is no yaml")
		}
		exe, err := os.Executable()
		if err != nil {
			return fmt.Errorf("demo executes itself as each service: %w", err)
		}
		return demo.Run(ctx, demo.Options{
			Executable: exe, Command: os.Args[0], Duration: *duration, JSON: *out == asJSON, Out: p.stdout, Err: p.stderr,
		})
	})
}

// demoService is one service of the shop. It is hidden: the demo alone runs it.
func (p *program) demoService() *cobra.Command {
	cmd := &cobra.Command{Use: "service", Short: "One service of the shop", Hidden: true, Args: args(0, 0, "no arguments")}
	o := demo.ServiceOptions{Upstreams: map[string]*url.URL{}}
	cmd.Flags().StringVar(&o.Service, "service", "", "which service")
	cmd.Flags().StringVar(&o.Version, "version", "v1", "its version")
	cmd.Flags().StringVar(&o.Listen, "listen", "127.0.0.1:0", "where it listens")
	upstreams := cmd.Flags().StringArray("upstream", nil, "service=URL that it calls; may be repeated")
	logs := logFlags(cmd)
	return p.verb(cmd, func(ctx context.Context, _ []string) error {
		for _, text := range *upstreams {
			service, at, _ := strings.Cut(text, "=")
			u, err := url.Parse(at)
			if err != nil || u.Host == "" || service == "" {
				return usagef("--upstream %q is not service=URL", text)
			}
			o.Upstreams[service] = u
		}
		o.Logger = logs.logger(p.stderr)
		return demo.Serve(ctx, o)
	})
}
