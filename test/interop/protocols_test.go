package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/netip"
	"net/smtp"
	"net/textproto"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/listener"
	"github.com/hauberk-mesh/hauberk/dataplane/tcp"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/dataplane/upstream"
)

// Protocols in which the server speaks first, or both are silent for long, through plain -> mutual TLS -> plain: nothing waits
// for a client that waits.

type unrecorded struct{}

func (unrecorded) Record(*telemetry.Record) {}
func (unrecorded) Opened(*telemetry.Record) {}

// opaquePair runs the two sidecars in front of a server, and returns where its clients connect.
func opaquePair(t *testing.T, server upstream.EndpointSpec, idle time.Duration) string {
	t.Helper()
	dir := t.TempDir()
	certificates(t, dir)
	leaf, err := tls.LoadX509KeyPair(filepath.Join(dir, "leaf.crt"), filepath.Join(dir, "leaf.key"))
	if err != nil {
		t.Fatal(err)
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(ca)
	in := &tls.Config{Certificates: []tls.Certificate{leaf}, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13}
	out := &tls.Config{Certificates: []tls.Certificate{leaf}, RootCAs: pool, ServerName: "localhost", MinVersion: tls.VersionTLS13}

	ingress := opaqueHop(t, upstream.Spec{Name: "app", Endpoints: []upstream.EndpointSpec{server}}, idle, in)
	middle := upstream.EndpointSpec{Addr: ingress.Addr()}
	egress := opaqueHop(t, upstream.Spec{Name: "peer", Endpoints: []upstream.EndpointSpec{middle}, TLS: &upstream.TLS{Config: out, Key: "k"}}, idle, nil)
	return egress.Addr().String()
}

// opaqueHop is one of them. The ingress is permissive, as MeshTLS calls it: it has to find out which of its chains is meant.
func opaqueHop(t *testing.T, to upstream.Spec, idle time.Duration, secure *tls.Config) *listener.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cluster := upstream.Build(nil, to, upstream.Deps{})
	proxy := &tcp.Spec{Cluster: cluster, IdleTimeout: idle}
	spec := &listener.Spec{Name: to.Name, Chains: []*listener.Chain{{TCP: proxy, Match: listener.Match{Transport: listener.RawBuffer}}}}
	if secure != nil {
		spec.Sniff, spec.SniffTimeout, spec.PlaintextOnSniffIdle = true, 100*time.Millisecond, true
		spec.Chains = append(spec.Chains, &listener.Chain{TCP: proxy, TLS: secure, Match: listener.Match{Transport: listener.TLS}})
	}
	served := listener.New(listener.Options{Name: to.Name, Listener: l, Source: func() *listener.Spec { return spec }, Recorder: unrecorded{}})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = served.Serve(ctx) }()
	t.Cleanup(func() { cancel(); <-ended; cluster.Release() })
	return served
}

// program finds a server of Debian's, or skips.
func program(t *testing.T, name, pkg string) string {
	t.Helper()
	for _, at := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(at); err == nil {
			return path
		}
	}
	t.Skipf("%s is not here (Debian: apt-get install %s)", name, pkg)
	return ""
}

// daemon runs a server until the test ends, and waits for its Unix socket.
func daemon(t *testing.T, socket string, cmd *exec.Cmd) {
	t.Helper()
	log := &logBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		<-ended
		if t.Failed() {
			t.Logf("--- log of %s\n%s", cmd.Path, log)
		}
	})
	awaitReady(t, socket, func() bool {
		c, err := net.Dial("unix", socket)
		if err == nil {
			_ = c.Close()
		}
		return err == nil
	}, ended)
}

func dialText(t *testing.T, addr string) *textproto.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	text := textproto.NewConn(c)
	t.Cleanup(func() { _ = text.Close() })
	return text
}

func TestMySQL(t *testing.T) {
	server, install := program(t, "mariadbd", "mariadb-server"), program(t, "mariadb-install-db", "mariadb-server")
	client := program(t, "mariadb", "mariadb-client")
	dir := t.TempDir()
	data, socket := filepath.Join(dir, "data"), filepath.Join(dir, "s")
	if out, err := exec.Command(install, "--no-defaults", "--user=root", "--datadir="+data, "--auth-root-authentication-method=normal",
		"--skip-test-db", "--skip-name-resolve").CombinedOutput(); err != nil {
		t.Skipf("no database can be made here: %v\n%s", err, out)
	}
	daemon(t, socket, exec.Command(server, "--no-defaults", "--user=root", "--datadir="+data, "--socket="+socket, "--skip-networking",
		"--pid-file="+filepath.Join(dir, "pid"), "--innodb-buffer-pool-size=8M", "--skip-log-bin"))
	_, port, _ := net.SplitHostPort(opaquePair(t, upstream.EndpointSpec{Unix: socket}, time.Minute))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, client, "--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "--port="+port, "--user=root", "--skip-ssl",
		"--batch", "--skip-column-names", "--execute=SELECT 6*7, REPEAT('x', 3)").CombinedOutput()
	if err != nil || string(out) != "42\txxx\n" {
		t.Errorf("%q %v", out, err)
	}
}

