package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// lineage is a sidecar whose process is replaced, again and again.
type lineage struct {
	*sidecar
	pid int // of the process that serves
}

func newLineage(s *sidecar) *lineage { return &lineage{sidecar: s, pid: s.cmd.Process.Pid} }

var tookOver = regexp.MustCompile(`^process (\d+) \(\S*\) has taken over from (\d+) `)

// upgrade asks as an operator does, and checks that another process serves.
func (l *lineage) upgrade() {
	t := l.mesh.t
	t.Helper()
	out, errs, code := l.tryUpgrade()
	m := tookOver.FindStringSubmatch(out)
	if code != 0 || m == nil || m[2] != strconv.Itoa(l.pid) {
		t.Fatalf("upgrade of %s, process %d: exit %d\n%s%s\n%s", l.name, l.pid, code, out, errs, l.logs.tail(30))
	}
	pid, _ := strconv.Atoi(m[1])
	l.replaced(pid)
}

func (l *lineage) tryUpgrade() (stdout, stderr string, code int) {
	return output(l.mesh.t, "", "dataplane", "upgrade", "--admin-addr", l.admin, "--token-file", filepath.Join(l.dir, "token"))
}

// signal asks as a supervisor does. Who the new process is stands in the log.
func (l *lineage) signal() {
	t := l.mesh.t
	t.Helper()
	line := regexp.MustCompile(`msg="has handed over" pid=` + strconv.Itoa(l.pid) + ` to=(\d+) `)
	if err := syscall.Kill(l.pid, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	var m []string
	eventually(t, 30*time.Second, l.name+" has handed over", func() bool {
		m = line.FindStringSubmatch(l.logs.String())
		return m != nil
	})
	pid, _ := strconv.Atoi(m[1])
	l.replaced(pid)
}

func (l *lineage) replaced(pid int) {
	l.pid = pid
	// The log's pipe ends with its last holder: the cleanup of start waits for this process too.
	l.mesh.t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGTERM) })
}

// awaitEnd waits until a process is gone that has handed over.
func awaitEnd(t *testing.T, pid int) {
	t.Helper()
	eventually(t, 40*time.Second, "process "+strconv.Itoa(pid)+" has drained and ended", func() bool {
		_, err := os.Stat("/proc/" + strconv.Itoa(pid))
		return errors.Is(err, fs.ErrNotExist)
	})
}

// underLoad runs work while requests flow, on connections that are kept, on a new one for each request and on streams of
// HTTP/2, and fails the test unless every one was answered with 200. work may ask for more: a hundred answers of each kind.
func underLoad(t *testing.T, url string, work func(more func())) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reused := &load{url: url, perSecond: 150}
	fresh := &load{url: url, perSecond: 100, newConn: true}
	var wg sync.WaitGroup
	wg.Go(func() { reused.run(ctx) })
	wg.Go(func() { fresh.run(ctx) })
	wg.Go(func() { streams(ctx, t, url) })
	work(func() {
		t.Helper()
		for _, l := range []*load{reused, fresh} {
			enough := l.answered() + 100
			eventually(t, 30*time.Second, "a hundred answers", func() bool { return l.answered() >= enough })
		}
	})
	cancel()
	wg.Wait()
	reused.allGood(t, 100)
	fresh.allGood(t, 100)
}

// streams asks over HTTP/2 with prior knowledge, a few requests at once, and takes a GOAWAY as any client does.
func streams(ctx context.Context, t *testing.T, url string) {
	protocols := &http.Protocols{}
	protocols.SetUnencryptedHTTP2(true)
	transport := &http.Transport{Protocols: protocols}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport, Timeout: 20 * time.Second}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			tick := time.NewTicker(50 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
				if a := request(client, url); a.status != http.StatusOK {
					t.Errorf("HTTP/2: %v", a)
				}
			}
		})
	}
	wg.Wait()
}

func (l *load) answered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.sent
}

func shop(t *testing.T) (m *mesh, server, client *lineage, url string) {
	t.Helper()
	m = newMesh(t)
	server = newLineage(m.sidecar(dataplane{service: "server", app: newApp(t, "one").addr}))
	client = newLineage(m.sidecar(dataplane{service: "client", outbounds: []string{"server"}}))
	m.allow("default", "server", "client")
	return m, server, client, "http://" + client.outbound["server"] + "/"
}

