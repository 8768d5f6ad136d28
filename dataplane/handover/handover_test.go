package handover

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/internal/leak"
)

// asSuccessor makes this test binary be the new process; its value says how that one behaves.
const asSuccessor = "HAUBERK_TEST_SUCCESSOR"

func TestMain(m *testing.M) {
	if how := os.Getenv(asSuccessor); how != "" {
		os.Exit(successor(how))
	}
	leak.Main(m)
}

// successor is the new process: it answers each connection with its own process id, and ends with the one that says "end".
func successor(how string) int {
	sockets, before, err := Inherit(os.Getenv)
	if err != nil || before == nil {
		return 3
	}
	switch how {
	case "silent exit":
		return 7
	case "failed":
		before.Failed(errors.New("no\nluck"))
		return 1
	}
	network, addr, _ := strings.Cut(os.Getenv("TEST_LISTEN"), " ")
	l, err := sockets.Listen(context.Background(), network, addr)
	if err != nil {
		return 4
	}
	var rounds atomic.Int64
	unready := func() []string {
		if how == "never ready" || how == "ready later" && rounds.Add(1) < 3 {
			return []string{"still " + before.Instance}
		}
		return nil
	}
	if how == "dies when ready" {
		_, _ = before.control.Write(line(wordReady, ""))
		return 9
	}
	if err := before.TakeOver(context.Background(), "v2", unready); err != nil {
		return 5
	}
	sockets.Begin()
	return serve(l)
}

func serve(l net.Listener) int {
	for {
		c, err := l.Accept()
		if err != nil {
			return 6
		}
		fmt.Fprintln(c, os.Getpid())
		text, _ := bufio.NewReader(c).ReadString('\n')
		_ = c.Close()
		if text == "end\n" {
			return 0
		}
	}
}

func options(t *testing.T, s *Sockets, how, listen string) Options {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Program: program, Environ: append(os.Environ(), asSuccessor+"="+how, "TEST_LISTEN="+listen, Variable+"=stale"),
		Stderr: os.Stderr, Sockets: s, Instance: "i-1", Patience: 20 * time.Second,
	}
}

func listen(t *testing.T, s *Sockets, network, addr string) net.Listener {
	t.Helper()
	l, err := s.Listen(t.Context(), network, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// ask connects and returns who has answered.
func ask(t *testing.T, a net.Addr, say string) int {
	t.Helper()
	c, err := net.Dial(a.Network(), a.String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(20 * time.Second))
	text, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(c, say)
	pid, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, c)
	return pid
}

// TestSocketsGoOver: a connection that was made before anybody but the kernel knew of it, and one after, are answered by
// the new process; TCP with a port that only the first bind knows, and a Unix socket's file.
func TestSocketsGoOver(t *testing.T) {
	for _, at := range []string{"tcp 127.0.0.1:0", "unix " + filepath.Join(t.TempDir(), "s")} {
		t.Run(at, func(t *testing.T) {
			network, addr, _ := strings.Cut(at, " ")
			s := NewSockets()
			s.Begin()
			l := listen(t, s, network, addr)
			next, err := Start(t.Context(), options(t, s, "ready later", at))
			if err != nil {
				t.Fatal(err)
			}
			if next.Version != "v2" {
				t.Errorf("version %q", next.Version)
			}
			queued, err := net.Dial(l.Addr().Network(), l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer queued.Close()
			if err := next.Go(); err != nil {
				t.Fatal(err)
			}
			s.Release()
			if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
				t.Errorf("the old process still accepts: %v", err)
			}
			_ = queued.SetDeadline(time.Now().Add(20 * time.Second))
			if text, err := bufio.NewReader(queued).ReadString('\n'); err != nil || text != strconv.Itoa(next.PID())+"\n" {
				t.Errorf("the queued connection got %q, %v; the new process is %d", text, err, next.PID())
			}
			_ = queued.Close()
			if pid := ask(t, l.Addr(), "end"); pid != next.PID() {
				t.Errorf("process %d answered, want %d", pid, next.PID())
			}
			<-next.ended
		})
	}
}

// TestFailedSuccessor: each way to fail gives its reason, leaves no process, and the old one accepts on as before. (With
// os/exec and net's File it would not: its socket would be a blocking one then.)
func TestFailedSuccessor(t *testing.T) {
	for how, want := range map[string]string{
		"silent exit":     "ended before it was ready (exit status 7): its log has the reason",
		"failed":          "ended before it was ready (exit status 1): no luck",
		"never ready":     "was not ready within 300ms: still i-1",
		"dies when ready": "was ready, but does not listen any more",
	} {
		t.Run(how, func(t *testing.T) {
			s := NewSockets()
			s.Begin()
			l := listen(t, s, "tcp", "127.0.0.1:0")
			o := options(t, s, how, "tcp 127.0.0.1:0")
			if how == "never ready" {
				o.Patience = 300 * time.Millisecond
			}
			next, err := Start(t.Context(), o)
			if how == "dies when ready" && err == nil {
				<-next.ended
				err = next.Go()
			}
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("error %v, want %q", err, want)
			}
			if next != nil {
				if err := syscall.Kill(next.PID(), 0); !errors.Is(err, syscall.ESRCH) {
					t.Errorf("process %d: %v, want none", next.PID(), err)
				}
			}
			go serve(l)
			if pid := ask(t, l.Addr(), "end"); pid != os.Getpid() {
				t.Errorf("process %d answered, want this one", pid)
			}
			if flags, err := nonblocking(l); err != nil || !flags {
				t.Errorf("the old process' socket is blocking now: %v", err)
			}
		})
	}
}

