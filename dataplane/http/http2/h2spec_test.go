package http2

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// TestH2Spec runs github.com/summerwind/h2spec against a server, plain and over TLS.
func TestH2Spec(t *testing.T) {
	program := os.Getenv("HAUBERK_H2SPEC")
	if program == "" {
		var err error
		if program, err = exec.LookPath("h2spec"); err != nil {
			t.Skip("no h2spec: set HAUBERK_H2SPEC, or put it on PATH: go install github.com/summerwind/h2spec/cmd/h2spec@v2.2.1+incompatible")
		}
	}
	for name, secure := range map[string]bool{"plain": false, "tls": true} {
		t.Run(name, func(t *testing.T) {
			host, port, _ := net.SplitHostPort(listenAndServe(t, secure))
			args := []string{"-h", host, "-p", port, "-o", "2", "--strict"}
			if secure {
				args = append(args, "-t", "-k")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, program, args...).CombinedOutput()
			if err != nil || !bytes.Contains(out, []byte(" 0 failed")) || bytes.Contains(out, []byte("\n0 tests")) {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// listenAndServe serves every request with a few bytes until the test ends.
func listenAndServe(t *testing.T, secure bool) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if secure {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, NextProtos: []string{"h2"}})
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s := NewServer(c, Options{MaxFrame: defaultFrame}) // h2spec takes it for granted
			s.SetIdle(10 * time.Second)
			running.Go(func() { _ = s.Serve(hello) })
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return addr
}

// hello reads the request and answers it.
func hello(st *Stream) {
	for {
		var buf [1000]byte
		if _, err := st.Read(buf[:]); err == io.EOF {
			break
		} else if err != nil {
			return
		}
	}
	body := []byte("hello, world\n")
	m := message.Response{Status: 200, Length: int64(len(body))}
	m.Header.Add("content-type", "text/plain")
	if st.Respond(&m, false) == nil && st.Write(body) == nil {
		_ = st.End(nil)
	}
}

func selfSigned(t testing.TB) tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}
