package cli

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// freePort is free now; the kernel hands ports out in turn, so that nobody else gets it soon.
func freePort(ts *testscript.TestScript) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		ts.Fatalf("%v", err)
	}
	defer l.Close()
	return l.Addr().String()[strings.LastIndexByte(l.Addr().String(), ':')+1:]
}

// expand FILE...: replaces $VARIABLES in files by their values.
func expand(ts *testscript.TestScript, _ bool, files []string) {
	for _, f := range files {
		text := os.Expand(ts.ReadFile(f), ts.Getenv)
		ts.Check(os.WriteFile(ts.MkAbs(f), []byte(text), 0o600))
	}
}

// request STATUS URL: asks, each time on a new connection, until the answer has that status.
func request(ts *testscript.TestScript, args []string, patience time.Duration) {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	for deadline := time.Now().Add(patience); ; {
		got := "no answer"
		resp, err := client.Get(args[1])
		if err == nil {
			resp.Body.Close()
			got = resp.Status
		}
		if strings.HasPrefix(got, args[0]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("GET %s: %s (%v), want %s", args[1], got, err, args[0])
		}
		time.Sleep(20 * time.Millisecond) // other processes
	}
}

// page TEXT URL: asks until the answer holds the text. By https the server must present server.crt.
func page(ts *testscript.TestScript, _ bool, args []string) {
	transport := &http.Transport{DisableKeepAlives: true}
	if strings.HasPrefix(args[1], "https:") {
		transport.TLSClientConfig = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}
		transport.TLSClientConfig.RootCAs.AppendCertsFromPEM([]byte(ts.ReadFile("server.crt")))
	}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	for deadline := time.Now().Add(30 * time.Second); ; {
		var body []byte
		resp, err := client.Get(args[1])
		if err == nil {
			body, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		if err == nil && strings.Contains(string(body), args[0]) {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("GET %s: without %s (%v): %s", args[1], args[0], err, body)
		}
		time.Sleep(20 * time.Millisecond) // other processes
	}
}

// keypair: server.crt and server.key are a certificate of RSA for localhost.
func keypair(ts *testscript.TestScript, _ bool, _ []string) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	ts.Check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		BasicConstraintsValid: true, IsCA: true,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	ts.Check(err)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	ts.Check(err)
	for name, block := range map[string]*pem.Block{"server.crt": {Type: "CERTIFICATE", Bytes: cert}, "server.key": {Type: "PRIVATE KEY", Bytes: der}} {
		ts.Check(os.WriteFile(ts.MkAbs(name), pem.EncodeToMemory(block), 0o600))
	}
}