func nonblocking(l net.Listener) (bool, error) {
	raw, err := l.(*socket).Listener.(*net.TCPListener).SyscallConn()
	if err != nil {
		return false, err
	}
	var flags uintptr
	err = raw.Control(func(fd uintptr) { flags, _, _ = syscall.Syscall(syscall.SYS_FCNTL, fd, syscall.F_GETFL, 0) })
	return flags&syscall.O_NONBLOCK != 0, err
}

// TestGivenUp: a caller that ends gives the new process up.
func TestGivenUp(t *testing.T) {
	s := NewSockets()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("it drains"))
	_, err := Start(ctx, options(t, s, "never ready", "tcp 127.0.0.1:0"))
	if err == nil || !strings.Contains(err.Error(), "given up: it drains") {
		t.Fatal(err)
	}
}

func TestProgramThatIsNone(t *testing.T) {
	_, err := Start(t.Context(), Options{Program: filepath.Join(t.TempDir(), "none"), Sockets: NewSockets()})
	if err == nil || !strings.Contains(err.Error(), "no such file") {
		t.Fatal(err)
	}
}

// TestPredecessorDies: a process whose predecessor is gone waits neither for its word nor for readiness.
func TestPredecessorDies(t *testing.T) {
	for _, said := range []string{"", wordGo + "\n"} {
		ours, theirs, err := pair()
		if err != nil {
			t.Fatal(err)
		}
		sockets, before, err := Inherit(func(string) string {
			return fmt.Sprintf(`{"format":1,"control":%d,"sockets":[]}`, detach(t, theirs))
		})
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(ours, said)
		_ = ours.Close()
		if err := before.TakeOver(t.Context(), "v2", func() []string { return []string{"never"} }); err != nil {
			t.Errorf("after %q: %v", said, err)
		}
		sockets.Begin()
	}
}

// detach makes a descriptor that only its number knows, as exec does.
func detach(t *testing.T, f *os.File) int {
	t.Helper()
	fd, err := dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Close()
	return fd
}

// TestStopsBeforeItTookOver: a process that is asked to end says so, and the old one hears it.
func TestStopsBeforeItTookOver(t *testing.T) {
	ours, theirs, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	defer ours.Close()
	_, before, err := Inherit(func(string) string { return fmt.Sprintf(`{"format":1,"control":%d}`, detach(t, theirs)) })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := before.TakeOver(ctx, "v2", func() []string { return nil }); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	before.Failed(errors.New("asked to stop"))
	said, err := io.ReadAll(ours)
	if err != nil || string(said) != "ready v2\nfailed asked to stop\n" {
		t.Errorf("said %q, %v", said, err)
	}
}

// TestInheritedSocketsWait: what was inherited accepts from Begin on, what was not asked for is closed then, and Close ends
// the wait.
func TestInheritedSocketsWait(t *testing.T) {
	used, unused, closed := bound(t), bound(t), bound(t)
	s := NewSockets()
	err := s.adopt([]legacy{
		{Network: "tcp", Address: "a:1", FD: detachListener(t, used)},
		{Network: "tcp", Address: "b:1", FD: detachListener(t, unused)},
		{Network: "tcp", Address: "c:1", FD: detachListener(t, closed)},
	})
	if err != nil {
		t.Fatal(err)
	}
	l, c := listen(t, s, "tcp", "a:1"), listen(t, s, "tcp", "c:1")
	refused := make(chan error)
	go func() {
		_, err := c.Accept()
		refused <- err
	}()
	_ = c.Close()
	if err := <-refused; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept on a closed socket that waits: %v", err)
	}
	pid := make(chan int)
	go func() { pid <- ask(t, l.Addr(), "end") }()
	go serve(l)
	select {
	case <-pid:
		t.Error("a connection was accepted before Begin")
	case <-time.After(50 * time.Millisecond): // that nothing happens can only be waited for
	}
	s.Begin()
	if got := <-pid; got != os.Getpid() {
		t.Error("not this process")
	}
	if c, err := net.Dial("tcp", unused.Addr().String()); err == nil {
		_ = c.Close()
		t.Error("a socket that nobody asked for is still open")
	}
}

