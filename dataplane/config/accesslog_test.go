package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/config"
	hhttp "github.com/hauberk-mesh/hauberk/dataplane/http"
	"github.com/hauberk-mesh/hauberk/dataplane/telemetry"
	"github.com/hauberk-mesh/hauberk/internal/leak"
)

func TestMain(m *testing.M) { leak.Main(m) }

const fileLogger = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog"

// logged builds a chain with access logs, hands it records and returns what is in the file.
func logged(t *testing.T, format, filter string, records ...telemetry.Record) (string, error) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "access.log")
	var spec *hhttp.Spec
	var err error
	t.Run("build", func(t *testing.T) { // the logs are closed, and written, when the inner test ends
		spec, _, err = manager(t, `access_log: [{name: f, `+filter+` typed_config: {"@type": `+fileLogger+`, path: "`+file+`", `+format+`}}]`)
		if err != nil {
			return
		}
		for _, r := range records {
			spec.AccessLog.Record(&r)
		}
	})
	if err != nil {
		return "", err
	}
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v", info.Mode())
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text), nil
}

func TestAccessLogFormats(t *testing.T) {
	r := telemetry.Record{Method: "GET", Path: "/a\"b", Status: 404, Authority: "h", Protocol: "HTTP/2", Start: time.Unix(0, 0), Flags: "NR"}
	for format, want := range map[string]string{
		``: `[1970-01-01T00:00:00.000Z] "GET /a\"b HTTP/2" 404 NR 0 0 0 - "-" "-" "-" "h" "-"` + "\n",
		`log_format: {text_format: "%REQ(:METHOD)% %RESPONSE_CODE%\n"}`:                         "GET 404\n",
		`log_format: {text_format_source: {inline_string: "%REQ(:METHOD)% %RESPONSE_CODE%\n"}}`: "GET 404\n",
		`format: "%PROTOCOL%\n"`: "HTTP/2\n",
		`log_format: {json_format: {code: "%RESPONSE_CODE%", path: "%REQ(:PATH)%", deep: {a: "%UPSTREAM_HOST%"}, half: 0.5}}`: `{"code":404,"deep":{"a":null},"half":0.5,"path":"/a\"b"}` + "\n",
		`log_format: {json_format: {code: "%RESPONSE_CODE%", deep: {a: "%UPSTREAM_HOST%"}}, omit_empty_values: true}`:         `{"code":404,"deep":{}}` + "\n",
		`typed_json_format: {code: "%RESPONSE_CODE%"}`:                                                                        `{"code":404}` + "\n",
	} {
		if got, err := logged(t, format, "", r); err != nil || got != want {
			t.Errorf("%s:\ngot  %q, %v\nwant %q", format, got, err, want)
		}
	}
}

func TestAccessLogFilters(t *testing.T) {
	all := []telemetry.Record{
		{Path: "/ok", Status: 200, Duration: time.Millisecond}, {Path: "/slow", Status: 200, Duration: time.Second},
		{Path: "/refused", Status: 403, Flags: "UAEX"}, {Path: "/gone", Status: 503, Flags: "UF,URX"},
	}
	compare := func(op, value string) string {
		return `comparison: {op: ` + op + `, value: {default_value: ` + value + `, runtime_key: k}}`
	}
	for filter, want := range map[string]string{
		``: "/ok /slow /refused /gone",
		`status_code_filter: {` + compare("GE", "400") + `}`: "/refused /gone",
		`status_code_filter: {` + compare("LE", "403") + `}`: "/ok /slow /refused",
		`status_code_filter: {` + compare("EQ", "403") + `}`: "/refused",
		`status_code_filter: {` + compare("NE", "200") + `}`: "/refused /gone",
		`duration_filter: {` + compare("GE", "1000") + `}`:   "/slow",
		`response_flag_filter: {}`:                           "/refused /gone",
		`response_flag_filter: {flags: [URX, NR]}`:           "/gone",
		`not_health_check_filter: {}`:                        "/ok /slow /refused /gone",
		`or_filter: {filters: [{duration_filter: {` + compare("GE", "1000") + `}}, {response_flag_filter: {flags: [UF]}}]}`:      "/slow /gone",
		`and_filter: {filters: [{status_code_filter: {` + compare("GE", "400") + `}}, {response_flag_filter: {flags: [UAEX]}}]}`: "/refused",
	} {
		with := ""
		if filter != "" {
			with = `filter: {` + filter + `},`
		}
		got, err := logged(t, `log_format: {text_format: "%REQ(:PATH)%\n"}`, with, all...)
		if got = strings.Join(strings.Fields(got), " "); err != nil || got != want {
			t.Errorf("%s: %s, %v, want %s", filter, got, err, want)
		}
	}
}

