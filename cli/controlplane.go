package cli

import (
	"context"
	"errors"
	"net"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/accel/keyprovider/undumpable"
	"github.com/hauberk-mesh/hauberk/controlplane"
	"github.com/hauberk-mesh/hauberk/policy/all"
)

func (p *program) controlPlane() *cobra.Command {
	return p.group(&cobra.Command{
		Use: "control-plane", Short: "Run the control plane",
		Example: "  hauberk control-plane run --data-dir ./mesh",
	}, p.controlPlaneRun())
}

func (p *program) controlPlaneRun() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the control plane until a signal",
		Long: "Runs the control plane. The data dir (0700) holds its store, ca.crt with which clients know it, admin.token with which\n" +
			"its operator is known, and addresses.json. Both ports are TLS, and need a credential, from the first start.",
		Example: "  hauberk control-plane run --data-dir ./mesh\n  hauberk control-plane run --store memory --api-addr 127.0.0.1:0 --xds-addr 127.0.0.1:0",
		Args:    args(0, 0, "no arguments"),
	}
	cfg := controlplane.Config{Kinds: registry().Kinds(), Policies: all.Policies(), DefaultPolicies: all.DefaultResources, Version: buildVersion}
	p.dataDirFlag(cmd, &cfg.DataDir)
	cmd.Flags().StringVar(&cfg.Store, "store", controlplane.StoreBolt, "where resources are kept: bolt (a file in the data dir), or memory (nothing is kept)")
	cmd.Flags().StringVar(&cfg.APIAddr, "api-addr", controlplane.DefaultAPIAddr, "address of the API; port 0 takes a free one")
	cmd.Flags().StringVar(&cfg.XDSAddr, "xds-addr", controlplane.DefaultXDSAddr, "address for proxies: configuration, identities, reports; port 0 takes a free one")
	cmd.Flags().StringArrayVar(&cfg.Hosts, "host", nil, "further name or address by which clients reach it, for its certificate; may be repeated")
	logs := logFlags(cmd)
	return p.verb(cmd, func(ctx context.Context, _ []string) error {
		if cfg.Store != controlplane.StoreBolt && cfg.Store != controlplane.StoreMemory {
			return usagef("--store %q: write bolt or memory", cfg.Store)
		}
		for flag, addr := range map[string]string{"--api-addr": cfg.APIAddr, "--xds-addr": cfg.XDSAddr} {
			if _, _, err := net.SplitHostPort(addr); err != nil {
				return usagef("%s %q: write host:port, as 127.0.0.1:5681", flag, addr)
			}
		}
		cfg.DataDir, cfg.Keys, cfg.Logger = p.expand(cfg.DataDir), memory.New(), logs.logger(p.stderr)
		undumpable.SetOrLog(cfg.Logger)
		cp, err := controlplane.New(cfg)
		if err != nil {
			return err
		}
		if err := cp.Run(ctx); err != nil && !errors.Is(err, context.Canceled) {
			return err
		}
		cfg.Logger.Info("control plane has stopped")
		return nil
	})
}