// TestUpgradeUnderLoad: both sidecars are replaced in turn, each in both ways, and no request fails. To the control plane
// nothing has happened: no endpoint is withdrawn, nobody is taken for a second proxy, and the new processes follow it.
func TestUpgradeUnderLoad(t *testing.T) {
	m, server, client, url := shop(t)
	first := []int{server.pid, client.pid}
	underLoad(t, url, func(more func()) {
		more()
		server.upgrade()
		client.upgrade()
		more()
		server.signal()
		more()
		client.signal()
		for _, pid := range first {
			awaitEnd(t, pid)
		}
	})
	for _, l := range []*lineage{server, client} {
		if got := statusOf("http://" + l.admin + "/ready"); got != http.StatusOK {
			t.Errorf("%s: the new process' admin port says %d", l.name, got)
		}
	}
	for _, event := range []string{"withdrawn", "refused", "leaves"} {
		if log := m.control.logs.String(); strings.Contains(log, event) {
			t.Errorf("the control plane's log has %q:\n%s", event, log)
		}
	}
	eventually(t, 30*time.Second, "both are connected", func() bool {
		out, _, code := m.try("", "status", "-o", "json")
		return code == 0 && strings.Count(out, `"connected": true`) == 2
	})
	// The new processes take what is new: --wait returns when they run it.
	m.hauberk("delete", "meshtrafficpermissions", "allow-server")
	eventually(t, 30*time.Second, "the deletion is in force", func() bool { return statusOf(url) == http.StatusForbidden })
	m.allow("default", "server", "client")
	if got := statusOf(url); got != http.StatusOK {
		t.Errorf("after apply --wait: %d", got)
	}
}

// TestUpgradeWithoutControlPlane: identity and configuration come from the state directory.
func TestUpgradeWithoutControlPlane(t *testing.T) {
	m, server, client, url := shop(t)
	m.control.kill()
	underLoad(t, url, func(more func()) {
		server.upgrade()
		client.upgrade()
		more()
	})
}

// TestUpgradeFails: a program that does not start leaves the old process as it was, which says why; and the next attempt,
// with one that does, succeeds.
func TestUpgradeFails(t *testing.T) {
	m := newMesh(t)
	m.sidecar(dataplane{service: "server", app: newApp(t, "one").addr})
	s := m.describe(dataplane{service: "client", outbounds: []string{"server"}})
	s.args = append(s.args, "--pid-file", filepath.Join(s.dir, "pid"))
	file := filepath.Join(s.dir, "hauberk")
	cmd := program(s.args...)
	good := cmd.Path
	install(t, good, file)
	cmd.Path, cmd.Args[0] = file, file
	s.process = startCommand(t, s.name, cmd)
	s.ready()
	client := newLineage(s)
	m.allow("default", "server", "client")

	underLoad(t, "http://"+client.outbound["server"]+"/", func(more func()) {
		bad := filepath.Join(s.dir, "bad")
		write(t, bad, "#!/bin/sh\nexit 3\n")
		if err := os.Chmod(bad, 0o700); err != nil {
			t.Fatal(err)
		}
		install(t, bad, file)
		out, errs, code := client.tryUpgrade()
		want := "not upgraded, process " + strconv.Itoa(client.pid) + " goes on"
		if code != 1 || !strings.Contains(errs, want) || !strings.Contains(errs, "exit status 3") {
			t.Errorf("upgrade to a program that fails: exit %d\n%s%s", code, out, errs)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if _, errs, code := client.tryUpgrade(); code != 1 || !strings.Contains(errs, "no such file") {
			t.Errorf("upgrade to a file that is not there: exit %d\n%s", code, errs)
		}
		eventually(t, 30*time.Second, "it is connected again", func() bool {
			out, _, code := m.try("", "status", "-o", "json")
			return code == 0 && strings.Count(out, `"connected": true`) == 2
		})
		more()
		install(t, good, file)
		client.upgrade()
		more()
	})
	if text, err := os.ReadFile(filepath.Join(s.dir, "pid")); err != nil || strings.TrimSpace(string(text)) != strconv.Itoa(client.pid) {
		t.Errorf("the pid file holds %q (%v), want %d", text, err, client.pid)
	}
	if _, errs, code := output(t, "", "dataplane", "upgrade", "--admin-addr", client.admin, "--token-file", file+".none"); code != 1 || !strings.Contains(errs, "--token-file") {
		t.Errorf("without a token: exit %d\n%s", code, errs)
	}
	if _, errs, code := output(t, "", "dataplane", "upgrade", "--admin-addr", client.admin); code != 1 || !strings.Contains(errs, "needs the dataplane's token") {
		t.Errorf("without --token-file: exit %d\n%s", code, errs)
	}
	if _, errs, code := output(t, "", "dataplane", "upgrade", "--admin-addr", "nonsense"); code != 1 || !strings.Contains(errs, "SIGUSR2") {
		t.Errorf("of nobody: exit %d\n%s", code, errs)
	}
	write(t, filepath.Join(s.dir, "other"), "another token")
	if _, errs, code := output(t, "", "dataplane", "upgrade", "--admin-addr", client.admin, "--token-file", filepath.Join(s.dir, "other")); code != 1 || !strings.Contains(errs, "needs the dataplane's token") {
		t.Errorf("with another token: exit %d\n%s", code, errs)
	}
}

// TestUpgradeTellsSystemd: Type=notify learns when a process serves, and who goes on in its place.
func TestUpgradeTellsSystemd(t *testing.T) {
	file := filepath.Join(t.TempDir(), "notify")
	systemd, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: file, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer systemd.Close()
	m := newMesh(t)
	t.Setenv("NOTIFY_SOCKET", file)
	server := newLineage(m.sidecar(dataplane{service: "server", app: newApp(t, "one").addr}))
	told := func() string {
		b := make([]byte, 256)
		_ = systemd.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := systemd.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(b[:n]), "\n", " ")
	}
	if got, want := told(), "READY=1 MAINPID="+strconv.Itoa(server.pid); got != want {
		t.Errorf("told %q, want %q", got, want)
	}
	server.upgrade()
	// Two processes tell the same thing: the old one, which systemd believes, and the new one.
	main := "MAINPID=" + strconv.Itoa(server.pid)
	got := []string{told(), told()}
	slices.Sort(got)
	if want := []string{main, "READY=1 " + main}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	_ = syscall.Kill(server.pid, syscall.SIGTERM)
	if got, want := told(), "STOPPING=1"; got != want {
		t.Errorf("told %q, want %q", got, want)
	}
}

