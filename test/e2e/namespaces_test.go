package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestTwoHosts runs a mesh over two network namespaces joined by a veth pair: addresses that are not loopback, and a cable
// that can be pulled. It needs root; the names and addresses are the test's own.
func TestTwoHosts(t *testing.T) {
	near, far := newHosts(t)
	dir := t.TempDir()
	data := filepath.Join(dir, "control-plane")
	near.start(t, "control-plane", "control-plane", "run", "--data-dir", data, "--api-addr", "127.0.0.1:5681", "--xds-addr", near.addr+":5678")
	client := func(args ...string) (string, bool) {
		out, err := near.program(append(args, "--data-dir", data)...).CombinedOutput()
		return string(out), err == nil
	}
	eventually(t, 30*time.Second, "the control plane answers", func() bool { _, ok := client("get", "meshes"); return ok })

	sidecar := func(h *host, name, service, spec string) *process {
		file, token := filepath.Join(dir, name+".yaml"), filepath.Join(dir, name+".token")
		write(t, file, fmt.Sprintf("apiVersion: hauberk.io/v1alpha1\nkind: Dataplane\nmetadata: {name: %s, labels: {hauberk.io/service: %s}}\nspec:\n  address: %s\n%s", name, service, h.addr, spec))
		out, err := near.program("token", "create", "dataplane", "--name", name, "--service", service, "--data-dir", data).Output()
		if err != nil {
			t.Fatalf("token: %v", err)
		}
		write(t, token, string(out))
		p := h.start(t, name, "dataplane", "run", "--file", file, "--control-plane", "https://"+near.addr+":5678", "--token-file", token,
			"--ca-file", filepath.Join(data, "ca.crt"), "--admin-addr", "127.0.0.1:9901", "--state-dir", filepath.Join(dir, name))
		eventually(t, 30*time.Second, name+" is ready", func() bool { return h.get("http://127.0.0.1:9901/ready") == http.StatusOK })
		return p
	}
	far.serve(t, "127.0.0.1:8080")
	sidecar(far, "server-1", "server", "  inbounds: [{port: 80, listenPort: 15080, targetPort: 8080, protocol: http}]\n")
	caller := sidecar(near, "client-1", "client", "  outbounds: [{port: 10001, backendRef: {kind: MeshService, name: server, port: 80}}]\n")
	permission := filepath.Join(dir, "permission.yaml")
	write(t, permission, `apiVersion: hauberk.io/v1alpha1
kind: MeshTrafficPermission
metadata: {name: all}
spec: {rules: [{default: {allow: [{spiffeID: {type: Prefix, value: "spiffe://default.default.mesh.local/"}}]}}]}
`)
	if out, ok := client("apply", "-f", permission, "--wait"); !ok {
		t.Fatalf("apply: %s", out)
	}

	const url = "http://127.0.0.1:10001/"
	if got := near.get(url); got != http.StatusOK {
		t.Fatalf("over the wire: status %d\n%s", got, caller.logs.tail(20))
	}
	far.link(t, "down")
	eventually(t, 40*time.Second, "with the cable pulled the call fails, and says so", func() bool { return near.get(url) == http.StatusServiceUnavailable })
	far.link(t, "up")
	plugged := time.Now()
	eventually(t, 20*time.Second, "with the cable plugged it works again", func() bool { return near.get(url) == http.StatusOK })
	t.Logf("back %v after the link was", time.Since(plugged).Round(10*time.Millisecond))
}

// host is a network namespace.
type host struct{ name, addr string }

// newHosts makes two, joined by a cable.
func newHosts(t *testing.T) (near, far *host) {
	t.Helper()
	if os.Getenv("HAUBERK_ROOT_TESTS") == "" || os.Getuid() != 0 {
		t.Skip("network namespaces need root: make root-test")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("needs the ip command (Debian: iproute2)")
	}
	id := os.Getpid()
	near = &host{fmt.Sprintf("hauberk-%d-a", id), "10.213.0.1"}
	far = &host{fmt.Sprintf("hauberk-%d-b", id), "10.213.0.2"}
	for _, h := range []*host{near, far} {
		if out, err := exec.Command("ip", "netns", "add", h.name).CombinedOutput(); err != nil {
			t.Skipf("this kernel or container makes no network namespace: %s", out)
		}
		t.Cleanup(func() { run(t, "ip", "netns", "delete", h.name) })
		run(t, "ip", "-n", h.name, "link", "set", "lo", "up")
	}
	run(t, "ip", "-n", near.name, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", far.name)
	for _, h := range []*host{near, far} {
		run(t, "ip", "-n", h.name, "addr", "add", h.addr+"/24", "dev", "cable")
		run(t, "ip", "-n", h.name, "link", "set", "cable", "up")
	}
	return near, far
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, out)
	}
}

func (h *host) link(t *testing.T, state string) {
	t.Helper()
	run(t, "ip", "-n", h.name, "link", "set", "cable", state)
}

// program is hauberk on this host.
func (h *host) program(args ...string) *exec.Cmd {
	cmd := program(args...)
	return within(h, cmd)
}

func within(h *host, cmd *exec.Cmd) *exec.Cmd {
	ip, _ := exec.LookPath("ip")
	cmd.Args = append([]string{"ip", "netns", "exec", h.name, cmd.Path}, cmd.Args[1:]...)
	cmd.Path = ip
	return cmd
}

func (h *host) start(t *testing.T, name string, args ...string) *process {
	t.Helper()
	return startCommand(t, name, h.program(args...))
}

// enter runs f on a thread that is in the namespace; sockets that f opens stay there. The thread goes home afterwards: one
// that ended instead would take the processes with it that were forked from it (Pdeathsig looks at the thread).
func (h *host) enter(f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer home.Close()
	away, err := os.Open("/var/run/netns/" + h.name)
	if err != nil {
		return err
	}
	defer away.Close()
	if err := unix.Setns(int(away.Fd()), unix.CLONE_NEWNET); err != nil {
		return err
	}
	defer func() {
		if err := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); err != nil {
			panic(err) // this thread must serve nobody else
		}
	}()
	return f()
}

// get returns the status of a GET that this host makes; 0 is none.
func (h *host) get(url string) int {
	client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(_ context.Context, network, addr string) (c net.Conn, err error) {
		err = h.enter(func() error { c, err = net.DialTimeout(network, addr, 5*time.Second); return err })
		return c, err
	}}}
	return request(client, url).status
}

// serve runs an application on this host.
func (h *host) serve(t *testing.T, addr string) {
	t.Helper()
	var l net.Listener
	if err := h.enter(func() (err error) { l, err = net.Listen("tcp", addr); return err }); err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "from afar") })}
	go func() { _ = s.Serve(l) }()
	t.Cleanup(func() { _ = s.Close() })
}
