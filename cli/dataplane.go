package cli

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider/undumpable"
	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane"
	"github.com/hauberk-mesh/hauberk/dataplane"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/policy/all/filters"
)

func (p *program) dataplane() *cobra.Command {
	return p.group(&cobra.Command{
		Use: "dataplane", Short: "Run a proxy",
		Example: "  hauberk dataplane run --file cart-1.yaml --control-plane https://127.0.0.1:5678 --token-file token --ca-file mesh/ca.crt",
	}, p.dataplaneRun(), p.dataplaneUpgrade())
}

// dataplaneFlags are those of dataplane run.
type dataplaneFlags struct {
	file, controlPlane, tokenFile, caFile, dataDir string
	adminAddr, stateDir, pidFile                   string
	accessLog, accessLogFormat                     string
	keyProvider                                    *string
	postQuantum                                    bool
	drainTime                                      time.Duration
	logs                                           *logs
}

func (p *program) dataplaneRun() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run --file dataplane.yaml --token-file TOKEN",
		Short: "Run the proxy of one Dataplane until a signal",
		Long: "Runs the proxy that the file describes. It makes its own key, joins the mesh with the token, and follows the control\n" +
			"plane. With --state-dir it serves after a restart even without a control plane. SIGINT or SIGTERM drain it, SIGHUP\n" +
			"opens the access log's file anew, SIGUSR2 starts the program anew and hands over to it (see dataplane upgrade).",
		Example: "  hauberk token create dataplane --name cart-1 --service cart > token\n" +
			"  hauberk dataplane run --file cart-1.yaml --control-plane https://127.0.0.1:5678 --token-file token --ca-file mesh/ca.crt --state-dir state",
		Args: args(0, 0, "no arguments: the Dataplane is --file"),
	}
	f := &dataplaneFlags{}
	cmd.Flags().StringVar(&f.file, "file", "", "the Dataplane, YAML or JSON")
	cmd.Flags().StringVar(&f.controlPlane, "control-plane", "", "where the control plane is, https://host:port (default: that of --data-dir, else https://127.0.0.1:5678)")
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "file with the token with which it joins; read at each join")
	cmd.Flags().StringVar(&f.caFile, "ca-file", "", "the control plane's authority, PEM (default: ca.crt of --data-dir)")
	p.dataDirFlag(cmd, &f.dataDir)
	cmd.Flags().StringVar(&f.adminAddr, "admin-addr", "127.0.0.1:9901", "address of /ready, /stats/prometheus and their kin; empty is none")
	cmd.Flags().StringVar(&f.stateDir, "state-dir", "", "where identity and last good configuration are kept over restarts (default: nowhere)")
	cmd.Flags().StringVar(&f.accessLog, "access-log", "stdout", "where a line a request goes: stdout, a file, or none")
	cmd.Flags().StringVar(&f.accessLogFormat, "access-log-format", "text", "text (Envoy's default format), json, or a format of Envoy's operators")
	cmd.Flags().DurationVar(&f.drainTime, "drain-time", 30*time.Second, "how long requests in flight may take to end when it stops")
	cmd.Flags().StringVar(&f.pidFile, "pid-file", "", "file with the id of the process that serves, which an upgrade changes (default: none)")
	cmd.Flags().BoolVar(&f.postQuantum, "post-quantum", false, "exchange keys within the mesh in a way that withstands quantum computers too, "+
		"with proxies that have this set (SecP256r1MLKEM768)")
	f.keyProvider, f.logs = keyProviderFlag(cmd), logFlags(cmd)
	return p.verb(cmd, func(ctx context.Context, _ []string) error { return p.runDataplane(ctx, f) })
}

func (p *program) runDataplane(ctx context.Context, f *dataplaneFlags) error {
	cfg, err := p.dataplaneConfig(f)
	if err != nil {
		return err
	}
	if cfg.AccessLog, err = p.openAccessLog(f.accessLog); err != nil {
		return err
	}
	if cfg.AccessLog != nil {
		defer cfg.AccessLog.Close()
		stop := reopenOn(ctx, cfg.Logger, cfg.AccessLog.Reopen, syscall.SIGHUP)
		defer stop()
	}
	row, err := p.succession(cfg.Logger, f.pidFile, f.drainTime)
	if err != nil {
		return err
	}
	undumpable.SetOrLog(cfg.Logger)
	keys := newKeyProviders(*f.keyProvider, cfg.Logger)
	defer keys.batch.Close()
	cfg.Keys, cfg.MoreKeys = keys.first, keys.more
	cfg.Listen, cfg.Instance, cfg.Upgrade = row.sockets.Listen, row.instance(), row.upgrade
	proxy, err := dataplane.New(cfg)
	if err != nil {
		return row.failed(err)
	}
	cfg.Logger.Info("dataplane starts", "mesh", cfg.Node.Mesh, "dataplane", cfg.Node.Name, "service", cfg.Node.Service,
		"controlPlane", cfg.ControlPlane, "admin", cfg.AdminAddr, "version", buildVersion)
	defer frugal(cfg.Logger)()
	if err := row.run(ctx, proxy); err != nil {
		return err
	}
	cfg.Logger.Info("dataplane has stopped", "dataplane", cfg.Node.Name)
	return nil
}

