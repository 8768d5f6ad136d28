package identity

import (
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
)

func (p *plane) openAnchor(dir string, hosts ...string) (*Anchor, error) {
	return OpenAnchor(p.ctx, AnchorOptions{DataDir: dir, Keys: memory.New(), Hosts: hosts, Logger: p.logger})
}

func TestAnchorServesAndSurvivesRestarts(t *testing.T) {
	p, dir := newPlane(t), t.TempDir()
	first, err := p.openAnchor(dir, "cp.example", "10.1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	for name, mode := range map[string]os.FileMode{"ca.crt": 0o644, "ca.key": 0o600} {
		if info, err := os.Stat(filepath.Join(dir, name)); err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	second, err := p.openAnchor(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !first.Certificate().Equal(second.Certificate()) {
		t.Error("a restart made another anchor")
	}
	serving, err := first.serverCertificate()
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"localhost", "127.0.0.1", "::1", "cp.example", "10.1.2.3"} {
		if err := serving.Leaf.VerifyHostname(host); err != nil {
			t.Error(err)
		}
	}

	l, err := tls.Listen("tcp", "127.0.0.1:0", second.APITLS())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	served := make(chan error, 1)
	go func() {
		c, err := l.Accept()
		if err == nil {
			err = errors.Join(c.(*tls.Conn).Handshake(), c.Close())
		}
		served <- err
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: first.Pool()})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if err := <-served; err != nil && !errors.Is(err, net.ErrClosed) {
		t.Log(err) // the client may be gone first
	}
}

func TestDamagedAnchorIsAnError(t *testing.T) {
	p := newPlane(t)
	other := t.TempDir()
	if _, err := p.openAnchor(other); err != nil {
		t.Fatal(err)
	}
	copyFrom := func(dir, name string) error {
		b, err := os.ReadFile(filepath.Join(other, name))
		return errors.Join(err, os.WriteFile(filepath.Join(dir, name), b, 0o600))
	}
	for name, c := range map[string]struct {
		damage func(dir string) error
		want   string
	}{
		"no key":         {func(dir string) error { return os.Remove(filepath.Join(dir, "ca.key")) }, "ca.key is not: restore it"},
		"empty key":      {func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca.key"), nil, 0o600) }, "is empty"},
		"damaged key":    {func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca.key"), []byte("x"), 0o600) }, "is not PEM"},
		"damaged cert":   {func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca.crt"), []byte("x"), 0o600) }, "is not one certificate"},
		"another's key":  {func(dir string) error { return copyFrom(dir, "ca.key") }, "do not belong together"},
		"another's cert": {func(dir string) error { return copyFrom(dir, "ca.crt") }, "do not belong together"},
		"open key":       {func(dir string) error { return os.Chmod(filepath.Join(dir, "ca.key"), 0o644) }, "open to others"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := p.openAnchor(dir); err != nil {
				t.Fatal(err)
			}
			if err := c.damage(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := p.openAnchor(dir); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// A first start that was killed between its two files.
func TestAnchorCompletesAFirstStart(t *testing.T) {
	p, dir := newPlane(t), t.TempDir()
	before, err := p.openAnchor(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(AnchorFile(dir)); err != nil {
		t.Fatal(err)
	}
	after, err := p.openAnchor(dir)
	if err != nil {
		t.Fatal(err)
	}
	// Even who has the lost certificate still knows the control plane.
	serving, _ := after.serverCertificate()
	if err := serving.Leaf.CheckSignatureFrom(before.Certificate()); err != nil {
		t.Error(err)
	}
	if !strings.Contains(p.log.String(), "made anew of its key") {
		t.Error("that is not in the log")
	}
}

func TestServerCertificateIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlane(t)
		a, err := p.openAnchor(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		first, _ := a.serverCertificate()
		time.Sleep(serverLife / 2)
		if again, _ := a.serverCertificate(); again != first {
			t.Error("it was renewed at half life")
		}
		time.Sleep(serverLife / 4)
		if again, err := a.serverCertificate(); err != nil || again == first {
			t.Errorf("it was not renewed near its end (%v)", err)
		}
	})
}
