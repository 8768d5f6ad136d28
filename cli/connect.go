package cli

import (
	"context"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane"
	"github.com/hauberk-mesh/hauberk/controlplane/rest"
	"github.com/hauberk-mesh/hauberk/controlplane/rest/client"
)

const (
	envAPIAddr = "HAUBERK_API_ADDR"
	envDataDir = "HAUBERK_DATA_DIR"
)

// connection is the flags with which a client verb finds its control plane.
type connection struct {
	apiAddr string
	dataDir string
	mesh    string
}

// connectFlags adds --api-addr and --data-dir.
func (p *program) connectFlags(cmd *cobra.Command) *connection {
	c := &connection{}
	cmd.Flags().StringVar(&c.apiAddr, "api-addr", p.getenv(envAPIAddr), "control plane's API, host:port or a URL ($"+envAPIAddr+"; default: where the control plane of --data-dir listens, else 127.0.0.1:5681)")
	p.dataDirFlag(cmd, &c.dataDir)
	return c
}

// meshFlags adds those and --mesh.
func (p *program) meshFlags(cmd *cobra.Command) *connection {
	c := p.connectFlags(cmd)
	cmd.Flags().StringVarP(&c.mesh, "mesh", "m", api.DefaultMesh, "mesh that is meant")
	return c
}

func (p *program) dataDirFlag(cmd *cobra.Command, dir *string) {
	otherwise := p.getenv(envDataDir)
	if otherwise == "" {
		otherwise = "~/.hauberk"
	}
	cmd.Flags().StringVar(dir, "data-dir", otherwise, "where control-plane run keeps its data, ca.crt and admin.token ($"+envDataDir+")")
}

// expand replaces a leading ~ by the home directory, which a shell does not do after "=" or in a variable.
func (p *program) expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(p.getenv("HOME"), rest)
	}
	return path
}

// dial makes the client of the control plane. It reads files and opens no connection.
func (p *program) dial(c *connection) (*client.Client, error) {
	dir := p.expand(c.dataDir)
	base, err := apiURL(c.apiAddr, dir)
	if err != nil {
		return nil, err
	}
	anchors, err := readAnchors(filepath.Join(dir, controlplane.AnchorFile))
	if err != nil {
		return nil, err
	}
	token, err := readCredential(filepath.Join(dir, controlplane.AdminTokenFile))
	if err != nil {
		return nil, err
	}
	return client.New(base, anchors, token, registry()), nil
}

// apiURL takes host:port, a URL, or nothing; then the control plane has left its address in the data dir.
func apiURL(addr, dir string) (*url.URL, error) {
	if addr == "" {
		addr = readAddresses(dir).API
	}
	if !strings.Contains(addr, "://") {
		addr = "https://" + addr
	}
	u, err := url.Parse(addr)
	if err != nil || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" {
		return nil, usagef("--api-addr %q is neither host:port nor a URL: write 127.0.0.1:5681 or https://mesh.example.com:5681", addr)
	}
	if u.Scheme != "https" {
		return nil, usagef("--api-addr %q is not https: the control plane's API is never served in clear", addr)
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), "5681")
	}
	u.Path = ""
	return u, nil
}

// readAddresses are those of the control plane that runs, or ran last, on this data dir; else the defaults.
func readAddresses(dir string) controlplane.Addresses {
	a := controlplane.Addresses{}
	if b, err := os.ReadFile(filepath.Join(dir, controlplane.AddressesFile)); err == nil {
		_ = json.Unmarshal(b, &a)
	}
	if a.API == "" {
		a.API = controlplane.DefaultAPIAddr
	}
	if a.XDS == "" {
		a.XDS = controlplane.DefaultXDSAddr
	}
	return a
}

func readAnchors(file string) (*x509.CertPool, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, missing(file, "the control plane's certificate authority", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s has no PEM certificate: copy ca.crt from the control plane's data dir", file)
	}
	return pool, nil
}

func readCredential(file string) (string, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return "", missing(file, "your credential", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsAny(token, " \n\t") {
		return "", fmt.Errorf("%s does not hold one token: write the output of hauberk token create user into it", file)
	}
	return token, nil
}

func missing(file, what string, err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%s (%s) is not there: name the control plane's data dir with --data-dir or $%s, or start one with hauberk control-plane run --data-dir %s",
			file, what, envDataDir, filepath.Dir(file))
	}
	return fmt.Errorf("%s: %w", what, err)
}

// explain turns what went wrong on the way to the control plane into what to do about it.
func explain(err error, c *client.Client) error {
	var unknownAuthority x509.UnknownAuthorityError
	var hostname x509.HostnameError
	var expired x509.CertificateInvalidError
	where := c.Base().Host
	switch {
	case err == nil:
		return nil
	case client.IsStatus(err, http.StatusUnauthorized):
		return fmt.Errorf("the control plane at %s refuses the token in admin.token: is --data-dir that of this control plane? hauberk token create user makes a new one", where)
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody listens at %s: is the control plane running? hauberk control-plane run --data-dir DIR starts one", where)
	case errors.As(err, &unknownAuthority):
		return fmt.Errorf("the server at %s is not the control plane that ca.crt belongs to: is --data-dir that of this control plane?", where)
	case errors.As(err, &hostname):
		return fmt.Errorf("the certificate of %s is not for that name (%v): use an address that the control plane listens on", where, hostname)
	case errors.As(err, &expired):
		return fmt.Errorf("the certificate of %s is not valid now (%v): is this machine's clock right? a restart of the control plane renews it", where, expired)
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted")
	}
	var refused *rest.Error
	if errors.As(err, &refused) {
		return refused
	}
	var u *url.Error
	if errors.As(err, &u) {
		return fmt.Errorf("the control plane at %s cannot be asked: %w", where, u.Err)
	}
	return err
}

// with dials, asks, and explains what went wrong.
func (p *program) with(c *connection, ask func(*client.Client) error) error {
	cl, err := p.dial(c)
	if err != nil {
		return err
	}
	defer cl.Close()
	err = ask(cl)
	if errors.Is(err, errSilent) {
		return err
	}
	return explain(err, cl)
}
