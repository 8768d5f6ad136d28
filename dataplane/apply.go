package dataplane

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/hauberk-mesh/hauberk/dataplane/config"
	"github.com/hauberk-mesh/hauberk/dataplane/xdsclient"
	"github.com/hauberk-mesh/hauberk/internal/atomicfile"
)

// configFile is the last good configuration, in the state directory.
const configFile = "config.bin"

// Apply puts a configuration in force, or returns why not and leaves the one before untouched: build it, bind what is new,
// swap one pointer, and only then take away what is gone. It is the xdsclient's Handler and never called twice at once.
//
// Clusters are warm before the swap: Build refuses one whose endpoints were not sent.
func (p *Proxy) Apply(ctx context.Context, u *xdsclient.Update) error {
	if p.draining.Load() {
		return errors.New("the proxy is draining")
	}
	old := p.current.Load()
	next, err := p.builder.Build(old, u.Generation, u.Resources)
	if err != nil {
		return err
	}
	bound, err := p.bind(next)
	if err != nil {
		next.Release(old)
		return err
	}
	if err := p.trustOf(next); err != nil {
		bound.close()
		next.Release(old)
		return err
	}
	p.current.Store(next)
	p.sockets.serve(bound)
	p.sockets.drainGone(next)
	if old != nil {
		old.Release(next)
	}
	p.sockets.rejudge()
	p.tellAllReadiness(old, next)
	level := slog.LevelInfo
	if old != nil && changes(u) == 0 {
		level = slog.LevelDebug // after a reconnect the control plane says that nothing is different
	}
	p.log.Log(ctx, level, "configuration in force", "generation", next.Generation, "listeners", len(next.Listeners), "clusters", len(next.Clusters))
	return nil
}

// changes is how many resources an update brings, changes or takes away.
func changes(u *xdsclient.Update) (n int) {
	for _, names := range []map[string][]string{u.Changed, u.Removed} {
		for _, list := range names {
			n += len(list)
		}
	}
	return n
}

// trustOf takes over whom to trust. It comes before the swap: a new authority must be known before a listener asks for it.
// Build has checked the bundles, so that this does not fail half-way.
func (p *Proxy) trustOf(g *config.Graph) error {
	if g.HasTrust {
		if err := p.trust.SetBundles(g.Bundles); err != nil {
			return err
		}
	}
	p.trust.SetRevoked(g.Revoked)
	return nil
}

// restore reads the last good configuration; nil where there is none that can be used.
func (p *Proxy) restore() *xdsclient.State {
	if p.cfg.StateDir == "" {
		return nil
	}
	path := filepath.Join(p.cfg.StateDir, configFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var s *xdsclient.State
	if err == nil {
		s, err = xdsclient.Restore(b)
	}
	if err != nil {
		p.log.Warn("kept configuration is not used", "file", path, "reason", err)
		return nil
	}
	return s
}

// keep writes a configuration that was taken. It holds no secret, but it is nobody else's business.
func (p *Proxy) keep(s *xdsclient.State) {
	if p.cfg.StateDir == "" {
		return
	}
	err := atomicfile.PrivateDir(p.cfg.StateDir) // somebody may have cleaned up
	if err == nil {
		err = atomicfile.Write(filepath.Join(p.cfg.StateDir, configFile), s.Marshal(), 0o600)
	}
	if err != nil {
		p.log.Warn("configuration not kept; a restart will need the control plane", "error", err)
	}
}

// clusterReady asks the configuration in force.
func (p *Proxy) clusterReady(name string) bool {
	g := p.current.Load()
	if g == nil {
		return false
	}
	c := g.Clusters[name]
	return c != nil && c.Ready()
}

// applicationOf is the inbound whose application a cluster is.
func applicationOf(cluster string) (inbound string, ok bool) {
	return strings.CutPrefix(cluster, "inbound|")
}

// onHealth hears that an endpoint stopped or began to answer. The application behind an inbound is everybody's business.
func (p *Proxy) onHealth(cluster, endpoint string, up bool, reason string) {
	level := p.log.Info
	if !up {
		level = p.log.Warn
	}
	level("endpoint", "cluster", cluster, "endpoint", endpoint, "up", up, "reason", reason)
	p.tellReadiness(cluster)
}

// tellReadiness tells what is true now, one at a time: events of an endpoint may overtake each other, and the last word
// would be wrong for ever. A change of state is always followed by a call of this, which sees it.
func (p *Proxy) tellReadiness(cluster string) {
	p.telling.Lock()
	defer p.telling.Unlock()
	inbound, ok := applicationOf(cluster)
	g := p.current.Load()
	if !ok || g == nil || g.Clusters[cluster] == nil {
		return
	}
	c := g.Clusters[cluster]
	reason := ""
	for _, e := range c.Endpoints() {
		reason = e.Reason
	}
	p.setReadiness(inbound, c.Ready(), reason)
}

func (p *Proxy) tellAllReadiness(old, next *config.Graph) {
	for name := range next.Clusters {
		p.tellReadiness(name)
	}
	if old == nil {
		return
	}
	for name := range old.Clusters {
		if inbound, ok := applicationOf(name); ok && next.Clusters[name] == nil {
			p.report.ForgetReadiness(inbound)
		}
	}
}

// unready are the reasons why the proxy is not ready, none if it is.
func (p *Proxy) unready() []string {
	if p.draining.Load() {
		return []string{"draining"}
	}
	var why []string
	if p.id.Get() == nil {
		reason := "no SVID yet"
		if err := p.identity.LastError(); err != nil {
			reason += ": " + err.Error()
		}
		return []string{reason}
	}
	s := p.xds.Status()
	switch g := p.current.Load(); {
	case g == nil && s.LastNACK != "":
		why = append(why, "no configuration in force, the last one was refused: "+s.LastNACK)
	case g == nil:
		why = append(why, "no configuration in force"+because(s.LastError))
	case s.ACKed == 0 && g.Generation != 0 && !p.restored:
		why = append(why, "the control plane has not taken the acknowledgement of this proxy's first configuration"+because(s.LastError))
	}
	return why
}

func because(reason string) string {
	if reason == "" {
		return ""
	}
	return ": " + reason
}

var _ xdsclient.Handler = (*Proxy)(nil)

func listenError(name, addr string, err error) error {
	return fmt.Errorf("listener %q: bind %s: %w", name, addr, err)
}
