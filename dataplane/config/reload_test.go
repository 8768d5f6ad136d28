package config_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/config"
	htls "github.com/hauberk-mesh/hauberk/dataplane/tls"
)

// TestTickets: sessions are resumed where that is not switched off, and who has lost the trust since does not get in by one.
func TestTickets(t *testing.T) {
	const rest = `require_client_certificate: true, common_tls_context: {` + ownCertificate + `, validation_context: {trusted_ca: {filename: $FILE}, watched_directory: {path: $DIR}}}`
	for _, off := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			w, dir := newWorld(t), t.TempDir()
			ca := filepath.Join(dir, "ca.pem")
			w.pems["FILE"], w.pems["DIR"] = ca, dir
			write(t, ca, w.ca.certPEM())
			server, err := serverOf(t, w.pems, fmt.Sprintf("disable_stateless_session_resumption: %t, disable_stateful_session_resumption: true, %s", off, rest))
			if err != nil {
				t.Fatal(err)
			}
			client := &tls.Config{
				RootCAs: w.ca.pool(), ServerName: "a.example.com", Certificates: []tls.Certificate{w.client.tls()},
				ClientSessionCache: tls.NewLRUClientSessionCache(1),
			}
			for i, want := range []bool{false, !off} {
				_, s, _, sErr := shake(t, client, server)
				if sErr != nil || s.DidResume != want {
					t.Errorf("off %t, connection %d: resumed %t, %v", off, i, s.DidResume, sErr)
				}
			}
			write(t, ca, w.other.certPEM())
			time.Sleep(2 * time.Second)
			_, _, _, sErr := shake(t, client, server)
			says(t, "trust lost", sErr, "trusted authority")
		})
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, path); err != nil {
		t.Fatal(err)
	}
}

// TestFiles: certificates come from files, and with watched_directory again when they are replaced. What can't be read leaves
// what was in force.
func TestFiles(t *testing.T) {
	for _, watched := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			next := w.ca.issue(t, forAll)
			dir := t.TempDir()
			cert, key := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
			write(t, cert, w.server.certPEM())
			write(t, key, w.server.keyPEM())
			watch := ""
			if watched {
				watch = fmt.Sprintf(", watched_directory: {path: %q}", dir)
			}
			var failures []string
			in := resources(t, fmt.Sprintf(`common_tls_context: {tls_certificates: [{certificate_chain: {filename: %q}, private_key: {filename: %q}%s}]}`, cert, key, watch), "")
			b := config.New(config.Deps{
				Identity: &htls.Identity{}, Trust: &htls.Trust{}, StandAlone: true,
				OnReload: func(resource string, err error) { failures = append(failures, resource+": "+err.Error()) },
			})
			g, err := b.Build(nil, 1, in)
			if err != nil {
				t.Fatal(err)
			}
			defer g.Release(nil)
			shown := func() *x509.Certificate {
				time.Sleep(2 * time.Second)
				c, _, err, _ := shake(t, &tls.Config{RootCAs: w.ca.pool(), ServerName: "a.example.com"}, g.Listeners["l"].Chains[0].TLS)
				if err != nil {
					t.Fatal(err)
				}
				return c.PeerCertificates[0]
			}
			if !shown().Equal(w.server.cert) {
				t.Error("not the file's")
			}
			write(t, cert, next.certPEM()) // and the key is not there yet
			for range 2 {                  // it is looked at anew each time
				if !shown().Equal(w.server.cert) {
					t.Error("a certificate without its key is shown")
				}
			}
			write(t, key, next.keyPEM())
			if got := shown(); got.Equal(next.cert) != watched {
				t.Errorf("watched %t, but replaced %t", watched, !watched)
			}
			if watched && (len(failures) != 1 || !strings.HasPrefix(failures[0], `listener "l": filter_chains[0].transport_socket.typed_config.common_tls_context.tls_certificates[0]: tls: private key does not match`)) ||
				!watched && failures != nil {
				t.Errorf("told %q", failures)
			}
		})
	}
}

// TestEpoch: connections that were made with a certificate of before take no further request.
func TestEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, dir := newWorld(t), t.TempDir()
		w.pems["FILE"], w.pems["DIR"] = filepath.Join(dir, "ca.pem"), dir
		write(t, w.pems["FILE"], w.ca.certPEM())
		u, err := clientOf(t, w.pems, `common_tls_context: {validation_context: {trusted_ca: {filename: $FILE}, watched_directory: {path: $DIR}}}`)
		if err != nil {
			t.Fatal(err)
		}
		before := u.Epoch()
		time.Sleep(2 * time.Second)
		if u.Epoch() != before {
			t.Error("nothing changed")
		}
		write(t, w.pems["FILE"], w.other.certPEM())
		time.Sleep(2 * time.Second)
		if u.Epoch() == before {
			t.Error("the change was not seen")
		}
	})
}