func TestFTP(t *testing.T) {
	server := program(t, "vsftpd", "vsftpd")
	if os.Getuid() != 0 {
		t.Skip("vsftpd gives up rights that only root has")
	}
	dir := t.TempDir()
	conf := filepath.Join(dir, "vsftpd.conf")
	if err := os.WriteFile(conf, []byte("listen=NO\nlisten_ipv6=NO\nanonymous_enable=YES\nseccomp_sandbox=NO\nsecure_chroot_dir="+dir+
		"\nxferlog_enable=NO\nbackground=NO\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := opaquePair(t, upstream.EndpointSpec{Addr: eachConnection(t, func(c *net.TCPConn) {
		f, err := c.File() // as inetd hands it over
		if err != nil {
			return
		}
		defer f.Close()
		cmd := exec.Command(server, conf)
		cmd.Stdin, cmd.Stdout = f, f
		_ = cmd.Run()
	})}, time.Minute)
	c := dialText(t, addr)
	if _, greeting, err := c.ReadResponse(220); err != nil {
		t.Fatalf("%q %v", greeting, err)
	}
	for _, step := range []struct {
		send string
		code int
	}{{"USER anonymous", 331}, {"QUIT", 221}} {
		if err := c.PrintfLine("%s", step.send); err != nil {
			t.Fatal(err)
		}
		if _, answer, err := c.ReadResponse(step.code); err != nil {
			t.Errorf("%s: %q %v", step.send, answer, err)
		}
	}
}

// eachConnection serves on a port of its own, until the test ends.
func eachConnection(t *testing.T, do func(*net.TCPConn)) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer c.Close()
				do(c.(*net.TCPConn))
			})
		}
	})
	t.Cleanup(func() { _ = l.Close(); running.Wait() })
	return netip.MustParseAddrPort(l.Addr().String())
}

func TestSMTP(t *testing.T) {
	got := make(chan string, 1)
	addr := opaquePair(t, upstream.EndpointSpec{Addr: eachConnection(t, func(c *net.TCPConn) { got <- receiveMail(c) })}, time.Minute)
	const mail = "Subject: hello\r\n\r\nThrough two proxies.\r\n.hidden dot\r\n"
	if err := smtp.SendMail(addr, nil, "a@a.example", []string{"b@b.example"}, []byte(mail)); err != nil {
		t.Fatal(err)
	}
	if body := <-got; body != strings.ReplaceAll(mail, "\r\n", "\n") {
		t.Errorf("%q", body)
	}
}

// receiveMail is a mail server that speaks first and takes one mail (RFC 5321).
func receiveMail(c net.Conn) (body string) {
	text := textproto.NewConn(c)
	defer text.Close()
	_ = text.PrintfLine("220 mail.example ESMTP")
	for {
		line, err := text.ReadLine()
		if err != nil {
			return body
		}
		switch verb, _, _ := strings.Cut(strings.ToUpper(line), " "); verb {
		case "EHLO":
			_ = text.PrintfLine("250-mail.example\r\n250 8BITMIME")
		case "DATA":
			_ = text.PrintfLine("354 go on")
			b, _ := text.ReadDotBytes()
			body = string(b)
			_ = text.PrintfLine("250 taken")
		case "QUIT":
			_ = text.PrintfLine("221 bye")
			return body
		default:
			_ = text.PrintfLine("250 fine")
		}
	}
}

// A subscriber hears nothing for long, and that is no reason to end it before the idle timeout is over.
func TestRedisPubSub(t *testing.T) {
	server := program(t, "redis-server", "redis-server")
	dir := t.TempDir()
	socket := filepath.Join(dir, "s")
	daemon(t, socket, exec.Command(server, "--port", "0", "--unixsocket", socket, "--dir", dir, "--save", "", "--appendonly", "no", "--timeout", "0"))
	const idle = 1500 * time.Millisecond
	addr := opaquePair(t, upstream.EndpointSpec{Unix: socket}, idle)
	subscriber, publisher := dialText(t, addr), dialText(t, addr)
	send(t, subscriber, "SUBSCRIBE", "news")
	expect(t, subscriber, "*3\r\n$9\r\nsubscribe\r\n$4\r\nnews\r\n:1\r\n")
	began := time.Now()
	for time.Since(began) < idle/2 { // the publisher keeps its own connection busy, and the subscriber's is silent
		send(t, publisher, "PING")
		expect(t, publisher, "+PONG\r\n")
	}
	send(t, publisher, "PUBLISH", "news", "hello")
	expect(t, publisher, ":1\r\n")
	expect(t, subscriber, "*3\r\n$7\r\nmessage\r\n$4\r\nnews\r\n$5\r\nhello\r\n")
	quiet := time.Now()
	if b, err := subscriber.R.ReadByte(); err == nil || time.Since(quiet) < idle-50*time.Millisecond {
		t.Errorf("read %q, %v after %s of silence; the idle timeout is %s", b, err, time.Since(quiet), idle)
	}
}

// send writes a command as redis reads them.
func send(t *testing.T, c *textproto.Conn, words ...string) {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	_, _ = c.W.Write(b.Bytes())
	if err := c.W.Flush(); err != nil {
		t.Fatal(err)
	}
}

func expect(t *testing.T, c *textproto.Conn, want string) {
	t.Helper()
	b := make([]byte, len(want))
	if _, err := io.ReadFull(c.R, b); err != nil || string(b) != want {
		t.Fatalf("%q %v, want %q", b, err, want)
	}
}
