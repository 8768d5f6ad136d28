package cli

import (
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