func bound(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l.(*net.TCPListener)
}

func detachListener(t *testing.T, l *net.TCPListener) int {
	t.Helper()
	f, err := duplicate(l)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	return detach(t, f)
}

func TestLetterIsRefused(t *testing.T) {
	file, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		`x`:                                 "it is set by a proxy that hands over",
		`{"format":1,"control":3,"more":1}`: `unknown field "more"`,
		`{"format":2,"control":3}`:          "has format 2, and this program knows 1",
		`{"format":1,"control":0}`:          "below 3",
		`{"format":1,"control":9999}`:       "control socket, file descriptor 9999",
		`{"format":1,"control":5,"sockets":[{"network":"tcp","address":"a","fd":5}]}`: "given twice",
		fmt.Sprintf(`{"format":1,"control":%d}`, detach(t, file)):                     "control socket",
	} {
		_, _, err := Inherit(func(string) string { return text })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestSocketThatDoesNotListen: a descriptor of something else is refused by name.
func TestSocketThatDoesNotListen(t *testing.T) {
	_, theirs, err := pair()
	if err != nil {
		t.Fatal(err)
	}
	err = NewSockets().adopt([]legacy{{Network: "tcp", Address: "127.0.0.1:80", FD: detach(t, theirs)}})
	if err == nil || !strings.Contains(err.Error(), "socket of tcp 127.0.0.1:80") || !strings.Contains(err.Error(), "does not listen") {
		t.Error(err)
	}
}

// memory is a listener that is no socket.
type memory struct{ net.Listener }

func TestSocketThatCannotGoOver(t *testing.T) {
	s := NewSockets()
	s.bind = func(context.Context, string, string) (net.Listener, error) { return memory{bound(t)}, nil }
	l := listen(t, s, "tcp", "127.0.0.1:1")
	_, err := Start(t.Context(), Options{Program: "/bin/false", Sockets: s})
	if err == nil || !strings.Contains(err.Error(), "cannot be handed over") {
		t.Error(err)
	}
	_ = l.Close()
	s.Release()
	if _, err := Start(t.Context(), Options{Program: "/bin/false", Sockets: s}); err == nil || !strings.Contains(err.Error(), "handed over already") {
		t.Error(err)
	}
}

// TestSupervisor: systemd is told in datagrams, and a pid file is removed by nobody but the process that it names.
func TestSupervisor(t *testing.T) {
	dir := t.TempDir()
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	s := Supervisor{Socket: filepath.Join(dir, "notify"), PIDFile: filepath.Join(dir, "pid")}
	var got []string
	for _, tell := range []func() error{s.Ready, func() error { return s.Successor(17) }, s.Stopping} {
		if err := tell(); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, 256)
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, string(b[:n]))
	}
	if want := []string{fmt.Sprintf("READY=1\nMAINPID=%d", os.Getpid()), "MAINPID=17", "STOPPING=1"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	if err := (Supervisor{}).Ready(); err != nil {
		t.Error(err)
	}
	if err := s.WritePID(); err != nil {
		t.Fatal(err)
	}
	if text, _ := os.ReadFile(s.PIDFile); string(text) != fmt.Sprintln(os.Getpid()) {
		t.Errorf("pid file holds %q", text)
	}
	if err := os.WriteFile(s.PIDFile, []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := s.RemovePID(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.PIDFile); err != nil {
		t.Error("the pid file of another process was removed")
	}
	_ = s.WritePID()
	if err := s.RemovePID(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(s.PIDFile); err == nil {
		t.Error("the pid file was left")
	}
}

func FuzzReadLetter(f *testing.F) {
	f.Add(`{"format":1,"control":3,"instance":"i","sockets":[{"network":"tcp","address":"127.0.0.1:0","fd":4}]}`)
	f.Add(`{"format":1,"control":3,"sockets":[{"fd":3}]}`)
	f.Add(`{"format":-1}`)
	f.Fuzz(func(t *testing.T, text string) {
		l, err := readLetter(text)
		if err != nil {
			return
		}
		env, err := l.environ([]string{"A=1", Variable + "=x"})
		if err != nil || len(env) != 2 {
			t.Fatal(env, err)
		}
		again, err := readLetter(strings.TrimPrefix(env[1], Variable+"="))
		if err != nil || again.Control != l.Control || len(again.Sockets) != len(l.Sockets) {
			t.Fatalf("%+v read again: %+v, %v", l, again, err)
		}
	})
}
