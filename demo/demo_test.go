package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/hauberk-mesh/hauberk/internal/leak"
)

// role makes the test binary play a process of the demo.
const role = "HAUBERK_DEMO_TEST_ROLE"

func TestMain(m *testing.M) {
	switch os.Getenv(role) {
	case "":
		leak.Main(m)
	case "sleeper": // ends at SIGTERM
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, syscall.SIGTERM)
		fmt.Println("asleep", os.Getpid())
		<-stop
	case "stubborn": // does not
		signal.Ignore(syscall.SIGTERM)
		fmt.Println("asleep", os.Getpid())
		select {}
	case "dying":
		fmt.Println("first words")
		fmt.Fprintln(os.Stderr, "the port is taken")
		os.Exit(3)
	case "parent": // has a sleeper, until it is killed
		os.Setenv(role, "sleeper")
		c := newChildren(os.Args[1])
		if _, err := c.start("grandchild", os.Args[0]); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		select {}
	}
}

func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("%s: not within 10 s", what)
}

// asleep is the process id that a sleeper has written to its log, or 0.
func asleep(log string) int {
	text, _ := os.ReadFile(log) // not there yet is not asleep yet
	_, number, _ := strings.Cut(strings.TrimSpace(string(text)), " ")
	n, _ := strconv.Atoi(number)
	return n
}

func alive(pid int) bool {
	// A zombie whose new parent has not looked yet counts as dead.
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(text, []byte(") Z "))
}

func TestChildrenAreStopped(t *testing.T) {
	for _, kind := range []string{"sleeper", "stubborn"} {
		t.Run(kind, func(t *testing.T) {
			if kind == "stubborn" && testing.Short() {
				t.Skip("takes the whole patience")
			}
			t.Setenv(role, kind)
			c := newChildren(t.TempDir())
			var pids []int
			for _, name := range []string{"a", "b"} {
				ch, err := c.start(name, os.Args[0])
				if err != nil {
					t.Fatal(err)
				}
				until(t, "asleep", func() bool { return asleep(ch.log) > 0 })
				pids = append(pids, asleep(ch.log))
				if kind == "stubborn" {
					break
				}
			}
			c.stop()
			for _, pid := range pids {
				if alive(pid) {
					t.Errorf("%d is alive", pid)
				}
			}
			if len(c.died) != 0 {
				t.Error("a child that was stopped counts as dead before its time")
			}
		})
	}
}

func TestEarlyDeathIsTold(t *testing.T) {
	t.Setenv(role, "dying")
	c := newChildren(t.TempDir())
	defer c.stop()
	if _, err := c.start("cart-1-sidecar", os.Args[0]); err != nil {
		t.Fatal(err)
	}
	err := c.eventually(context.Background(), "cart", time.Minute, func(context.Context) error { return io.EOF })
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"cart-1-sidecar ended: exit status 3", "| first words", "| the port is taken"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q does not say %q", err, want)
		}
	}
}

func TestPatienceEnds(t *testing.T) {
	c := newChildren(t.TempDir())
	defer c.stop()
	err := c.eventually(context.Background(), "cart", 30*time.Millisecond, func(context.Context) error { return io.ErrUnexpectedEOF })
	if err == nil || !strings.Contains(err.Error(), "cart: not within 30ms: unexpected EOF") {
		t.Errorf("error %v", err)
	}
}

// However the demo ends, no child is left.
func TestKilledParentTakesItsChildrenAlong(t *testing.T) {
	dir := t.TempDir()
	parent := exec.Command(os.Args[0], dir)
	parent.Env = append(os.Environ(), role+"=parent")
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "grandchild.log")
	until(t, "grandchild", func() bool { return asleep(log) > 0 })
	pid := asleep(log)
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	parent.Wait()
	until(t, "grandchild's end", func() bool { return !alive(pid) })
}

func TestPortsStayReserved(t *testing.T) {
	var p ports
	defer p.release()
	mine := map[int]bool{}
	for range 20 {
		n, err := p.reserve()
		if err != nil || n < 1024 || mine[n] {
			t.Fatal(n, err)
		}
		mine[n] = true
	}
	for range 200 { // by chance nobody gets one
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		if mine[l.Addr().(*net.TCPAddr).Port] {
			t.Fatal("a reserved port was given away")
		}
	}
	for n := range mine { // by name one does
		l, err := net.Listen("tcp", local(n))
		if err != nil {
			t.Fatal(err)
		}
		l.Close()
	}
}

func TestAbandonedDirectories(t *testing.T) {
	parent := t.TempDir()
	running, release, err := makeDir(parent)
	if err != nil {
		t.Fatal(err)
	}
	abandoned, foreign := filepath.Join(parent, dirPrefix+"1"), filepath.Join(parent, dirPrefix+"2")
	for _, dir := range []string{abandoned, foreign} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(abandoned, lockFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	for _, dir := range []string{running, abandoned, foreign} {
		if err := os.Chtimes(dir, old, old); err != nil {
			t.Fatal(err)
		}
	}
	removeAbandoned(parent)
	for dir, want := range map[string]bool{running: true, abandoned: false, foreign: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", filepath.Base(dir), err == nil, want)
		}
	}
	release()
	if _, err := os.Stat(running); err == nil {
		t.Error("release leaves the directory")
	}
}

