package interop

import (
	"bytes"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/cli"
)

// asProgram makes this test binary be the hauberk program.
const asProgram = "HAUBERK_INTEROP_AS_PROGRAM"

// asHauberk runs the program and ends, if this process is to be it.
func asHauberk() {
	if os.Getenv(asProgram) != "" {
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	}
}

// side is one of the two proxies that run the same file: Envoy, or ours.
type side struct {
	t         *testing.T
	name      string
	listeners map[string]string // name -> host:port
	log       string            // path of the access log
}

// startEnvoy runs Envoy on a file until the test ends. It skips the test where there is none.
func startEnvoy(t *testing.T, text string) *side {
	t.Helper()
	program, err := exec.LookPath("envoy")
	if err != nil {
		t.Skip("no envoy on PATH")
	}
	dir := t.TempDir()
	s := &side{t: t, name: "envoy", log: filepath.Join(dir, "access.log")}
	file, admin := s.write(dir, text), filepath.Join(dir, "admin")
	cmd := exec.Command(program, "-c", file, "--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "--file-flush-interval-msec", "50", "--admin-address-path", admin)
	s.start(cmd, func(string) string {
		addr, _ := os.ReadFile(admin)
		return string(addr)
	}, func(body string) map[string]string {
		out := map[string]string{}
		for line := range strings.Lines(body) {
			if name, addr, ok := strings.Cut(strings.TrimSpace(line), "::"); ok {
				out[name] = addr
			}
		}
		return out
	})
	return s
}

var adminLine = regexp.MustCompile(`msg="admin port" address=(\S+)`)

// startHauberk runs ours on the same file.
func startHauberk(t *testing.T, text string) *side {
	t.Helper()
	dir := t.TempDir()
	s := &side{t: t, name: "hauberk", log: filepath.Join(dir, "access.log")}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, "proxy", "run", "--config", s.write(dir, text))
	cmd.Env = append(os.Environ(), asProgram+"=1")
	s.start(cmd, func(log string) string {
		if m := adminLine.FindStringSubmatch(log); m != nil {
			return m[1]
		}
		return ""
	}, func(body string) map[string]string {
		var list []struct{ Name, Address string }
		out := map[string]string{}
		if json.Unmarshal([]byte(body), &list) == nil {
			for _, l := range list {
				out[l.Name] = l.Address
			}
		}
		return out
	})
	return s
}

func (s *side) write(dir, text string) string {
	file := filepath.Join(dir, "envoy.yaml")
	text = "admin: {address: {socket_address: {address: 127.0.0.1, port_value: 0}}}\n" + strings.ReplaceAll(text, "LOGFILE", s.log)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		s.t.Fatal(err)
	}
	return file
}

// start runs a program, and asks its admin port where it listens as soon as it is ready.
func (s *side) start(cmd *exec.Cmd, admin func(log string) string, read func(body string) map[string]string) {
	s.t.Helper()
	log := &lockedBuffer{}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	s.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(patience):
			_ = cmd.Process.Kill()
			<-ended
		}
		if s.t.Failed() {
			s.t.Logf("log of %s:\n%s", s.name, log.String())
		}
	})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: time.Second}
	poll := time.NewTicker(10 * time.Millisecond) // another program: there is nothing to wait on
	defer poll.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		select {
		case <-ended:
			s.t.Fatalf("%s has ended:\n%s", s.name, log.String())
		case <-poll.C:
		}
		addr := admin(log.String())
		if addr == "" {
			continue
		}
		if status, _ := fetch(client, "http://"+addr+"/ready"); status != http.StatusOK {
			continue
		}
		_, body := fetch(client, "http://"+addr+"/listeners")
		s.listeners = read(body)
		return
	}
	s.t.Fatalf("%s was not ready within %v:\n%s", s.name, patience, log.String())
}

func fetch(c *http.Client, url string) (int, string) {
	r, err := c.Get(url)
	if err != nil {
		return 0, ""
	}
	defer r.Body.Close()
	var body bytes.Buffer
	_, _ = body.ReadFrom(r.Body)
	return r.StatusCode, body.String()
}

// dial connects to a listener by its name.
func (s *side) dial(listener string) net.Conn {
	s.t.Helper()
	addr := s.listeners[listener]
	if addr == "" {
		s.t.Fatalf("%s: no listener %q in %v", s.name, listener, s.listeners)
	}
	c, err := net.Dial("tcp", addr)
	if err != nil {
		s.t.Fatalf("%s: %v", s.name, err)
	}
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.Close() })
	return c
}

type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
