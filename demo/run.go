package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// untilSummary is how long traffic flows before the summary if no duration is asked for.
	untilSummary = 10 * time.Second
	// readyWithin is how long a process has to come up: a busy small machine starts twelve at once.
	readyWithin = 30 * time.Second
)

// Options are what the demo runs with.
type Options struct {
	// Executable is the path of the hauberk binary, which is run as every process of the demo.
	Executable string
	// Command is how the user calls it, for the commands that are shown. Default Executable.
	Command string
	// Duration of traffic, after which the demo ends by itself. 0: the summary comes after ten seconds and the demo runs
	// until ctx ends.
	Duration time.Duration
	// JSON prints what the demo proves in numbers, instead of the summary.
	JSON bool
	Out  io.Writer // the summary, or the facts and nothing else
	Err  io.Writer // progress
	// TempDir is where the demo makes its directory, which it removes at the end. Default the system's.
	TempDir string
}

// Run builds the shop, sends traffic, tells what the mesh saw, and takes everything down. A ctx that ends is no error.
func Run(ctx context.Context, o Options) error {
	if o.Command == "" {
		o.Command = o.Executable
	}
	removeAbandoned(o.TempDir)
	dir, release, err := makeDir(o.TempDir)
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	defer release()
	d := &demo{Options: o, dir: dir, members: shop()}
	defer d.ports.release()

	logs := filepath.Join(dir, "logs")
	if err := os.Mkdir(logs, 0o700); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	d.children = newChildren(logs)
	defer d.children.stop()
	err = d.run(ctx)
	if ctx.Err() != nil && (err == nil || errors.Is(err, context.Canceled)) {
		d.progress("\nstopping")
		return nil
	}
	return err
}

// demo is one run.
type demo struct {
	Options
	dir      string
	ports    ports
	children *children
	members  []*member

	dataDir, apiAddr, xdsAddr string
	api                       *api
}

func (d *demo) progress(format string, args ...any) { fmt.Fprintf(d.Err, format+"\n", args...) }

func (d *demo) run(ctx context.Context) error {
	if err := d.startControlPlane(ctx); err != nil {
		return err
	}
	if err := d.startShop(ctx); err != nil {
		return err
	}
	l := newLoad("http://" + local(d.member(shopper).outbounds[frontend]))
	d.progress("waiting for the first page through the mesh")
	if err := d.children.eventually(ctx, "first page through the mesh", readyWithin, wholePage(l)); err != nil {
		return err
	}
	traffic, stopTraffic := context.WithCancel(ctx)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		l.run(traffic)
	}()
	defer func() {
		stopTraffic()
		<-finished
	}()

	howLong := d.Duration
	if howLong == 0 {
		howLong = untilSummary
	}
	d.progress("traffic flows for %s", howLong)
	if err := d.wait(ctx, howLong); err != nil {
		return err
	}
	if d.Duration > 0 {
		stopTraffic()
		<-finished
	}
	if err := d.tell(ctx, l, howLong); err != nil {
		return err
	}
	if d.Duration > 0 {
		return nil
	}
	return d.wait(ctx, 0)
}

