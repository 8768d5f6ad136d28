package telemetry

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

func TestJSONFormat(t *testing.T) {
	f, err := CompileJSONFormat(map[string]any{
		"code": "%RESPONSE_CODE%", "path": "%REQ(:PATH)%", "agent": "%REQ(USER-AGENT)%", "line": "%REQ(:METHOD)% %REQ(:PATH)% %REQ(USER-AGENT)%",
		"deep": map[string]any{"list": []any{"a\"b", 1.5, true, nil, "%PROTOCOL%"}}, "cut": "%REQ(:PATH):3%", "start": "%START_TIME%", "empty": map[string]any{},
	})
	if err != nil {
		t.Fatal(err)
	}
	r := &Record{Status: 200, Method: "GET", Path: "/a\"\n\\\x01", Protocol: "HTTP/1.1", Start: time.Unix(0, 0)}
	const want = `{"agent":null,"code":200,"cut":"/a\"","deep":{"list":["a\"b",1.5,true,null,"HTTP/1.1"]},"empty":{},` +
		`"line":"GET /a\"\u000a\\\u0001 -","path":"/a\"\u000a\\\u0001","start":"1970-01-01T00:00:00.000Z"}` + "\n"
	if got := string(f.Append(nil, r)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	f.OmitEmpty = true
	var v map[string]any
	if err := json.Unmarshal(f.Append(nil, r), &v); err != nil || len(v) != 7 {
		t.Errorf("%v %v", v, err)
	}
	if _, err := CompileJSONFormat(map[string]any{"a": map[string]any{"b": "%NOTHING%"}}); err == nil || !strings.HasPrefix(err.Error(), `["a"]["b"]: access log format, byte 0: `) {
		t.Error(err)
	}
}

// FuzzJSONFormat: whatever a request holds, a line is one JSON object.
func FuzzJSONFormat(f *testing.F) {
	f.Add("%REQ(:PATH)%", "/a\"\n")
	f.Add("x %REQ(:PATH):2% \x00", "\xff\xfe")
	f.Fuzz(func(t *testing.T, format, path string) {
		j, err := CompileJSONFormat(map[string]any{format: format, "list": []any{format}})
		if err != nil {
			return
		}
		line := j.Append(nil, &Record{Path: path, UserAgent: path})
		var v map[string]any
		if err := json.Unmarshal(line, &v); err != nil || strings.Count(string(line), "\n") != 1 {
			t.Fatalf("%q: %v", line, err)
		}
	})
}
