package cli

import (
	"context"
	"fmt"
	"log/slog"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider/undumpable"
	"github.com/hauberk-mesh/hauberk/dataplane/bootstrap"
	"github.com/hauberk-mesh/hauberk/dataplane/standalone"
	"github.com/hauberk-mesh/hauberk/internal/footprint"
	"github.com/hauberk-mesh/hauberk/policy/all/filters"
)

func (p *program) proxy() *cobra.Command {
	return p.group(&cobra.Command{
		Use: "proxy", Short: "Run the proxy alone, on an Envoy bootstrap file",
		Example: "  hauberk proxy run --config envoy.yaml",
	}, p.proxyRun())
}

// proxyFlags are those of proxy run.
type proxyFlags struct {
	config, adminAddr, pidFile string
	keyProvider                *string
	validate                   bool
	drainTime                  time.Duration
	logs                       *logs
}

func (p *program) proxyRun() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run --config envoy.yaml",
		Short: "Run the proxy of one bootstrap file until a signal",
		Long: "Runs the engine of the data plane on Envoy's v3 bootstrap file, YAML or JSON: static resources, and those that a control\n" +
			"plane sends over aggregated discovery. A field that is not honoured refuses the file; docs/envoy-compat.md lists all. It\n" +
			"needs no mesh. SIGINT or SIGTERM drain it, SIGUSR2 starts the program anew, on the file as it then is, and hands over to it.",
		Example: "  hauberk proxy run --config envoy.yaml --admin-addr 127.0.0.1:9901\n" +
			"  hauberk proxy run --config envoy.yaml --validate",
		Args: args(0, 0, "no arguments: the bootstrap file is --config"),
	}
	f := &proxyFlags{}
	cmd.Flags().StringVar(&f.config, "config", "", "the bootstrap file, YAML or JSON")
	cmd.Flags().StringVar(&f.adminAddr, "admin-addr", "", "address of /ready, /stats/prometheus and their kin (default: what the file says, or none)")
	cmd.Flags().BoolVar(&f.validate, "validate", false, "only say whether the file is good")
	cmd.Flags().DurationVar(&f.drainTime, "drain-time", 30*time.Second, "how long requests in flight may take to end when it stops")
	cmd.Flags().StringVar(&f.pidFile, "pid-file", "", "file with the id of the process that serves, which SIGUSR2 changes (default: none)")
	f.keyProvider, f.logs = keyProviderFlag(cmd), logFlags(cmd)
	return p.verb(cmd, func(ctx context.Context, _ []string) error { return p.runProxy(ctx, f) })
}

func (p *program) runProxy(ctx context.Context, f *proxyFlags) error {
	if f.config == "" {
		return usagef("proxy run needs --config, the bootstrap file")
	}
	if err := checkKeyProvider(*f.keyProvider); err != nil {
		return err
	}
	read := footprint.Start()
	defer read()
	file, err := bootstrap.Read(f.config)
	if err != nil {
		return err
	}
	log, level := f.logs.variable(p.stderr)
	row, err := p.succession(log, f.pidFile, f.drainTime)
	if err != nil {
		return err
	}
	undumpable.SetOrLog(log)
	keys := newKeyProviders(*f.keyProvider, f.keyLog(log))
	defer keys.batch.Close()
	proxy, err := standalone.New(standalone.Config{
		Bootstrap: file, AdminAddr: f.adminAddr, Filters: filters.Factories(), Logger: log, LogLevel: level,
		Keys: keys.first, MoreKeys: keys.more, Getenv: p.getenv,
		Listen: row.sockets.Listen, DrainTime: f.drainTime, Upgrade: row.upgrade, Version: buildVersion,
	})
	if err != nil {
		return row.failed(err)
	}
	if f.validate {
		return p.validateProxy(f.config, proxy)
	}
	defer reopenOn(ctx, log, proxy.ReopenLogs, syscall.SIGHUP, syscall.SIGUSR1)()
	read()
	defer frugal(log)()
	return row.run(ctx, proxy)
}

// keyLog is where the key providers say what they can do: nowhere, if the proxy is not to run.
func (f *proxyFlags) keyLog(log *slog.Logger) *slog.Logger {
	if f.validate {
		return slog.New(slog.DiscardHandler)
	}
	return log
}

// validateProxy says whether a file is good, and what of it has no effect.
func (p *program) validateProxy(file string, proxy *standalone.Proxy) error {
	notes, err := proxy.Check()
	if err != nil {
		return err
	}
	for _, n := range notes {
		fmt.Fprintf(p.stdout, "%s: %s has no effect: %s\n", n.Resource, n.Path, n.Why)
	}
	fmt.Fprintf(p.stdout, "%s is good\n", file)
	return nil
}
