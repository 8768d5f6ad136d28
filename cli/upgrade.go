package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/dataplane/handover"
	"github.com/hauberk-mesh/hauberk/dataplane/identity"
)

// upgradable is a proxy whose program can be replaced under it.
type upgradable interface {
	Run(ctx context.Context) error
	// Unready are the reasons why it cannot serve.
	Unready() []string
	// Instance is by which name of a process the control plane knows it; empty is none.
	Instance() string
	// Pause ends what it holds to its control plane, so that a successor can take its place there; Resume takes it up again.
	Pause()
	Resume()
	// HandOver makes Run drain and return, and withdraws nothing: another process goes on under this one's name.
	HandOver()
}

// succession is this process's place in a row of processes that are one proxy to everybody else: it may have taken over
// from one, and hand over to the next, with the listening sockets.
type succession struct {
	sockets    *handover.Sockets
	before     *handover.Predecessor // nil: none, this is a first start
	supervisor handover.Supervisor
	program    string
	drainTime  time.Duration
	log        *slog.Logger
	signals    chan os.Signal // SIGUSR2

	upgrading sync.Mutex      // held during an upgrade
	proxy     upgradable      // set by run before anybody can ask for an upgrade
	serving   context.Context // ends when the process is asked to stop
	over      bool            // has handed over; guarded by upgrading
}

// succession takes what a predecessor has left. SIGUSR2 asks for an upgrade from now on; before, it would end the process.
func (p *program) succession(log *slog.Logger, pidFile string, drainTime time.Duration) (*succession, error) {
	s := &succession{
		supervisor: handover.Supervisor{Socket: p.getenv("NOTIFY_SOCKET"), PIDFile: pidFile},
		log:        log, drainTime: drainTime, signals: make(chan os.Signal, 1),
	}
	signal.Notify(s.signals, syscall.SIGUSR2)
	var err error
	if s.program, err = programFile(); err != nil {
		return nil, err
	}
	s.sockets, s.before, err = handover.Inherit(p.getenv)
	return s, err
}

// programFile is what an upgrade executes: the name by which this process was started, so that a link that points at another
// version by then is followed; or the file itself, if the name is not the program's.
func programFile() (string, error) {
	file, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("the file of this program: %w", err)
	}
	name, err := exec.LookPath(os.Args[0])
	if err != nil {
		return file, nil
	}
	if name, err = filepath.Abs(name); err != nil {
		return file, nil
	}
	named, err := os.Stat(name)
	running, err2 := os.Stat(file)
	if err != nil || err2 != nil || !os.SameFile(named, running) {
		return file, nil
	}
	return name, nil
}

// instance is what the control plane is to know this process by; empty: a new name.
func (s *succession) instance() string {
	if s.before == nil {
		return ""
	}
	return s.before.Instance
}

// failed passes on why the proxy could not be made, and tells a predecessor that waits for it.
func (s *succession) failed(err error) error {
	if s.before != nil {
		s.before.Failed(err)
	}
	return err
}

// run holds the proxy until it has drained: because ctx ended, or because another process has taken over.
func (s *succession) run(ctx context.Context, proxy upgradable) error {
	s.proxy, s.serving = proxy, ctx
	if s.before == nil {
		s.tell(s.supervisor.WritePID())
	}
	begun := make(chan struct{})
	starting, started := context.WithCancel(ctx)
	go func() {
		defer close(begun)
		s.begin(starting)
	}()
	listened := s.obey()
	stopping := context.AfterFunc(ctx, func() { s.tell(s.supervisor.Stopping()) })

	err := proxy.Run(ctx)
	if err != nil {
		_ = s.failed(err)
	}
	started()
	<-begun
	stopping()
	signal.Stop(s.signals)
	close(s.signals)
	<-listened
	s.tell(s.supervisor.RemovePID())
	return err
}

// begin waits until the proxy is ready and tells those who wait for it: the predecessor, then the supervisor.
func (s *succession) begin(ctx context.Context) {
	if s.before == nil {
		if handover.Ready(ctx, s.proxy.Unready, nil, func(string) {}) == nil {
			s.tell(s.supervisor.Ready())
		}
		return
	}
	err := s.before.TakeOver(ctx, buildVersion, s.proxy.Unready)
	if err != nil || ctx.Err() != nil {
		s.before.Failed(errors.New("it was asked to stop"))
		return
	}
	s.sockets.Begin()
	s.log.Info("has taken over", "pid", os.Getpid(), "from", os.Getppid(), "version", buildVersion)
	s.tell(s.supervisor.WritePID())
	s.tell(s.supervisor.Ready())
}

// obey upgrades at each SIGUSR2, one after the other.
func (s *succession) obey() (done <-chan struct{}) {
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range s.signals {
			_, _ = s.upgrade() // logged
		}
	}()
	return ended
}

