package main

import (
	"embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/template"
)

//go:embed peers
var templates embed.FS

// peer is a proxy that can be either sidecar.
type peer struct {
	name    string
	program string
	args    []string // templates over role
	config  string   // a file below peers/, a template over role; "" is no proxy at all
	env     []string
	mesh    string // the protocol between the sidecars for HTTP/1.1 clients: "h2", else HTTP/1.1
}

// known are the peers, in the order in which they take turns. Envoy and Hauberk read the same bootstrap.
var known = []peer{
	{name: "direct"},
	{name: "haproxy", program: "haproxy", args: []string{"-db", "-f", "{{.Config}}"}, config: "haproxy.cfg"},
	{name: "nginx", program: "nginx", args: []string{"-e", "stderr", "-p", "{{.Dir}}", "-c", "{{.Config}}"}, config: "nginx.conf"},
	{name: "envoy", program: "envoy", args: envoyArgs, config: "envoy.yaml"},
	{name: "envoy-h2", program: "envoy", args: envoyArgs, config: "envoy.yaml", mesh: "h2"},
	{name: "hauberk", args: hauberkArgs, config: "envoy.yaml", mesh: "h2"},
	{name: "hauberk-h1", args: hauberkArgs, config: "envoy.yaml"},
	{name: "hauberk-memory", args: append(slices.Clone(hauberkArgs), "--key-provider", "memory"), config: "envoy.yaml", mesh: "h2"},
}

var (
	envoyArgs   = []string{"-c", "{{.Config}}", "--concurrency", "{{.Threads}}", "--disable-hot-restart", "--log-level", "error"}
	hauberkArgs = []string{"proxy", "run", "--config", "{{.Config}}"}
)

// role is what a template may use: one sidecar's place.
type role struct {
	Listen, Upstream    string // host:port
	Ingress, Egress     bool   // TLS comes in, or goes out
	Certified           bool   // whoever comes in has to prove who he is
	Kind                string // of our key
	H2                  bool   // clients and the backend speak HTTP/2
	MeshH2              bool   // the sidecars speak HTTP/2 to each other
	Threads             int
	Dir, Config         string
	Cert, Key, Both, CA string // PEM files; Both has certificate and key
}

// Port is the port of an address.
func (role) Port(address string) string { return address[strings.LastIndexByte(address, ':')+1:] }

// findPeers tells which of the wanted peers are on this machine, and says of the others what is missing.
func findPeers(o options) (present []peer, absent []string, err error) {
	for _, name := range strings.Split(o.peers, ",") {
		i := slices.IndexFunc(known, func(p peer) bool { return p.name == name })
		if i < 0 {
			return nil, nil, usageError{fmt.Errorf("no peer %q", name)}
		}
		p := known[i]
		if p.config == "" {
			present = append(present, p)
			continue
		}
		if strings.HasPrefix(name, "hauberk") {
			p.program, p.env = o.hauberk, o.env
		}
		path, err := exec.LookPath(p.program)
		if err == nil {
			path, err = filepath.Abs(path)
		}
		if err != nil {
			absent = append(absent, fmt.Sprintf("%s (%v)", name, err))
			continue
		}
		p.program = path
		present = append(present, p)
	}
	return present, absent, nil
}

// command is the program and its arguments, with its configuration written to r.Dir.
func (p peer) command(r role) ([]string, error) {
	text, err := templates.ReadFile("peers/" + p.config)
	if err != nil {
		return nil, err
	}
	r.Config = filepath.Join(r.Dir, p.config)
	config, err := fill(string(text), r)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(r.Config, []byte(config), 0o600); err != nil {
		return nil, err
	}
	line := []string{p.program}
	for _, a := range p.args {
		a, err := fill(a, r)
		if err != nil {
			return nil, err
		}
		line = append(line, a)
	}
	return line, nil
}

func fill(text string, r role) (string, error) {
	t, err := template.New("").Parse(text)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = t.Execute(&b, r)
	return b.String(), err
}
