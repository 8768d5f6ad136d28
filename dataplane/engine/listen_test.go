package engine

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hauberk-mesh/hauberk/dataplane/listener"
)

// TestListenUnix: a socket that a process left behind is replaced, one on which somebody listens is not, and neither is a file.
func TestListenUnix(t *testing.T) {
	e := New(Options{})
	e.Start(t.Context())
	defer e.Stop()
	spec := &listener.Spec{Name: "s", Unix: filepath.Join(t.TempDir(), "s.sock"), UnixMode: 0o600, Backlog: 7}
	first, err := e.listen(spec)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(spec.Unix); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
	if _, err := e.listen(spec); err == nil {
		t.Error("took the socket from one that listens")
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = first.Close()
	second, err := e.listen(spec)
	if err != nil {
		t.Fatalf("a socket that was left behind: %v", err)
	}
	_ = second.Close()
	if err := os.WriteFile(spec.Unix, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := e.listen(spec); err == nil {
		t.Error("replaced a file")
	}
}

// TestBacklog: tcp_backlog_size is the kernel's, also on a socket that listens already.
func TestBacklog(t *testing.T) {
	e := New(Options{})
	e.Start(t.Context())
	defer e.Stop()
	l, err := e.listen(&listener.Spec{Name: "l", Addr: netip.MustParseAddrPort("127.0.0.1:0"), Backlog: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, backlog := range []int{3, 5} {
		if err := adjust(l, &listener.Spec{Backlog: backlog}); err != nil {
			t.Fatal(err)
		}
		if got := backlogOf(t, l); got != uint32(backlog) {
			t.Errorf("backlog %d, want %d", got, backlog)
		}
	}
}

// backlogOf asks the kernel, which says it of a socket that listens in place of the unacknowledged segments' limit.
func backlogOf(t *testing.T, l net.Listener) uint32 {
	t.Helper()
	raw, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var info *unix.TCPInfo
	if err := raw.Control(func(fd uintptr) { info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	return info.Sacked
}
