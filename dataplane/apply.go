package dataplane

import (
	"context"
	"errors"
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

// Apply puts a configuration in force, or returns why not and leaves the one before untouched. It is the xdsclient's Handler
// and never called twice at once.
func (p *Proxy) Apply(ctx context.Context, u *xdsclient.Update) error {
	old, err := p.engine.Apply(u.Generation, u.Resources)
	if err != nil {
		return err
	}
	next := p.engine.Graph()
	p.useKeys(next.Keys)
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

// applicationOf is the inbound whose application a cluster is.
func applicationOf(cluster string) (inbound string, ok bool) {
	return strings.CutPrefix(cluster, "inbound|")
}

// tellReadiness tells what is true of a cluster now: the application behind an inbound is everybody's business. One at a time: events of an endpoint may overtake each other, and the last word
// would be wrong for ever. A change of state is always followed by a call of this, which sees it.
func (p *Proxy) tellReadiness(cluster string) {
	p.telling.Lock()
	defer p.telling.Unlock()
	inbound, ok := applicationOf(cluster)
	g := p.engine.Graph()
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
	if p.engine.Draining() {
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
	switch g := p.engine.Graph(); {
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
