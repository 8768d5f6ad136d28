package tls

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func stateOf(chain []*x509.Certificate) tls.ConnectionState {
	return tls.ConnectionState{HandshakeComplete: true, PeerCertificates: chain}
}

// TestWatchedLink: Kubernetes replaces a mounted secret by moving a symbolic link, under which size and time may be the same.
func TestWatchedLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		at := func(name string) string { return filepath.Join(dir, name) }
		put := func(name, text string) {
			if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.Chtimes(at(name), time.Unix(1, 0), time.Unix(1, 0)); err != nil {
				t.Fatal(err)
			}
		}
		link := func(to string) {
			if err := os.Symlink(at(to), at("new")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(at("new"), at("data")); err != nil {
				t.Fatal(err)
			}
		}
		put("1", "one")
		put("2", "two")
		link("1")
		var failed []error
		w, err := NewWatched([]string{at("data")}, func() (string, error) {
			b, err := os.ReadFile(at("data"))
			if string(b) == "bad" {
				err = errors.New("bad")
			}
			return string(b), err
		}, func(err error) { failed = append(failed, err) })
		if err != nil {
			t.Fatal(err)
		}
		link("2")
		if w.Get() != "one" {
			t.Error("looked within the second")
		}
		time.Sleep(checkEvery)
		if got := w.Get(); got != "two" || w.Changes() != 1 {
			t.Errorf("%q, %d changes", got, w.Changes())
		}
		put("3", "bad")
		link("3")
		for range 5 {
			time.Sleep(checkEvery)
			if got := w.Get(); got != "two" {
				t.Errorf("%q", got)
			}
		}
		if len(failed) != 1 {
			t.Errorf("told %d times: %v", len(failed), failed)
		}
		if err := os.Remove(at("data")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(checkEvery)
		if w.Get() != "two" || len(failed) != 2 {
			t.Errorf("gone: %q, told %v", w.Get(), failed)
		}
		link("1")
		time.Sleep(checkEvery)
		if got := w.Get(); got != "one" || w.Changes() != 2 {
			t.Errorf("back: %q, %d changes", got, w.Changes())
		}
	})
}

// TestWatchedAtOnce: many ask, one looks, and nobody waits for it: for the race detector.
func TestWatchedAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := NewWatched([]string{path}, func() (int, error) { return 7, nil }, nil)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				w.next.Store(0)
				if w.Get() != 7 {
					t.Error("another value")
				}
			}
		})
	}
	wg.Wait()
}
