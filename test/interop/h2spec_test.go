package interop

import (
	"context"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// contested are the tests of h2spec that fail by right, with the section of RFC 9113 that says so.
var contested = map[string]string{
	"Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE": "6.5.2: the proxy announces a larger SETTINGS_MAX_FRAME_SIZE than the 16,384 that the test takes for granted, and takes what it has announced",
}

// contestedBesideHTTP1 are those where a listener takes HTTP/1 too.
var contestedBesideHTTP1 = map[string]string{
	"Sends invalid connection preface": "3.3: what does not begin with the preface is a request of HTTP/1 there, and is answered as a malformed one",
}

// TestH2Spec runs the conformance tests of HTTP/2 against each kind of listener: TLS with ALPN, and clear text with prior
// knowledge, alone and beside HTTP/1. The program is $HAUBERK_H2SPEC, or h2spec on the path; .ci/h2spec installs it.
func TestH2Spec(t *testing.T) {
	h2spec := programOrSkip(t, "h2spec", "HAUBERK_H2SPEC")
	server := serve(t, webServer())
	dir := t.TempDir()
	certificates(t, dir)
	for _, c := range []struct {
		name, codec string
		tls         bool
	}{{"prior knowledge", "HTTP2", false}, {"prior knowledge beside HTTP/1", "AUTO", false}, {"TLS", "AUTO", true}} {
		t.Run(c.name, func(t *testing.T) {
			h := hop{Name: "h2spec", Direction: "OUTBOUND", Codec: c.codec, To: portOf(server), TLSIn: c.tls, Cert: dir + "/leaf.crt", Key: dir + "/leaf.key"}
			args := []string{"--strict", "-h", "127.0.0.1", "-p", portOf(run(t, h)), "-o", "2"}
			if c.tls {
				args = append(args, "-t", "-k")
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
			defer cancel()
			out, err := exec.CommandContext(ctx, h2spec, args...).CombinedOutput() // exits 1 for the contested too
			summary := h2specSummary.FindStringSubmatch(string(out))
			if summary == nil {
				t.Fatalf("%v\n%s", err, out)
			}
			t.Log(summary[0])
			_, failures, _ := strings.Cut(string(out), "Failures:")
			failed := h2specFailure.FindAllStringSubmatch(failures, -1)
			if strconv.Itoa(len(failed)) != summary[1] {
				t.Fatalf("of %s failures only %d were understood:\n%s", summary[1], len(failed), failures)
			}
			for _, m := range failed {
				why := contested[m[1]]
				if why == "" && c.codec == "AUTO" && !c.tls {
					why = contestedBesideHTTP1[m[1]]
				}
				if why == "" {
					t.Errorf("failed: %s\n%s", m[1], failures)
					break
				}
				t.Logf("left out: %s: RFC 9113, %s", m[1], why)
			}
		})
	}
}

var (
	h2specSummary = regexp.MustCompile(`[1-9]\d* tests, \d+ passed, 0 skipped, (\d+) failed`)
	h2specFailure = regexp.MustCompile(`(?m)^\s*× (?:\d+: )?(.*\S)\s*$`)
)
