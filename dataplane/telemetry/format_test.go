package telemetry

import (
	"strings"
	"testing"
)

func TestFormats(t *testing.T) {
	for format, want := range map[string]string{
		"plain":                                    "plain",
		"100%%":                                    "100%",
		"%PROTOCOL%":                               "HTTP/1.1",
		"%REQ(:METHOD)%":                           "GET",
		"%req(x)%":                                 "!",
		"%REQ(user-agent)%":                        "curl/8",
		"%REQ(USER-AGENT):4%":                      "curl",
		"%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%":       "/items?id=1",
		"%REQ(X-FORWARDED-FOR)%":                   "-",
		"%REQ(COOKIE)%":                            "!not recorded",
		"%REQ(:PATH?COOKIE)%":                      "!not recorded",
		"%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%":    "6",
		"%RESPONSE_CODE%":                          "200",
		"%RESPONSE_FLAGS%":                         "-",
		"%RESPONSE_CODE_DETAILS%":                  "via_upstream",
		"%BYTES_RECEIVED%/%BYTES_SENT%":            "10/2000",
		"%DURATION%":                               "7",
		"%UPSTREAM_HOST%":                          "127.0.0.1:15080",
		"%UPSTREAM_CLUSTER%":                       "outbound|cart|80",
		"%DOWNSTREAM_REMOTE_ADDRESS%":              "127.0.0.1:50000",
		"%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%": "127.0.0.1",
		"%DOWNSTREAM_LOCAL_PORT%":                  "10001",
		"%DOWNSTREAM_PEER_URI_SAN%":                "-",
		"%UPSTREAM_PEER_URI_SAN%":                  "spiffe://default.default.mesh.local/workload/cart",
		"%UPSTREAM_TRANSPORT_FAILURE_REASON%":      "-",
		"%ROUTE_NAME%":                             "default",
		"%TRAFFIC_DIRECTION%":                      "OUTBOUND",
		"%HAUBERK_PEER_ID%":                        "spiffe://default.default.mesh.local/workload/cart",
		"%START_TIME%":                             "2026-05-04T03:02:01.123Z",
		"%START_TIME(%s.%3f)%":                     "1777863721.123",
		"%START_TIME(%Y/%m/%dT%H:%M:%S.%6f%z)%":    "2026/05/04T03:02:01.123456+0000",
		"%START_TIME(%f)%":                         "123456789",
		"%START_TIME(%Q)%":                         "!%Q",
		"%START_TIME(%":                            "!parenthesis",
		"%START_TIME(%Y":                           "!parenthesis",
		"%GRPC_STATUS(SNAKE)%":                     "!SNAKE_STRING",
		"%GRPC_STATUS_NUMBER(x)%":                  "!no argument",
		"%NOSUCH%":                                 "!not an operator",
		"%DURATION(ms)%":                           "!no argument",
		"%DURATION:0%":                             "!length",
		"%DURATION:x%":                             "!length",
		"50% off":                                  "!no end",
		"%":                                        "!",
		"%DURATION:5":                              "!closing",
		"%REQ(:PATH)":                              "!closing",
	} {
		f, err := CompileFormat(format)
		if problem, refused := strings.CutPrefix(want, "!"); refused {
			if err == nil || !strings.Contains(err.Error(), problem) {
				t.Errorf("%s: error %v, want one with %q", format, err, problem)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", format, err)
			continue
		}
		if got := string(f.Append(nil, request())); got != want {
			t.Errorf("%s is %q, want %q", format, got, want)
		}
	}
}

// What the compiler takes it can write, without a control character that was not in the format itself.
func FuzzCompileFormat(f *testing.F) {
	f.Add(defaultFormat, "curl")
	f.Add("%START_TIME(%Y-%m-%dT%H:%M:%S.%3f)% %REQ(A?B):10%", "a\nb")
	f.Add("%%%", "\x00")
	f.Add("%REQ(:PATH):3%%DURATION%", "ü")
	f.Fuzz(func(t *testing.T, format, value string) {
		compiled, err := CompileFormat(format)
		if err != nil {
			return
		}
		r := request()
		r.Path, r.UserAgent, r.Details = value, value, value
		line := string(compiled.Append(nil, r))
		if !strings.ContainsAny(format, "\n") && strings.Contains(line, "\n") {
			t.Errorf("format %q with %q writes a line break: %q", format, value, line)
		}
	})
}