// wait lets time pass (0: for ever) unless a child dies.
func (d *demo) wait(ctx context.Context, howLong time.Duration) error {
	var over <-chan time.Time
	if howLong > 0 {
		timer := time.NewTimer(howLong)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
		return nil
	case ch := <-d.children.died:
		return ch.obituary()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (d *demo) startControlPlane(ctx context.Context) error {
	d.dataDir = filepath.Join(d.dir, "control-plane")
	addrs := [2]string{}
	for i := range addrs {
		port, err := d.ports.reserve()
		if err != nil {
			return err
		}
		addrs[i] = local(port)
	}
	d.apiAddr, d.xdsAddr = addrs[0], addrs[1]
	d.progress("starting the control plane")
	_, err := d.children.start("control-plane", d.Executable,
		"control-plane", "run", "--data-dir", d.dataDir, "--api-addr", d.apiAddr, "--xds-addr", d.xdsAddr)
	if err != nil {
		return err
	}
	err = d.children.eventually(ctx, "control plane", readyWithin, func(ctx context.Context) error {
		a, err := openAPI(d.dataDir, d.apiAddr)
		if err != nil {
			return err
		}
		d.api = a
		var version struct{}
		return a.get(ctx, "/version", nil, &version)
	})
	if err != nil {
		return err
	}
	file := filepath.Join(d.dir, "permissions.yaml")
	if err := os.WriteFile(file, []byte(permissions), 0o600); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	_, err = d.client(ctx, "apply", "-f", file)
	return err
}

// client runs a client verb against the demo's control plane.
func (d *demo) client(ctx context.Context, args ...string) (string, error) {
	return d.children.run(ctx, d.Executable, append(args, "--data-dir", d.dataDir, "--api-addr", d.apiAddr)...)
}

// startShop starts all services, then all sidecars, and waits for all of them at once.
func (d *demo) startShop(ctx context.Context) error {
	for _, m := range d.members {
		if err := m.claim(&d.ports); err != nil {
			return err
		}
	}
	d.progress("starting %d services, each with its sidecar", len(d.members)-1)
	for _, m := range d.members {
		if err := d.startService(m); err != nil {
			return err
		}
		if err := d.startSidecar(ctx, m); err != nil {
			return err
		}
	}
	for _, m := range d.members {
		if m.service != shopper {
			if err := d.children.eventually(ctx, m.dataplane+" (service)", readyWithin, answers200("http://"+local(m.appPort)+"/healthz")); err != nil {
				return err
			}
		}
		if err := d.children.eventually(ctx, m.dataplane+" (sidecar)", readyWithin, answers200("http://"+local(m.adminPort)+"/ready")); err != nil {
			return fmt.Errorf("%w\nlast words of its sidecar:\n%s", err, indent(lastLines(d.children.logOf(m.dataplane+"-sidecar"), 12)))
		}
	}
	return nil
}

func (d *demo) startService(m *member) error {
	if m.service == shopper {
		return nil
	}
	args := []string{"demo", "service", "--service", m.service, "--version", m.version, "--listen", local(m.appPort)}
	for _, service := range m.calls {
		args = append(args, "--upstream", service+"=http://"+local(m.outbounds[service]))
	}
	_, err := d.children.start(m.dataplane, d.Executable, args...)
	return err
}

func (d *demo) startSidecar(ctx context.Context, m *member) error {
	token, err := d.client(ctx, "token", "create", "dataplane", "--name", m.dataplane, "--service", m.service)
	if err != nil {
		return err
	}
	home := filepath.Join(d.dir, m.dataplane)
	if err := os.Mkdir(home, 0o700); err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	file, tokenFile := filepath.Join(home, "dataplane.yaml"), filepath.Join(home, "token")
	for name, content := range map[string]string{file: m.resource(), tokenFile: strings.TrimSpace(token) + "\n"} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			return fmt.Errorf("demo: %w", err)
		}
	}
	_, err = d.children.start(m.dataplane+"-sidecar", d.Executable,
		"dataplane", "run", "--file", file, "--control-plane", "https://"+d.xdsAddr, "--token-file", tokenFile,
		"--ca-file", filepath.Join(d.dataDir, "ca.crt"), "--state-dir", filepath.Join(home, "state"), "--admin-addr", local(m.adminPort))
	return err
}

// member finds the first of a service.
func (d *demo) member(service string) *member {
	for _, m := range d.members {
		if m.service == service {
			return m
		}
	}
	return nil
}

// wholePage asks for the front page with everything on it.
func wholePage(l *load) func(context.Context) error {
	return func(ctx context.Context) error {
		status, _, err := l.get(ctx, "/")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("the frontend answers %d", status)
		}
		return err
	}
}

func local(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }
