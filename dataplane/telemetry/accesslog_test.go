package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// logged returns what a log writes of records.
func logged(t *testing.T, open func(*LogWriter) *AccessLog, records ...*Record) string {
	t.Helper()
	var out bytes.Buffer
	w := NewLogWriter(&out)
	l := open(w)
	for _, r := range records {
		l.Opened(r)
		l.Record(r)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

func TestTextLog(t *testing.T) {
	connect := request()
	connect.Status, connect.Flags, connect.TransportFailure = 503, "UF", `dial "x": refused`
	for _, c := range []struct {
		name   string
		record *Record
		want   string
	}{
		{"request", request(), `[2026-05-04T03:02:01.123Z] "GET /items?id=1 HTTP/1.1" 200 - 10 2000 7 6 "-" "curl/8" "req-1" "cart" "127.0.0.1:15080"` + "\n"},
		{"connection", connection(), `[2026-05-04T03:02:01.123Z] "- - -" 0 - 10 2000 7 6 "-" "-" "-" "-" "127.0.0.1:15080"` + "\n"},
		{"refusal", refused(), `[2026-05-04T03:02:01.123Z] "GET /items?id=1 HTTP/1.1" 403 UAEX 10 2000 7 - "-" "curl/8" "req-1" "cart" "-"` +
			` reason=permission_denied policy="MeshTrafficPermission/cart" rule="MeshTrafficPermission/cart#rules[0].deny[0]"` +
			` peer="spiffe://default.default.mesh.local/workload/frontend"` + "\n"},
		{"failure", connect, `[2026-05-04T03:02:01.123Z] "GET /items?id=1 HTTP/1.1" 503 UF 10 2000 7 6 "-" "curl/8" "req-1" "cart" "127.0.0.1:15080"` +
			` peer="spiffe://default.default.mesh.local/workload/cart" failure="dial \"x\": refused"` + "\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := logged(t, NewTextLog, c.record); got != c.want {
				t.Errorf("got  %swant %s", got, c.want)
			}
		})
	}
}

func TestJSONLog(t *testing.T) {
	var got map[string]any
	if err := json.Unmarshal([]byte(logged(t, NewJSONLog, refused())), &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{
		"start_time": "2026-05-04T03:02:01.123Z", "response_code": 403.0, "response_flags": "UAEX", "upstream_host": nil,
		"upstream_service_time": nil, "duration": 7.0, "direction": "inbound", "source": "frontend", "reason": "permission_denied",
		"policy": "MeshTrafficPermission/cart", "rule": "MeshTrafficPermission/cart#rules[0].deny[0]", "tls_version": "TLSv1.3",
		"source_id": "spiffe://default.default.mesh.local/workload/frontend", "attempts": 1.0, "x_forwarded_for": nil,
	} {
		if v, there := got[key]; !there || v != want {
			t.Errorf("%s is %v, want %v", key, v, want)
		}
	}
	if len(got) != len(jsonFields) {
		t.Errorf("%d keys, want %d", len(got), len(jsonFields))
	}
}

// No request can add a line, leave its quotes or reach the terminal.
func TestLogsCannotBeForged(t *testing.T) {
	for _, evil := range []string{"a\nb", "a\r\nb", `a" 200 - "b`, "a\x1b[2Jb", "a\x00b", "a\u2028b", "a\u202eb", "a\u0085b", "a\xffb", `a\`, "\x7f"} {
		r := refused()
		r.UserAgent, r.Path, r.Authority, r.RequestID, r.Details, r.Policy, r.TransportFailure = evil, evil, evil, evil, evil, evil, evil
		for name, open := range map[string]func(*LogWriter) *AccessLog{"text": NewTextLog, "json": NewJSONLog} {
			line := logged(t, open, r)
			if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
				t.Errorf("%s log of %q has more than one line: %q", name, evil, line)
			}
			for _, c := range strings.TrimSuffix(line, "\n") {
				if c < 0x20 || c >= 0x7f && c < 0xa0 || c == 0x2028 || c == 0x202e {
					t.Errorf("%s log of %q lets %U through", name, evil, c)
				}
			}
			if name == "json" {
				var got map[string]any
				if err := json.Unmarshal([]byte(line), &got); err != nil {
					t.Errorf("log of %q is no JSON: %v", evil, err)
				} else if want := strings.ToValidUTF8(evil, "\uFFFD"); got["user_agent"] != want {
					t.Errorf("user_agent is %q, want %q", got["user_agent"], want)
				}
			} else if strings.Contains(line, `a" 200`) {
				t.Errorf("text log lets a quote through: %s", line)
			}
		}
	}
}

type slowWriter struct {
	started chan struct{}
	release chan struct{}
	once    sync.Once
	bytes.Buffer
}

func (w *slowWriter) Write(p []byte) (int, error) {
	w.once.Do(func() { close(w.started) })
	<-w.release
	return w.Buffer.Write(p)
}

func TestSlowDiskDropsWholeLinesAndBlocksNobody(t *testing.T) {
	slow := &slowWriter{started: make(chan struct{}), release: make(chan struct{})}
	w := NewLogWriter(slow)
	l := NewTextLog(w)
	l.Record(request())
	<-slow.started
	n := 0
	for w.Dropped() == 0 { // would hang here if it blocked
		l.Record(request())
		n++
	}
	close(slow.release)
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(slow.String(), "\n"), "\n")
	if uint64(len(lines)) != uint64(n+1)-w.Dropped() {
		t.Errorf("%d lines of %d, %d dropped", len(lines), n+1, w.Dropped())
	}
	for _, line := range lines {
		if !strings.HasPrefix(line, "[2026-") || !strings.HasSuffix(line, `:15080"`) {
			t.Fatalf("broken line %q", line)
		}
	}
	l.Record(request())
	if w.Close() != nil || w.Dropped() == 0 {
		t.Error("a line after Close is not counted as dropped")
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWritesThatFailAreCounted(t *testing.T) {
	w := NewLogWriter(brokenWriter{})
	NewTextLog(w).Record(request())
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if w.Dropped() != 1 {
		t.Errorf("dropped %d, want 1", w.Dropped())
	}
}

func TestReopenAfterRotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	w, err := OpenLog(path)
	if err != nil {
		t.Fatal(err)
	}
	l := NewTextLog(w)
	l.Record(request())
	waitForFile(t, path)
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if err := w.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Record(request())
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{path, path + ".1"} {
		text, err := os.ReadFile(p)
		if err != nil || bytes.Count(text, []byte("\n")) != 1 {
			t.Errorf("%s holds %q, %v", filepath.Base(p), text, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// waitForFile polls a real file: the writer gathers lines for a moment.
func waitForFile(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if info, err := os.Stat(path); err == nil && info.Size() > 0 {
			return
		}
	}
	t.Fatal("nothing was written")
}

func TestOpenLogNamesThePath(t *testing.T) {
	_, err := OpenLog(filepath.Join(t.TempDir(), "no", "such", "dir"))
	if err == nil || !strings.Contains(err.Error(), "no/such/dir") {
		t.Errorf("error %v does not name the path", err)
	}
}

func BenchmarkTextLog(b *testing.B) { benchmarkLog(b, NewTextLog) }
func BenchmarkJSONLog(b *testing.B) { benchmarkLog(b, NewJSONLog) }

func benchmarkLog(b *testing.B, open func(*LogWriter) *AccessLog) {
	w := NewLogWriter(io.Discard)
	defer w.Close()
	l, r := open(w), request()
	b.ReportAllocs()
	for b.Loop() {
		l.Record(r)
	}
}
