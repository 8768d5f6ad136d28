package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/hauberk-mesh/hauberk/bench/handshake"
)

func (p *program) bench() *cobra.Command {
	return p.group(&cobra.Command{
		Use: "bench", Short: "Measure on this machine what Hauberk promises",
		Example: "  hauberk bench handshake",
	}, p.benchHandshake(), p.benchPart())
}

func (p *program) benchHandshake() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "handshake",
		Short: "What a TLS handshake costs a server, for each key provider",
		Long: "Shakes hands over loopback, each time in full (TLS 1.3, no resumption) and on a new connection, with a server that is a\n" +
			"process of its own on one core; the clients have the others. Only the server's processor time counts. Without --provider\n" +
			"all take turns in rounds of about two seconds, of which medians are shown: memory is Go's own crypto/rsa or crypto/ecdsa,\n" +
			"batch the vector kernels where the CPU has what they need. docs/handshakes.md says when that helps.",
		Example: "  hauberk bench handshake\n" +
			"  hauberk bench handshake --concurrency 1            # what one client at a time waits\n" +
			"  hauberk bench handshake --key rsa4096 --mutual --duration 30s\n" +
			"  hauberk bench handshake --curve secp256r1mlkem768 -o json --svg handshakes.svg",
		Args: args(0, 0, "no arguments"),
	}
	o := handshake.Defaults()
	provider, svg := "", ""
	f := cmd.Flags()
	f.StringVar(&provider, "provider", "", "one provider alone: "+strings.Join(handshake.Providers(), ", ")+" (default: all, taking turns)")
	f.StringVar(&o.Key, "key", o.Key, "private keys: "+strings.Join(handshake.Keys(), ", "))
	f.StringVar(&o.Curve, "curve", o.Curve, "key exchange: "+strings.Join(handshake.Curves(), ", "))
	f.BoolVar(&o.Mutual, "mutual", false, "clients prove who they are, as in the mesh")
	f.IntVar(&o.Concurrency, "concurrency", o.Concurrency, "clients, each with one handshake after the other")
	f.DurationVar(&o.Duration, "duration", o.Duration, "measured time of each provider, warm-up apart")
	f.StringVar(&svg, "svg", "", "file for a plot")
	out := outputFlag(cmd)
	for flag, words := range map[string][]string{"provider": handshake.Providers(), "key": handshake.Keys(), "curve": handshake.Curves()} {
		_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
	}
	return p.verb(cmd, func(ctx context.Context, _ []string) error {
		if cmd.Flags().Changed("provider") {
			o.Providers = []string{provider}
		}
		if err := o.Validate(); err != nil {
			return usagef("--%s", err)
		}
		if err := writable(svg); err != nil {
			return err
		}
		return p.runBenchHandshake(ctx, o, svg, *out)
	})
}

func (p *program) runBenchHandshake(ctx context.Context, o handshake.Options, svg string, out format) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("bench executes itself as server and clients: %w", err)
	}
	o.Command = []string{exe, "bench", "part"}
	bar := newBar(p.stderr)
	o.Progress = bar.show
	report, err := handshake.Run(ctx, o)
	bar.clear()
	if err != nil {
		return err
	}
	if svg != "" {
		if err := os.WriteFile(svg, report.SVG(), 0o644); err != nil {
			return fmt.Errorf("--svg: %w", err)
		}
	}
	for _, r := range report.Results {
		if r.Failed > 0 {
			p.progress("%d handshakes of provider %s failed, such as: %s", r.Failed, r.Provider, r.LastError)
		}
	}
	return p.print(out, report, func(w io.Writer) { handshakeTable(w, report) })
}

// writable finds out early what would otherwise be found out when all is measured.
func writable(svg string) error {
	if svg == "" {
		return nil
	}
	if d, err := os.Stat(filepath.Dir(svg)); err != nil || !d.IsDir() {
		return usagef("--svg %s: there is no directory %s", svg, filepath.Dir(svg))
	}
	return nil
}

func handshakeTable(w io.Writer, report *handshake.Report) {
	first := report.Results[0]
	side := "server auth"
	if first.Mutual {
		side = "mutual"
	}
	fmt.Fprintf(w, "TLS 1.3, %s, %s, %s, concurrency %d, %gs each in %d rounds\n%s: %s.\n\n", first.Key, side, first.Curve, first.Concurrency,
		report.Seconds, report.Rounds, report.Machine.CPU, report.Machine.Cores())
	row(w, "PROVIDER", "HANDSHAKES/S AND CORE", "CPU/HANDSHAKE", "P50", "P99", "BATCH FILL", "SERVER BUSY", "BACKEND")
	for _, r := range report.Results {
		batch := "-"
		if r.BatchFill > 0 {
			batch = fmt.Sprintf("%.1f", r.BatchFill)
		}
		row(w, r.Provider, handshake.Count(r.HandshakesPerCPUSecond), fmt.Sprintf("%.0f µs", r.CPUMicrosPerHandshake),
			fmt.Sprintf("%.2f ms", r.P50ms), fmt.Sprintf("%.2f ms", r.P99ms), batch, fmt.Sprintf("%.0f %%", 100*r.ServerBusy), r.Backend)
	}
	if c := report.Compared; c != nil {
		row(w, c.Provider+" / "+c.To, fmt.Sprintf("%.2f", c.HandshakesPerCPUSecond), fmt.Sprintf("%.2f", 1/c.HandshakesPerCPUSecond),
			fmt.Sprintf("%.2f", c.P50), fmt.Sprintf("%.2f", c.P99))
	}
	for _, r := range report.Results {
		if r.Reason != "" {
			fmt.Fprintf(w, "\n%s computes as memory does: %s\n", r.Provider, plain(r.Reason))
		}
	}
}

// benchPart is the server or the clients. It is hidden: bench handshake alone runs it.
func (p *program) benchPart() *cobra.Command {
	cmd := &cobra.Command{Use: "part NAME", Short: "A process of a benchmark", Hidden: true, Args: args(1, 1, "the part's name")}
	return p.verb(cmd, func(ctx context.Context, args []string) error { return handshake.Part(ctx, args[0], p.stdin, p.stdout) })
}

// bar shows on a terminal how far something has come; elsewhere it is silent.
type bar struct {
	out  io.Writer
	last string
}

func newBar(stderr io.Writer) *bar {
	if f, ok := stderr.(*os.File); ok {
		if _, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS); err == nil {
			return &bar{out: f}
		}
	}
	return &bar{out: io.Discard}
}

const barWidth = 40

func (b *bar) show(done float64, what string) {
	full := int(done * barWidth)
	line := fmt.Sprintf("\r%s%s %3.0f %%  %s\x1b[K", strings.Repeat("█", full), strings.Repeat("░", barWidth-full), 100*done, what)
	if line != b.last {
		b.last = line
		_, _ = io.WriteString(b.out, line)
	}
}

func (b *bar) clear() { _, _ = io.WriteString(b.out, "\r\x1b[K") }
