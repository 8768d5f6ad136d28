package admin

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
)

func options(seen *telemetry.Filter, drained *bool) Options {
	return Options{
		Unready:    func() []string { return nil },
		Metrics:    http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("metrics")) }),
		ConfigDump: func() (any, error) { return map[string]int{"generation": 1}, nil },
		Clusters:   func() any { return []string{"a-cluster"} },
		Listeners:  func() any { return []string{"a-listener"} },
		Certs:      func() any { return []string{"a-cert"} },
		Decisions: func(f telemetry.Filter) []telemetry.Decision {
			*seen = f
			return []telemetry.Decision{{Time: time.Unix(0, 0).UTC(), Outbound: true, RequestID: "r", TLSVersion: 0x304, Duration: 1500 * time.Microsecond}}
		},
		Drain: func() { *drained = true },
		Level: &slog.LevelVar{},
		Token: func() (string, error) { return "secret", nil },
	}
}

func ask(h http.Handler, method, target, token string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	if token != "" {
		r.Header.Set("Authorization", token)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestPages(t *testing.T) {
	var seen telemetry.Filter
	var drained bool
	h := New(options(&seen, &drained))
	for _, c := range []struct {
		method, target string
		status         int
		body           string
	}{
		{"GET", "http://127.0.0.1:9901/ready", 200, "LIVE\n"},
		{"GET", "http://[::1]:9901/ready", 200, "LIVE\n"},
		{"GET", "http://localhost:9901/ready", 200, "LIVE\n"},
		{"GET", "http://evil.example:9901/config_dump", 403, "ask by address or as localhost\n"},
		{"GET", "http://127.0.0.1/stats/prometheus", 200, "metrics"},
		{"GET", "http://127.0.0.1/config_dump", 200, "{\n  \"generation\": 1\n}\n"},
		{"GET", "http://127.0.0.1/clusters", 200, "[\n  \"a-cluster\"\n]\n"},
		{"GET", "http://127.0.0.1/listeners", 200, "[\n  \"a-listener\"\n]\n"},
		{"GET", "http://127.0.0.1/certs", 200, "[\n  \"a-cert\"\n]\n"},
		{"GET", "http://127.0.0.1/decisions?limit=x", 400, "limit: must be a number above zero\n"},
		{"GET", "http://127.0.0.1/drain", 405, "Method Not Allowed\n"},
		{"POST", "http://127.0.0.1/ready", 405, "Method Not Allowed\n"},
		{"GET", "http://127.0.0.1/nothing", 404, "404 page not found\n"},
	} {
		if w := ask(h, c.method, c.target, ""); w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%s %s: %d %q, want %d %q", c.method, c.target, w.Code, w.Body, c.status, c.body)
		}
	}
	w := ask(h, "GET", "http://127.0.0.1/decisions?requestId=r&peer=p&path=/x&method=GET&refused=true&limit=3", "")
	if want := (telemetry.Filter{RequestID: "r", Peer: "p", Path: "/x", Method: "GET", Refused: true, Limit: 3}); seen != want {
		t.Errorf("asked for %+v, want %+v", seen, want)
	}
	if s := w.Body.String(); !strings.Contains(s, `"tlsVersion": "TLSv1.3"`) || !strings.Contains(s, `"direction": "outbound"`) || !strings.Contains(s, `"durationMs": 1.5`) {
		t.Errorf("decisions: %s", s)
	}
}

func TestNotReady(t *testing.T) {
	o := options(new(telemetry.Filter), new(bool))
	o.Unready = func() []string { return []string{"no SVID yet", "no configuration"} }
	if w := ask(New(o), "GET", "http://127.0.0.1/ready", ""); w.Code != 503 || w.Body.String() != "no SVID yet\nno configuration\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	o.ConfigDump = func() (any, error) { return nil, errors.New("broken") }
	if w := ask(New(o), "GET", "http://127.0.0.1/config_dump", ""); w.Code != 500 || w.Body.String() != "broken\n" {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

// TestChangesNeedTheToken: nothing else opens them, not even where the token cannot be read.
func TestChangesNeedTheToken(t *testing.T) {
	var drained bool
	o := options(new(telemetry.Filter), &drained)
	for _, given := range []string{"", "secret", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Basic secret"} {
		for _, path := range []string{"/drain", "/upgrade", "/logging?level=debug"} {
			if w := ask(New(o), "POST", "http://127.0.0.1"+path, given); w.Code != 401 {
				t.Errorf("%s with %q: %d", path, given, w.Code)
			}
		}
	}
	for _, broken := range []func() (string, error){
		func() (string, error) { return "", errors.New("no file") },
		func() (string, error) { return "", nil },
	} {
		bad := o
		bad.Token = broken
		if w := ask(New(bad), "POST", "http://127.0.0.1/drain", "Bearer "); w.Code != 401 {
			t.Errorf("without a token to compare with: %d", w.Code)
		}
	}
	if drained || o.Level.Level() != slog.LevelInfo {
		t.Error("a stranger has changed something")
	}

	if w := ask(New(o), "POST", "http://127.0.0.1/logging?level=debug", "Bearer secret"); w.Code != 200 || o.Level.Level() != slog.LevelDebug {
		t.Errorf("logging: %d %s", w.Code, o.Level.Level())
	}
	if w := ask(New(o), "POST", "http://127.0.0.1/logging?level=loud", "Bearer secret"); w.Code != 400 {
		t.Errorf("logging with a wrong level: %d", w.Code)
	}
	if w := ask(New(o), "POST", "http://127.0.0.1/drain", "Bearer secret"); w.Code != 200 || !drained {
		t.Errorf("drain: %d %v", w.Code, drained)
	}
	o.Level = nil
	if w := ask(New(o), "POST", "http://127.0.0.1/logging?level=debug", "Bearer secret"); w.Code != 404 {
		t.Errorf("logging without a level: %d", w.Code)
	}
}

func TestUpgrade(t *testing.T) {
	o := options(new(telemetry.Filter), new(bool))
	for _, c := range []struct {
		upgrade func() (any, error)
		status  int
		body    string
	}{
		{nil, 404, "this process cannot hand over to another one\n"},
		{func() (any, error) { return map[string]int{"pid": 2}, nil }, 200, "{\n  \"pid\": 2\n}\n"},
		{func() (any, error) { return nil, errors.New("the new process ended") }, 503, "the new process ended\n"},
	} {
		o.Upgrade = c.upgrade
		if w := ask(New(o), "POST", "http://127.0.0.1/upgrade", "Bearer secret"); w.Code != c.status || w.Body.String() != c.body {
			t.Errorf("%d %q, want %d %q", w.Code, w.Body, c.status, c.body)
		}
	}
}