func TestAccessLogRefuses(t *testing.T) {
	logger := func(rest string) string {
		return `access_log: [{name: f, typed_config: {"@type": ` + fileLogger + `, ` + rest + `}}]`
	}
	filter := func(f string) string {
		return `access_log: [{name: f, filter: {` + f + `}, typed_config: {"@type": type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog}}]`
	}
	for text, want := range map[string]string{
		logger(`path: ""`):                `typed_config.path: is empty`,
		logger(`path: "/nowhere/at/all"`): `typed_config.path: access log: open /nowhere/at/all: no such file or directory`,
		logger(`path: /dev/null, log_format: {text_format: "%NOTHING%"}`):                  `typed_config.log_format.text_format: access log format, byte 0: %NOTHING% is not an operator of this proxy (docs/access-log.md lists them)`,
		logger(`path: /dev/null, log_format: {json_format: {a: "%NOTHING%"}}`):             `typed_config.log_format.json_format["a"]: access log format, byte 0: %NOTHING% is not an operator of this proxy (docs/access-log.md lists them)`,
		logger(`path: /dev/null, log_format: {text_format: "a", omit_empty_values: true}`): `typed_config.log_format.omit_empty_values: is only honoured with json_format`,
		logger(`path: /dev/null, log_format: {text_format: "a", formatters: [{name: x}]}`): `typed_config.log_format.formatters: is not honoured`,
		filter(`runtime_filter: {runtime_key: a}`):                                         `filter.runtime_filter: is not honoured`,
		filter(`header_filter: {header: {name: a}}`):                                       `filter.header_filter: is not honoured`,
		filter(`status_code_filter: {}`):                                                   `filter.status_code_filter.comparison.value: is required`,
		filter(`and_filter: {filters: [{not_health_check_filter: {}}]}`):                   `filter.and_filter.filters: needs two or more`,
		filter(``): `filter: says nothing that is honoured`,
		`access_log: [{name: f, typed_config: {"@type": type.googleapis.com/google.protobuf.Empty, value: {}}}]`:         `typed_config: logger "type.googleapis.com/google.protobuf.Empty" is not honoured, only those of files, stdout and stderr`,
		filter(strings.Repeat(`or_filter: {filters: [{not_health_check_filter: {}}, {`, 17) + strings.Repeat(`}]}`, 17)): `is nested more than 16 deep`,
	} {
		_, _, err := manager(t, text)
		if err == nil || !strings.HasPrefix(err.Error(), `listener "l": `+inManager+"access_log[0].") || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s:\ngot  %v\nwant %s", text, err, want)
		}
	}
}

// TestAccessLogOnlyStandAlone: in a mesh it is not the control plane that says which files are written.
func TestAccessLogOnlyStandAlone(t *testing.T) {
	m := &hcmv3.HttpConnectionManager{}
	parse(t, `access_log: [{name: f, typed_config: {"@type": `+fileLogger+`, path: /dev/null}}]`+"\n"+justRouter+"\n"+toUp, m)
	l := &listenerv3.Listener{}
	parse(t, `{name: l, address: {socket_address: {address: 127.0.0.1, port_value: 1}}, traffic_direction: OUTBOUND}`, l)
	l.FilterChains = []*listenerv3.FilterChain{{Filters: []*listenerv3.Filter{{ConfigType: &listenerv3.Filter_TypedConfig{TypedConfig: packed(t, m)}}}}}
	_, err := builder().Build(nil, 1, config.Resources{config.TypeListener: {"l": packed(t, l)}})
	if err == nil || err.Error() != `listener "l": `+inManager+`access_log[0]: the access logs of a configuration are only honoured in stand-alone mode` {
		t.Error(err)
	}
}

// TestAccessLogsShare: a file is opened once, reopened when it was rotated, and their number is bounded.
func TestAccessLogsShare(t *testing.T) {
	dir := t.TempDir()
	logs := config.NewAccessLogs()
	for i := range 70 {
		name := filepath.Join(dir, string(rune('a'+i%26))+strings.Repeat("x", i/26))
		_, err := logs.Writer(name)
		if again, err2 := logs.Writer(name); (err == nil) != (err2 == nil) || err == nil && again == nil {
			t.Fatal(err, err2)
		}
		if (err != nil) != (i >= 64) {
			t.Fatalf("file %d: %v", i, err)
		}
	}
	if err := os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "rotated")); err != nil {
		t.Fatal(err)
	}
	if err := logs.Reopen(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "a")); err != nil {
		t.Error(err)
	}
	if err := logs.Close(); err != nil || logs.Dropped() != 0 {
		t.Error(err, logs.Dropped())
	}
}
