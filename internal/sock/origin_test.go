package sock_test

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// A connection that nobody has redirected has no other destination than its own.
func TestOriginalDstWithoutRedirect(t *testing.T) {
	pairs(t, func(t *testing.T, _, r net.Conn) {
		if a := sock.OriginalDst(r); a.IsValid() && a.String() != r.LocalAddr().String() {
			t.Error(a)
		}
	})
}

// The kernel tells of its redirect. It is done in a network of its own, so that the machine's rules stay as they are.
func TestOriginalDst(t *testing.T) {
	const marker = "HAUBERK_TEST_ORIGINAL_DST"
	if os.Getenv(marker) == "" {
		for _, tool := range []string{"unshare", "nft", "ip"} {
			if _, err := exec.LookPath(tool); err != nil || os.Getuid() != 0 {
				t.Skipf("needs root and %s", tool)
			}
		}
		cmd := exec.Command("unshare", "--net", os.Args[0], "-test.run=^TestOriginalDst$", "-test.v")
		cmd.Env = append(os.Environ(), marker+"=1")
		out, err := cmd.CombinedOutput()
		if strings.Contains(string(out), "SKIP") {
			t.Skip(string(out))
		}
		if err != nil {
			t.Errorf("%v\n%s", err, out)
		}
		return
	}
	if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
		t.Skipf("no network of our own: %v %s", err, out)
	}
	for _, host := range []string{"127.0.0.1", "::1"} {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		port := netip.MustParseAddrPort(l.Addr().String()).Port()
		rule := fmt.Sprintf("add table inet t; add chain inet t o { type nat hook output priority 0; }; flush chain inet t o; "+
			"add rule inet t o tcp dport 7777 redirect to :%d", port)
		if out, err := exec.Command("nft", rule).CombinedOutput(); err != nil {
			t.Skipf("nft can not redirect here: %v %s", err, out)
		}
		c, err := net.Dial("tcp", net.JoinHostPort(host, "7777"))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		s, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		if got, want := sock.OriginalDst(s).String(), net.JoinHostPort(host, "7777"); got != want {
			t.Errorf("wanted to go to %s, not %s", want, got)
		}
	}
}