func (p *program) dataplaneConfig(f *dataplaneFlags) (dataplane.Config, error) {
	none := dataplane.Config{}
	if f.file == "" {
		return none, usagef("dataplane run needs --file, the Dataplane")
	}
	if f.tokenFile == "" {
		return none, usagef("dataplane run needs --token-file: hauberk token create dataplane makes a token")
	}
	if err := checkKeyProvider(*f.keyProvider); err != nil {
		return none, err
	}
	dir := p.expand(f.dataDir)
	controlPlane, err := xdsURL(f.controlPlane, dir)
	if err != nil {
		return none, err
	}
	res, text, err := readDataplane(f.file)
	if err != nil {
		return none, err
	}
	if f.caFile == "" {
		f.caFile = filepath.Join(dir, controlplane.AnchorFile)
	}
	ca, err := os.ReadFile(f.caFile)
	if err != nil {
		return none, fmt.Errorf("%w: --ca-file is a copy of ca.crt of the control plane's data dir", err)
	}
	if err := tokenThere(f); err != nil {
		return none, err
	}
	log, level := f.logs.variable(p.stderr)
	return dataplane.Config{
		Node:            nodeOf(res),
		Resource:        text,
		ControlPlane:    controlPlane,
		CA:              ca,
		TokenFile:       f.tokenFile,
		StateDir:        f.stateDir,
		AdminAddr:       f.adminAddr,
		Filters:         filters.Factories(),
		PostQuantum:     f.postQuantum,
		AccessLogFormat: f.accessLogFormat,
		Logger:          log,
		LogLevel:        level,
		DrainTime:       f.drainTime,
		Version:         buildVersion,
	}, nil
}

// readDataplane reads the one Dataplane of a file, strictly, and returns it as JSON too.
func readDataplane(file string) (*api.Resource, []byte, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: --file is the Dataplane", err)
	}
	kinds := registry()
	docs, err := kinds.Decode(file, text)
	if err != nil {
		return nil, nil, fmt.Errorf("the Dataplane is not valid\n%w", err)
	}
	if len(docs) != 1 || docs[0].Kind != "Dataplane" {
		return nil, nil, fmt.Errorf("%s has to hold one document, a Dataplane, and holds %s", file, contents(docs))
	}
	encoded, err := kinds.Encode(docs[0])
	return docs[0], encoded, err
}

func contents(docs []*api.Resource) string {
	switch len(docs) {
	case 0:
		return "none"
	case 1:
		return "a " + docs[0].Kind
	default:
		return fmt.Sprintf("%d documents", len(docs))
	}
}

// nodeOf fills in what labels leave out, as the control plane does.
func nodeOf(r *api.Resource) dataplane.Node {
	n := dataplane.Node{
		Mesh: r.Mesh(), Name: r.Metadata.Name,
		Service: r.Metadata.Labels[api.LabelService], Workload: r.Metadata.Labels[api.LabelWorkload], Zone: r.Metadata.Labels[api.LabelZone],
	}
	if n.Workload == "" {
		n.Workload = n.Service
	}
	if n.Workload == "" {
		n.Workload = n.Name
	}
	if n.Zone == "" {
		n.Zone = api.DefaultZone
	}
	return n
}

// xdsURL checks the control plane's address, or takes the one that the control plane left in the data dir.
func xdsURL(addr, dir string) (string, error) {
	if addr == "" {
		return "https://" + readAddresses(dir).XDS, nil
	}
	u, err := url.Parse(addr)
	if err != nil || u.Scheme != "https" || u.Port() == "" || u.Path != "" && u.Path != "/" {
		return "", usagef("--control-plane %q is not https://host:port", addr)
	}
	return "https://" + u.Host, nil
}

// tokenThere says at once that the token is missing, unless an identity that is kept may do without it.
func tokenThere(f *dataplaneFlags) error {
	if _, err := os.Stat(f.tokenFile); err == nil || f.stateDir != "" && dirHolds(f.stateDir) {
		return nil
	} else if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("--token-file %s is not there: hauberk token create dataplane --name NAME --service SERVICE makes a token", f.tokenFile)
	} else {
		return err
	}
}

func dirHolds(dir string) bool {
	entries, err := os.ReadDir(dir)
	return err == nil && len(entries) > 0
}

// openAccessLog opens what --access-log names; nil is none.
func (p *program) openAccessLog(where string) (*telemetry.LogWriter, error) {
	switch where {
	case "", "none":
		return nil, nil
	case "stdout":
		return telemetry.NewLogWriter(p.stdout), nil
	}
	w, err := telemetry.OpenLog(where)
	if err != nil {
		return nil, fmt.Errorf("--access-log: %w", err)
	}
	return w, nil
}

// reopenOn lets files of logs be rotated: it opens them anew at each of the signals, until stop.
func reopenOn(ctx context.Context, log *slog.Logger, reopen func() error, on ...os.Signal) (stop func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, on...)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range signals {
			if err := reopen(); err != nil {
				log.ErrorContext(ctx, "access log could not be opened anew", "error", err)
			}
		}
	}()
	return func() {
		signal.Stop(signals)
		close(signals)
		<-done
	}
}