// TestProxyRunUpgrade: the proxy without a mesh is replaced in the same way, and says where its process is.
func TestProxyRunUpgrade(t *testing.T) {
	dir, listen, admin := t.TempDir(), freeAddr(t), freeAddr(t)
	config, pidFile := filepath.Join(dir, "envoy.yaml"), filepath.Join(dir, "pid")
	write(t, config, fmt.Sprintf(`static_resources:
  listeners:
  - name: in
    address: {socket_address: {address: 127.0.0.1, port_value: %s}}
    traffic_direction: OUTBOUND
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: in
          route_config: {virtual_hosts: [{name: all, domains: ["*"], routes: [{match: {prefix: "/"}, route: {cluster: app}}]}]}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
  - name: app
    type: STATIC
    load_assignment:
      cluster_name: app
      endpoints: [{lb_endpoints: [{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: %s}}}}]}]
`, port(listen), port(newApp(t, "one").addr)))
	p := start(t, "proxy", "proxy", "run", "--config", config, "--admin-addr", admin, "--pid-file", pidFile)
	eventually(t, 30*time.Second, "the proxy is ready", func() bool { return statusOf("http://"+admin+"/ready") == http.StatusOK })
	serving := func() int {
		text, err := os.ReadFile(pidFile)
		if err != nil {
			t.Fatal(err)
		}
		pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		return pid
	}
	old := p.cmd.Process.Pid
	if got := serving(); got != old {
		t.Fatalf("the pid file says %d, want %d", got, old)
	}
	underLoad(t, "http://"+listen+"/", func(more func()) {
		more()
		_ = syscall.Kill(old, syscall.SIGUSR2)
		eventually(t, 30*time.Second, "another process serves", func() bool { return serving() != old })
		pid := serving()
		t.Cleanup(func() { _ = syscall.Kill(pid, syscall.SIGTERM) })
		awaitEnd(t, old)
		more()
		// Its admin port wants no token, as Envoy's does not.
		out, errs, code := output(t, "", "dataplane", "upgrade", "--admin-addr", admin)
		m := tookOver.FindStringSubmatch(out)
		if code != 0 || m == nil || m[2] != strconv.Itoa(pid) {
			t.Fatalf("exit %d\n%s%s", code, out, errs)
		}
		last, _ := strconv.Atoi(m[1])
		t.Cleanup(func() { _ = syscall.Kill(last, syscall.SIGTERM) })
		more()
	})
}