func (s *succession) tell(err error) {
	if err != nil {
		s.log.Warn("supervisor not told", "error", err)
	}
}

// handedOver is what an upgrade came to, as POST /upgrade answers.
type handedOver struct {
	From         process `json:"from"`
	To           process `json:"to"`
	DrainSeconds float64 `json:"drainSeconds"` // at most, for what is in flight at the old one
}

type process struct {
	PID     int    `json:"pid"`
	Version string `json:"version,omitempty"`
}

// upgrade starts the program anew, and when that is ready hands everything over and drains. With an error nothing has changed.
func (s *succession) upgrade() (any, error) {
	if !s.upgrading.TryLock() {
		return nil, errors.New("an upgrade is under way")
	}
	defer s.upgrading.Unlock()
	s.log.Info("upgrade", "program", s.program, "pid", os.Getpid())
	next, err := s.start()
	if err != nil {
		s.log.Error("not upgraded, this process goes on", "pid", os.Getpid(), "reason", err)
		return nil, fmt.Errorf("not upgraded, process %d goes on: %w", os.Getpid(), err)
	}
	s.over = true
	s.tell(s.supervisor.Successor(next.PID()))
	s.sockets.Release()
	s.proxy.HandOver()
	s.log.Info("has handed over", "pid", os.Getpid(), "to", next.PID(), "version", next.Version)
	return handedOver{
		From: process{os.Getpid(), buildVersion}, To: process{next.PID(), next.Version}, DrainSeconds: s.drainTime.Seconds(),
	}, nil
}

// start brings the new process to the point where it accepts. The old one's word with the control plane ends before, so that
// the new one is not taken for a second proxy of the name.
func (s *succession) start() (*handover.Successor, error) {
	switch {
	case s.over:
		return nil, errors.New("it has handed over already")
	case s.serving.Err() != nil:
		return nil, errors.New("it drains")
	case os.Getpid() == 1:
		return nil, errors.New("it is process 1, with which its container ends: start a new container")
	}
	s.proxy.Pause()
	next, err := handover.Start(s.serving, handover.Options{
		Program: s.program, Args: os.Args[1:], Environ: os.Environ(), Stdout: os.Stdout, Stderr: os.Stderr,
		Sockets: s.sockets, Instance: s.proxy.Instance(),
	})
	if err == nil {
		err = next.Go()
	}
	if err != nil {
		s.proxy.Resume()
		return nil, err
	}
	return next, nil
}

// upgradeFlags are those of dataplane upgrade.
type upgradeFlags struct{ adminAddr, tokenFile string }

func (p *program) dataplaneUpgrade() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "upgrade [--token-file TOKEN]",
		Short: "Replace a running proxy's program, losing no request",
		Long: "Asks a running proxy to start its program file anew, with the same arguments, and to hand over its listening sockets\n" +
			"when the new process is ready; the old one then drains. If the new process does not become ready the old one goes on\n" +
			"as before. SIGUSR2 to the proxy's process does the same and says in its log what came of it.",
		Example: "  hauberk dataplane upgrade --admin-addr 127.0.0.1:9901 --token-file token",
		Args:    args(0, 0, "no arguments: the proxy is --admin-addr"),
	}
	f := &upgradeFlags{}
	cmd.Flags().StringVar(&f.adminAddr, "admin-addr", "127.0.0.1:9901", "the running proxy's admin port")
	cmd.Flags().StringVar(&f.tokenFile, "token-file", "", "file with the dataplane's token, which the proxy has too; that of proxy run wants none")
	return p.verb(cmd, func(ctx context.Context, _ []string) error { return p.upgradeDataplane(ctx, f) })
}

func (p *program) upgradeDataplane(ctx context.Context, f *upgradeFlags) error {
	ctx, cancel := context.WithTimeout(ctx, handover.DefaultPatience+10*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+f.adminAddr+"/upgrade", nil)
	if err != nil {
		return usagef("--admin-addr %q is not host:port", f.adminAddr)
	}
	if f.tokenFile != "" {
		token, err := identity.TokenFile(f.tokenFile)()
		if err != nil {
			return fmt.Errorf("--token-file: %w", err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return fmt.Errorf("--admin-addr %s: %w: a proxy without an admin port is upgraded by SIGUSR2 to its process", f.adminAddr, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("--admin-addr %s: %w", f.adminAddr, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("--admin-addr %s: %s", f.adminAddr, strings.TrimSpace(string(body)))
	}
	var done handedOver
	if err := json.Unmarshal(body, &done); err != nil {
		return fmt.Errorf("--admin-addr %s: the answer is not a proxy's: %w", f.adminAddr, err)
	}
	fmt.Fprintf(p.stdout, "process %d (%s) has taken over from %d (%s), which drains for up to %v\n", done.To.PID, done.To.Version,
		done.From.PID, done.From.Version, time.Duration(done.DrainSeconds*float64(time.Second)))
	return nil
}
