package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ground is where topologies are built: a directory with certificates, and this program, which is client and backend too.
type ground struct {
	self, dir string
	progress  io.Writer
}

func newGround(progress io.Writer) (*ground, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	return &ground{self, dir, progress}, writeCertificates(dir)
}

func (g *ground) clear() { _ = os.RemoveAll(g.dir) }

func (g *ground) file(name string) string { return filepath.Join(g.dir, name) }

// errNotForPeer: there is nothing to measure, such as the idle memory of no proxy.
var errNotForPeer = errors.New("not for this peer")

// topology is a running chain, built from the backend to the client.
type topology struct {
	g                        *ground
	w                        workload
	backend, ingress, egress *process // without proxies only the first
	entry                    string   // where the client connects
	ready                    time.Duration
}

func (g *ground) build(w workload, p peer) (t *topology, err error) {
	t = &topology{g: g, w: w}
	defer func() {
		if err != nil {
			t.stop()
		}
	}()
	if t.entry, err = freeAddress(); err != nil {
		return nil, err
	}
	protocol := "http1"
	if w.h2() {
		protocol = "grpc"
	}
	if t.backend, err = g.start([]string{g.self, "backend", "-protocol", protocol, "-listen", t.entry}, []string{asBench}, w.core(1)); err != nil {
		return t, err
	}
	if err := t.backend.listens(t.entry); err != nil || p.config == "" {
		return t, err
	}
	if w.gateway != "" {
		t.ingress, err = t.sidecar(p, role{Ingress: true, Certified: w.mutual, Kind: w.gateway})
		return t, err
	}
	began := time.Now()
	if t.ingress, err = t.sidecar(p, role{Ingress: true, Certified: true, Kind: ec}); err != nil {
		return t, err
	}
	if !w.h2() {
		if err := g.answersTLS(t.entry); err != nil {
			return t, fmt.Errorf("%w; its log ends: %s", err, t.ingress.logTail())
		}
		t.ready = time.Since(began)
	}
	t.egress, err = t.sidecar(p, role{Egress: true, Kind: ec})
	return t, err
}

// sidecar puts one more proxy in front of the chain.
func (t *topology) sidecar(p peer, r role) (_ *process, err error) {
	r.Upstream, r.H2, r.MeshH2, r.Threads = t.entry, t.w.h2(), p.mesh == "h2" && t.w.gateway == "", t.w.threads()
	r.Cert, r.Key, r.Both, r.CA = t.g.file(r.Kind+".crt"), t.g.file(r.Kind+".key"), t.g.file(r.Kind+".pem"), t.g.file("ca.crt")
	if r.Listen, err = freeAddress(); err != nil {
		return nil, err
	}
	if r.Dir, err = os.MkdirTemp(t.g.dir, p.name); err != nil {
		return nil, err
	}
	line, err := p.command(r)
	if err != nil {
		return nil, err
	}
	proxy, err := t.g.start(line, append(p.env, fmt.Sprint("GOMAXPROCS=", r.Threads)), t.w.core(0))
	if err != nil {
		return nil, err
	}
	t.entry, proxy.listen = r.Listen, r.Listen
	return proxy, proxy.listens(r.Listen)
}

func (t *topology) proxies() []*process {
	return slices.DeleteFunc([]*process{t.ingress, t.egress}, func(p *process) bool { return p == nil })
}

func (t *topology) stop() {
	var stopping sync.WaitGroup
	for _, p := range []*process{t.egress, t.ingress, t.backend} {
		if p != nil {
			stopping.Go(p.stop) // one that drains would have the others wait
		}
	}
	stopping.Wait()
}

// client starts the load generator against address. It says one line when it begins to measure, and one with the result.
func (t *topology) client(address string, args ...string) (*process, error) {
	line := slices.Concat([]string{t.g.self, "load", "-addr", address, "-dir", t.g.dir}, t.w.arguments(), args) // the last word counts
	return t.g.start(line, []string{asBench}, t.w.core(1))
}

// process is a program that was started, with its children.
type process struct {
	cmd    *exec.Cmd
	lines  *bufio.Scanner // its output
	log    string
	listen string // where a proxy accepts
}

// asBench in the environment makes the binary of the tests be this program.
const asBench = "HAUBERK_BENCH_AS_PROGRAM=1"

// start runs a program in a process group of its own, bound to a core if that is not negative.
func (g *ground) start(line, env []string, core int) (*process, error) {
	log, err := os.CreateTemp(g.dir, "log")
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(line[0], line[1:]...)
	cmd.Env, cmd.Dir, cmd.Stderr = append(os.Environ(), env...), g.dir, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	// The child's parent is this thread: it must not end before the child (Pdeathsig), and lends it its core.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if core >= 0 {
		var all, one unix.CPUSet
		if err := unix.SchedGetaffinity(0, &all); err != nil {
			return nil, err
		}
		one.Set(core)
		if err := unix.SchedSetaffinity(0, &one); err != nil {
			return nil, fmt.Errorf("core %d: %w", core, err)
		}
		defer func() { _ = unix.SchedSetaffinity(0, &all) }()
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &process{cmd: cmd, lines: bufio.NewScanner(out), log: log.Name()}, nil
}

// stop ends the process group, gently and then not.
func (p *process) stop() {
	_ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGTERM)
	hard := time.AfterFunc(time.Second, func() { _ = syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL) })
	defer hard.Stop()
	_ = p.cmd.Wait()
}

// line waits for the process's next line.
func (p *process) line() ([]byte, error) {
	if p.lines.Scan() {
		return p.lines.Bytes(), nil
	}
	return nil, fmt.Errorf("it ended: %s", p.logTail())
}

// result reads the load generator's last line.
func (p *process) result() (metrics, error) {
	line, err := p.line()
	if err != nil {
		return nil, err
	}
	m := metrics{}
	return m, json.Unmarshal(line, &m)
}

func (p *process) logTail() string {
	b, _ := os.ReadFile(p.log)
	return strings.TrimSpace(string(b[max(0, len(b)-500):]))
}

// patience is for programs to start in.
const patience = 10 * time.Second

// listens waits until somebody accepts at address. It polls: a program of somebody else says nothing when it is ready.
func (p *process) listens(address string) error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if c, err := net.Dial("tcp", address); err == nil {
			return c.Close()
		}
	}
	return fmt.Errorf("nothing listens on %s; the log ends: %s", address, p.logTail())
}

// answersTLS waits until address answers a request over mutual TLS.
func (g *ground) answersTLS(address string) error {
	config, closing, err := clientTLS(g.dir, ec, true)
	if err != nil {
		return err
	}
	defer closing()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		c, err2 := dialHTTP(0, address, "/", config)
		if err2 == nil {
			_, err2 = c.get()
			_ = c.Close()
		}
		if err = err2; err == nil {
			return nil
		}
	}
	return fmt.Errorf("no answer over TLS from %s: %w", address, err)
}

func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return l.Addr().String(), l.Close()
}