// The shop without a mesh: services call each other directly.
func TestShop(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var p ports
	defer p.release()
	urls := map[string]*url.URL{}
	for _, name := range []string{frontend, catalog, cart, payments} {
		port, err := p.reserve()
		if err != nil {
			t.Fatal(err)
		}
		urls[name] = &url.URL{Scheme: "http", Host: local(port)}
	}
	ended := make(chan error, len(urls))
	for name, u := range urls {
		go func() {
			ended <- Serve(ctx, ServiceOptions{Service: name, Version: "v2", Listen: u.Host, Upstreams: urls, Logger: slog.New(slog.DiscardHandler)})
		}()
		until(t, name, func() bool { return answers200(u.String()+"/healthz")(ctx) == nil })
	}
	l := newLoad(urls[frontend].String())
	status, page, err := l.get(ctx, "/")
	if err != nil || status != http.StatusOK || page.Got[catalog].Body.Version != "v2" || page.Got[cart].Status != 200 || page.Got[payments].Status != 200 {
		t.Errorf("front page: %d %+v %v", status, page, err)
	}
	if status, page, err = l.get(ctx, "/refunds"); err != nil || status != 200 || page.Got[payments].Status != 200 {
		t.Errorf("refunds: %d %+v %v", status, page, err)
	}
	shopping, stop := context.WithTimeout(ctx, 300*time.Millisecond)
	defer stop()
	l.run(shopping)
	if l.pages == 0 || l.failed != 0 || l.versions["v2"] == 0 {
		t.Errorf("%d pages, %d failed: %s", l.pages, l.failed, l.firstBad)
	}
	http.DefaultClient.CloseIdleConnections()
	cancel()
	for range urls {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

func TestServiceNamesWhatIsMissing(t *testing.T) {
	for service, want := range map[string]string{"bakery": "bakery", cart: "calls catalog", frontend: "calls catalog"} {
		err := Serve(context.Background(), ServiceOptions{Service: service, Listen: "127.0.0.1:0", Logger: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", service, err)
		}
	}
}

func TestSummary(t *testing.T) {
	edges := []edge{
		{Source: "frontend", Destination: "payments", SourceID: "spiffe://m/f", DestinationID: "spiffe://m/p", TLSVersion: "TLSv1.3", Requests: 40, Denied: 2, P50: 1.25, P99: 9},
		{Source: "", Destination: "payments", DestinationID: "spiffe://m/p", Requests: 5},
	}
	var r refusal
	if err := json.Unmarshal([]byte(`{"verdict":"deny","rule":"default-deny","identity":"spiffe://m/f","observed":[
		{"side":"source","status":403},
		{"side":"destination","status":403,"reason":"permission_denied","requestId":"r-1","rule":"MeshTrafficPermission/p#rules[0].deny[0]","sourceID":"spiffe://m/f"}]}`), &r); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	s := summary{out: &out, command: "hauberk", dataDir: "/tmp/d"}
	s.print(betweenSidecars(edges), r, &load{pages: 9, failed: 1, firstBad: "Bad Gateway", versions: map[string]int{"v1": 4, "v2": 4}}, 10*time.Second)
	want := `
40 requests between sidecars in 10s: 0 errors, 2 refused by policy.

SOURCE     DESTINATION   REQUESTS   ERRORS   DENIED   P50      P99      TLS
frontend   payments      40         0        2        1.2 ms   9.0 ms   TLSv1.3

Identities that the handshakes proved:
  frontend   spiffe://m/f
  payments   spiffe://m/p

Refused by policy:
  call       frontend -> payments  GET /admin/refunds
  answer     403 permission_denied, request id r-1
  identity   spiffe://m/f
  rule       MeshTrafficPermission/p#rules[0].deny[0]

The shopper saw 9 pages, 1 of them incomplete; the catalog on them was v1 4 times, v2 4 times.
The first that was incomplete: Bad Gateway

Try next, in another terminal:
  hauberk edges --data-dir /tmp/d
  hauberk why frontend payments --path /admin/refunds --data-dir /tmp/d
  hauberk status --data-dir /tmp/d

Ctrl-C ends the demo and leaves nothing behind.
`
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
}

func TestFacts(t *testing.T) {
	b, err := json.Marshal(factsOf([]edge{{Source: "a", Destination: "b", SourceID: "x", DestinationID: "y", TLSVersion: "TLSv1.3", Requests: 3, Errors: 1, Denied: 1, P50: 1, P99: 2}}))
	want := `{"requests":3,"errors":1,"denied":1,"edges":[{"source":"a","destination":"b","sourceID":"x","destinationID":"y","tlsVersion":"TLSv1.3","requests":3,"p50ms":1,"p99ms":2}]}`
	if err != nil || string(b) != want {
		t.Errorf("%s, %v", b, err)
	}
}