// install puts a file in a program's place as a package manager does: the running one keeps its own.
func install(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Link(from, to+".new"); err != nil {
		text, err := os.ReadFile(from)
		if err == nil {
			err = os.WriteFile(to+".new", text, 0o700)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(to+".new", to); err != nil {
		t.Fatal(err)
	}
}

// TestDrain: a sidecar that is told to stop is withdrawn, its callers go elsewhere, whoever still asks it is told to close
// the connection, and no request fails.
func TestDrain(t *testing.T) {
	m := newMesh(t)
	leaver := m.sidecar(dataplane{service: "server", name: "server-1", app: newApp(t, "one").addr})
	m.sidecar(dataplane{service: "server", name: "server-2", app: newApp(t, "two").addr})
	client := m.sidecar(dataplane{service: "client", outbounds: []string{"server"}})
	m.allow("default", "server", "client")
	url := "http://" + client.outbound["server"] + "/"

	underLoad(t, url, func(more func()) {
		eventually(t, 30*time.Second, "both servers answer", func() bool {
			seen := map[string]bool{}
			for range 20 {
				seen[request(http.DefaultClient, url).app] = true
			}
			return seen["one"] && seen["two"]
		})
		more()
		leaver.stop()
		more()
	})
	if out := m.hauberk("get", "dataplanes"); strings.Contains(out, "server-1") {
		t.Errorf("it was not withdrawn:\n%s", out)
	}
	if log := m.control.logs.String(); !strings.Contains(log, "dataplane withdrawn, it has left") {
		t.Errorf("the control plane was not told:\n%s", log)
	}

	// An application's kept connection to a sidecar that drains: each request is served, and one is the last one.
	conn, err := net.Dial("tcp", client.outbound["server"])
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	read := bufio.NewReader(conn)
	if resp := exchange(t, conn, read); resp.StatusCode != http.StatusOK || resp.Close {
		t.Fatalf("before the drain: %d, close %t", resp.StatusCode, resp.Close)
	}
	goAway := awaitGoAway(t, client.outbound["server"])
	_ = client.cmd.Process.Signal(syscall.SIGTERM)
	eventually(t, 10*time.Second, "an answer says connection: close", func() bool {
		resp := exchange(t, conn, read)
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("while it drains: %d", resp.StatusCode)
		}
		return resp.Close
	})
	if err := <-goAway; err != nil {
		t.Error(err)
	}
	client.stop()
}

// awaitGoAway holds a connection of HTTP/2 with a stream on it that was answered, and tells whether its end was announced:
// GOAWAY with no error, and then the end of the connection.
func awaitGoAway(t *testing.T, addr string) <-chan error {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	framer := http2.NewFramer(conn, conn)
	var block bytes.Buffer
	enc := hpack.NewEncoder(&block)
	for _, f := range [][2]string{{":method", "GET"}, {":scheme", "http"}, {":authority", "server"}, {":path", "/"}} {
		_ = enc.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	_, _ = io.WriteString(conn, http2.ClientPreface)
	_ = framer.WriteSettings()
	_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndHeaders: true, EndStream: true})
	told, answered := make(chan error, 1), make(chan struct{})
	go func() {
		announced := false
		for {
			f, err := framer.ReadFrame()
			switch f := f.(type) {
			case *http2.SettingsFrame:
				if !f.IsAck() {
					_ = framer.WriteSettingsAck()
				}
			case *http2.PingFrame:
				if !f.IsAck() {
					_ = framer.WritePing(true, f.Data)
				}
			case *http2.HeadersFrame:
				close(answered)
			case *http2.GoAwayFrame:
				announced = f.ErrCode == http2.ErrCodeNo
			}
			if err == nil {
				continue
			}
			if !announced || !errors.Is(err, io.EOF) {
				told <- fmt.Errorf("an HTTP/2 connection to a proxy that drains: announced %t, %w", announced, err)
			}
			close(told)
			return
		}
	}()
	<-answered
	return told
}

func exchange(t *testing.T, conn net.Conn, read *bufio.Reader) *http.Response {
	t.Helper()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Write([]byte("GET / HTTP/1.1\r\nHost: server\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(read, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp
}
