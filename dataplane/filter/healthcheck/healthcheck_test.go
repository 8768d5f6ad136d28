package healthcheck

import (
	"testing"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	healthcheckv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/health_check/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

func parseJSON(t testing.TB, config string, ready map[string]bool) (filter.HTTP, error) {
	t.Helper()
	m := &healthcheckv3.HealthCheck{}
	if err := protojson.Unmarshal([]byte(config), m); err != nil {
		t.Fatal(err)
	}
	b, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return Factory().HTTP(b, filter.Env{ClusterReady: func(c string) bool { return ready[c] }})
}

const probe = `{"passThroughMode":false,"headers":[{"name":"hauberk-probe","presentMatch":true}],"clusterMinHealthyPercentages":{"a":{"value":100},"b":{"value":100}}}`

func TestAnswer(t *testing.T) {
	asks := func(name, value string) *message.Request {
		r := &message.Request{Method: "GET", Path: "/healthz"}
		r.Header.Add(name, value)
		return r
	}
	const onPath = `{"passThroughMode":false,"headers":[{"name":":path","stringMatch":{"exact":"/healthz"}},{"name":":method","exactMatch":"GET"},{"name":"x","exactMatch":"1"}]}`
	for _, c := range []struct {
		name, config string
		ready        map[string]bool
		r            *message.Request
		status       int // 0: passes
	}{
		{"all ready", probe, map[string]bool{"a": true, "b": true}, asks("Hauberk-Probe", "1"), 200},
		{"one is not", probe, map[string]bool{"a": true}, asks("hauberk-probe", ""), 503},
		{"no probe", probe, nil, asks("x", "1"), 0},
		{"path, method and value", onPath, nil, asks("x", "1"), 200},
		{"another value", onPath, nil, asks("x", "2"), 0},
	} {
		f, err := parseJSON(t, c.config, c.ready)
		if err != nil {
			t.Fatal(err)
		}
		v := f.Request(&filter.Conn{}, c.r)
		switch {
		case c.status == 0 && v != nil, c.status != 0 && (v == nil || !v.Answer || v.Refuse || v.Status != c.status):
			t.Errorf("%s: %+v", c.name, v)
		case c.status == 503 && (!v.Unprocessed || v.Reason != "app_unreachable"):
			t.Errorf("%s: the caller's proxy would not know that it may try elsewhere: %+v", c.name, v)
		}
	}
}

func TestRefused(t *testing.T) {
	for config, want := range map[string]string{
		`{}`:                        `pass_through_mode: must be false: this filter answers by itself`,
		`{"passThroughMode":true}`:  `pass_through_mode: must be false: this filter answers by itself`,
		`{"passThroughMode":false}`: `headers: must not be empty, or every request would be taken for a health check`,
		`{"passThroughMode":false,"cacheTime":"1s"}`:                                                `cache_time: is not honoured`,
		`{"passThroughMode":false,"clusterMinHealthyPercentages":{"a":{"value":50}}}`:               `cluster_min_healthy_percentages["a"]: 50 is not honoured, only 100`,
		`{"passThroughMode":false,"headers":[{"name":"x"}]}`:                                        `headers[0]: says only a name; for presence there is present_match`,
		`{"passThroughMode":false,"headers":[{"name":"x","presentMatch":true,"invertMatch":true}]}`: `headers[0].invert_match: is not honoured`,
		`{"passThroughMode":false,"headers":[{"name":":path","presentMatch":true}]}`:                `headers[0].present_match: must be true, and not of a pseudo-header`,
		`{"passThroughMode":false,"headers":[{"name":"x","stringMatch":{"prefix":"a"}}]}`:           `headers[0].string_match.prefix: is not honoured`,
		`{"passThroughMode":false,"headers":[{"name":":scheme","exactMatch":"http"}]}`:              `headers[0].name: ":scheme" is not honoured`,
	} {
		if _, err := parseJSON(t, config, nil); err == nil || err.Error() != want {
			t.Errorf("%s\n got  %v\n want %s", config, err, want)
		}
	}
}

func TestNoAllocations(t *testing.T) {
	f, err := parseJSON(t, probe, map[string]bool{"a": true, "b": true})
	if err != nil {
		t.Fatal(err)
	}
	r := &message.Request{Method: "GET", Path: "/"}
	r.Header.Add("host", "x")
	r.Header.Add("user-agent", "y")
	if n := testing.AllocsPerRun(100, func() { f.Request(nil, r) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{0x0a, 0x00})
	f.Fuzz(func(t *testing.T, config []byte) {
		h, err := parse(config, filter.Env{ClusterReady: func(string) bool { return true }})
		if err == nil {
			h.Request(&filter.Conn{}, &message.Request{Method: "GET", Path: "/"})
		}
	})
}
