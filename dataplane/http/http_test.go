package http

import (
	"strings"
	"testing"

	"github.com/hauberk-mesh/hauberk/dataplane/http/http1"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

func TestRequestID(t *testing.T) {
	for _, tc := range []struct {
		given string
		kept  bool
	}{{"abc-1", true}, {strings.Repeat("x", 128), true}, {strings.Repeat("x", 129), false}, {"a b", false}, {"", false}, {"\xff", false}} {
		h := message.Header{Fields: []message.Field{{Name: "X-Request-ID", Value: tc.given}}}
		x := &exchange{spec: &Spec{GenerateRequestID: true, PreserveRequestID: true}}
		id := x.requestID(&h, true)
		if (id == tc.given) != tc.kept || h.Get("x-request-id") != id || len(h.Fields) != 1 || !sane(id) {
			t.Errorf("%q: %q", tc.given, id)
		}
	}
	seen := map[string]bool{}
	for range 1000 {
		id := newID()
		if len(id) != 36 || id[14] != '4' || !strings.ContainsRune("89ab", rune(id[19])) || seen[id] {
			t.Fatal(id)
		}
		seen[id] = true
	}
}

func TestStripOwn(t *testing.T) {
	h := message.Header{}
	for _, n := range []string{"a", "Hauberk-Unprocessed", "b", "X-HAUBERK-Reason", "x-hauberkish", "hauberk-"} {
		h.Add(n, "1")
	}
	stripOwn(&h)
	var left []string
	for _, f := range h.Fields {
		left = append(left, f.Name)
	}
	if got := strings.Join(left, " "); got != "a b x-hauberkish" {
		t.Error(got)
	}
}

// Each reason is complete, and a code means one thing.
func TestReasons(t *testing.T) {
	sentences := map[string]string{}
	for _, r := range Reasons() {
		if r.Code == "" || r.Status < 400 || r.Details == "" || r.Sentence == "" || http1.StatusText(r.Status) == "" {
			t.Errorf("%+v", r)
		}
		if known(r.Code) != r.Code {
			t.Errorf("%s is not known", r.Code)
		}
		sentences[r.Code] = r.Sentence
	}
	for _, code := range []string{"permission_denied", "no_route", "no_healthy_endpoint", "connect_failed", "upstream_reset", "request_timeout",
		"stream_idle_timeout", "request_headers_timeout", "bad_request", "headers_too_large", "path_refused", "draining", "app_unreachable", "peer_expired",
		"no_cluster", "upstream_overflow", "overloaded", "upgrade_refused"} {
		if sentences[code] == "" {
			t.Errorf("no reason %s", code)
		}
	}
	if known("made-up") != "" {
		t.Error("a peer can bring codes of its own")
	}
}
