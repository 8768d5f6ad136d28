package undumpable

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMain is also the child that Set is called in: it can't be taken back.
func TestMain(m *testing.M) {
	if os.Getenv("HAUBERK_TEST_CHILD") == "" {
		os.Exit(m.Run())
	}
	if err := Set(); err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0)
	var core unix.Rlimit
	errCore := unix.Getrlimit(unix.RLIMIT_CORE, &core)
	fmt.Println("dumpable", dumpable, err, "core", core.Cur, core.Max, errCore)
	// What Hauberk reads about itself.
	for _, path := range []string{"/proc/self/maps", "/proc/self/cgroup", "/proc/self/status", "/proc/self/stat"} {
		if _, err := os.ReadFile(path); err != nil {
			fmt.Println(err)
		}
	}
	if _, err := os.Readlink("/proc/self/exe"); err != nil {
		fmt.Println(err)
	}
	if _, err := os.ReadDir("/proc/self/fd"); err != nil {
		fmt.Println(err)
	}
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1)) // until the parent has looked
	os.Exit(0)
}

// As an ordinary user if we can be one: root may do all of that.
func TestSet(t *testing.T) {
	cmd := exec.Command(reachable(t, os.Args[0]))
	cmd.Env, cmd.Dir = append(os.Environ(), "HAUBERK_TEST_CHILD=1"), "/"
	if os.Getuid() == 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := readUntil(t, out, "ready\n")
	if want := "dumpable 0 <nil> core 0 0 <nil>\nready\n"; said != want {
		t.Errorf("the child says %q, want %q", said, want)
	}
	info, err := os.Stat(fmt.Sprintf("/proc/%d/mem", cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	if uid := info.Sys().(*syscall.Stat_t).Uid; uid != 0 {
		t.Errorf("its /proc/<pid>/mem belongs to user %d", uid)
	}
	_ = in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

// reachable copies the test binary to where other users find it: go test's own folder is closed to them.
func reachable(t *testing.T, from string) string {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/var/tmp", "undumpable")
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	to := dir + "/test"
	if err := os.WriteFile(to, data, 0o755); err != nil {
		t.Fatal(err)
	}
	return to
}

func readUntil(t *testing.T, r interface{ Read([]byte) (int, error) }, end string) string {
	t.Helper()
	var all strings.Builder
	buf := make([]byte, 1024)
	for !strings.HasSuffix(all.String(), end) {
		n, err := r.Read(buf)
		all.Write(buf[:n])
		if err != nil {
			t.Fatalf("%q, then %v", all.String(), err)
		}
	}
	return all.String()
}
