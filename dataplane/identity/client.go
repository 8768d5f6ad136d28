// Package identity gets the proxy its SVID and keeps it fresh: it joins with a token, renews over mutual TLS with a new key
// each time, proves the new SVID before it is used, and keeps it over restarts.
//
// What it is not: it verifies no peer (dataplane/tls does), and xDS does not go through it; it only opens connections to the
// control plane for whoever needs one.
//
// Start at Client.Run.
package identity

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
	"github.com/hauberk-mesh/hauberk/dataplane/tls"
	"github.com/hauberk-mesh/hauberk/internal/atomicfile"
)

// Options are what a Client needs.
type Options struct {
	ControlPlane string         // host:port or https://host:port
	CAs          *x509.CertPool // the control plane's anchor
	// Token returns the dataplane token; it is called for each join, so that a file may be replaced. See TokenFile.
	Token func() (string, error)
	Keys  keyprovider.Provider // until UseKeys names another one
	// StateDir keeps the SVID and the key's handle over restarts; "" keeps nothing.
	StateDir string

	// Mesh, Dataplane and Service are who this proxy is. An SVID of somebody else, from the state directory of another
	// proxy or bought with the wrong token, is refused. "" is not checked.
	Mesh, Dataplane, Service string

	Identity *tls.Identity // receives each proven SVID
	Trust    *tls.Trust    // is seeded with the bundles that come with it
	Logger   *slog.Logger
	// Dial opens connections to the control plane; default TCP.
	Dial func(ctx context.Context, addr string) (net.Conn, error)
}

// TokenFile reads the token from a file each time.
func TokenFile(path string) func() (string, error) {
	return func() (string, error) {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("token: %w", err)
		}
		token := strings.TrimSpace(string(b))
		if token == "" {
			return "", fmt.Errorf("token: %s is empty", path)
		}
		return token, nil
	}
}

// Client holds the proxy's identity. Make one with New, and Run it once.
type Client struct {
	o     Options
	addr  string
	ready chan struct{}
	hurry chan struct{}

	mu      sync.Mutex // guards below
	lastErr error
	keys    keyprovider.Provider // of the next key
	holds   string               // the provider that has the present key
}

// New checks the options; it connects to nothing.
func New(o Options) (*Client, error) {
	addr, err := address(o.ControlPlane)
	if err != nil {
		return nil, err
	}
	if o.CAs == nil || o.Token == nil || o.Keys == nil || o.Identity == nil || o.Trust == nil || o.Logger == nil {
		return nil, errors.New("identity client: CAs, Token, Keys, Identity, Trust and Logger are all required")
	}
	if o.StateDir != "" {
		if err := atomicfile.PrivateDir(o.StateDir); err != nil {
			return nil, fmt.Errorf("state directory: %w", err)
		}
	}
	if o.Dial == nil {
		o.Dial = func(ctx context.Context, addr string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		}
	}
	return &Client{o: o, addr: addr, ready: make(chan struct{}), hurry: make(chan struct{}, 1), keys: o.Keys}, nil
}

func address(controlPlane string) (string, error) {
	if !strings.Contains(controlPlane, "://") {
		if _, _, err := net.SplitHostPort(controlPlane); err != nil {
			return "", fmt.Errorf("control plane %q: write host:port or https://host:port", controlPlane)
		}
		return controlPlane, nil
	}
	u, err := url.Parse(controlPlane)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" || strings.Trim(u.Path, "/") != "" {
		return "", fmt.Errorf("control plane %q: write https://host:port", controlPlane)
	}
	return u.Host, nil
}

// Ready is closed once there is an SVID.
func (c *Client) Ready() <-chan struct{} { return c.ready }

// LastError is why the last attempt to join or renew failed; nil after one that succeeded.
func (c *Client) LastError() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lastErr
}

// UseKeys has another provider make the next key, and makes Run renew now, so that the present one is not used for much longer.
func (c *Client) UseKeys(p keyprovider.Provider) {
	c.mu.Lock()
	changed := c.keys.Name() != p.Name()
	c.keys = p
	c.mu.Unlock()
	if changed {
		c.Hurry()
	}
}

// provider is who makes the next key.
func (c *Client) provider() keyprovider.Provider {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys
}

// Hurry makes Run renew now. Call it when the control plane refuses the present SVID, as one does that has lost its store.
func (c *Client) Hurry() {
	select {
	case c.hurry <- struct{}{}:
	default:
	}
}

// Run holds the identity until ctx ends, and returns nil then. It starts with what the state directory has, so that a proxy
// comes up without a control plane.
func (c *Client) Run(ctx context.Context) error {
	due, err := c.restore(ctx)
	if err != nil {
		c.o.Logger.WarnContext(ctx, "kept identity is not used", "dir", c.o.StateDir, "reason", err)
	}
	for failures := 0; ; {
		if !c.sleep(ctx, time.Until(due)) {
			return nil
		}
		next, err := c.acquire(ctx)
		if ctx.Err() != nil {
			return nil
		}
		c.mu.Lock()
		c.lastErr = err
		c.mu.Unlock()
		if err == nil {
			failures, due = 0, next
			continue
		}
		failures++
		pause := c.pause(failures)
		c.report(ctx, err, pause)
		due = time.Now().Add(pause)
	}
}

// sleep tells whether to go on.
func (c *Client) sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(max(d, 0))
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-c.hurry:
	case <-t.C:
	}
	return ctx.Err() == nil
}

const (
	firstPause = 200 * time.Millisecond
	lastPause  = 30 * time.Second
	// joinPause is the longest where there is no SVID to live on.
	joinPause = 5 * time.Second
)

// pause is how long to wait after a failure: doubling, a fifth more or less, and never so long that the SVID could end
// with only a few attempts left.
func (c *Client) pause(failures int) time.Duration {
	d := min(firstPause<<min(failures-1, 10), lastPause)
	if left := c.left(); left > 0 {
		d = min(d, max(left/10, firstPause))
	} else {
		d = min(d, joinPause)
	}
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64()))
}

// left is the life of the present SVID; 0 without one.
func (c *Client) left() time.Duration {
	s := c.o.Identity.Get()
	if s == nil {
		return 0
	}
	return max(time.Until(s.NotAfter), 0)
}

// report is loud when the end comes near: before 80 % of the SVID's life a failed renewal harms nobody.
func (c *Client) report(ctx context.Context, err error, pause time.Duration) {
	s := c.o.Identity.Get()
	if s == nil {
		c.o.Logger.WarnContext(ctx, "no identity yet", "control_plane", c.addr, "reason", err, "retry_in", pause)
		return
	}
	level := slog.LevelInfo
	if time.Until(s.NotAfter) < s.NotAfter.Sub(s.NotBefore)/5 {
		level = slog.LevelWarn
	}
	c.o.Logger.Log(ctx, level, "identity not renewed", "identity", s.ID, "expires", s.NotAfter, "control_plane", c.addr, "reason", err, "retry_in", pause)
}

// KeyProvider names the provider that has the key of the present SVID; empty before the first.
func (c *Client) KeyProvider() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.holds
}

// take makes a proven SVID the proxy's own.
func (c *Client) take(m material) {
	first := c.o.Identity.Get() == nil
	c.o.Identity.Set(m.svid)
	c.mu.Lock()
	c.holds = m.keys
	c.mu.Unlock()
	if first {
		close(c.ready)
	}
}

// renewAt is half of the leaf's remaining life, ten per cent more or less.
func renewAt(now time.Time, s *tls.SVID) time.Time {
	return now.Add(time.Duration(float64(s.NotAfter.Sub(now)) * (0.45 + 0.1*rand.Float64())))
}
