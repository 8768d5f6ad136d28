package main

import (
	"math"
	"strings"
	"testing"
)

// What the tools write, cut to what is read. Both were run by hand for it.
const (
	fortioResult = `{"RunType":"HTTP","ActualQPS":62.5,"DurationHistogram":{"Count":200,"Min":0.1,"Avg":0.25,"Data":[],
		"Percentiles":[{"Percentile":50,"Value":0.2},{"Percentile":90,"Value":0.4},{"Percentile":99,"Value":0.5}]},"RetCodes":{"-1":20,"200":180}}`
	k6Result = `{"metrics":{"iterations":{"type":"counter","contains":"default","values":{"count":200,"rate":50}},
		"iteration_duration":{"type":"trend","contains":"time","values":{"avg":250,"med":200,"p(90)":400,"p(99)":500}},
		"http_req_failed":{"type":"rate","contains":"default","values":{"rate":0.1,"passes":20,"fails":180}}}}`
)

// TestTools: both say the same, each in its own way.
func TestTools(t *testing.T) {
	for name, text := range map[string]string{"fortio": fortioResult, "k6": k6Result} {
		with, ok := tools(name)
		if !ok {
			t.Fatalf("no tool %s", name)
		}
		got, err := with.read([]byte(text))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		rate := map[string]float64{"fortio": 62.5 * 0.9, "k6": 45}[name]
		wanted := metrics{"requests": 180, "errors": 20, "requestsPerSecond": rate, "meanMicros": 250_000,
			"p50Micros": 200_000, "p90Micros": 400_000, "p99Micros": 500_000}
		for metric, want := range wanted {
			if math.Abs(got[metric]-want) > 1e-6*want {
				t.Errorf("%s: %s is %v, want %v", name, metric, got[metric], want)
			}
		}
	}
}

// TestToolsFail: a run without any success is no measurement.
func TestToolsFail(t *testing.T) {
	for name, texts := range map[string][]string{
		"fortio": {"", "{}", `{"RetCodes":{"-1":5},"DurationHistogram":{"Count":5}}`},
		"k6":     {"", "{}", strings.Replace(k6Result, `"passes":20`, `"passes":200`, 1), strings.Replace(k6Result, "p(99)", "p(98)", 1)},
	} {
		with, _ := tools(name)
		for _, text := range texts {
			if m, err := with.read([]byte(text)); err == nil {
				t.Errorf("%s: %q gave %v", name, text, m)
			}
		}
	}
	if _, ok := tools("wrk"); ok {
		t.Error("wrk is not known")
	}
	topology := &topology{w: workload{tool: "wrk"}}
	if _, err := topology.tool(); err == nil {
		t.Error("wrk was run")
	}
}

// TestToolCommands: as many connections as the workload says, and a new one for each request.
func TestToolCommands(t *testing.T) {
	g := &ground{dir: t.TempDir()}
	w := workload{connections: 7, measured: 3e9}
	line, _, err := fortioCommand(g, w, "https://a:1/", "r.json")
	if text := strings.Join(line, " "); err != nil || !strings.Contains(text, "-c 7 ") || !strings.Contains(text, "-t 3s -keepalive=false") {
		t.Errorf("%s, %v", text, err)
	}
	line, env, err := k6Command(g, w, "https://a:1/", "r.json")
	if err != nil || line[0] != "k6" || strings.Join(env, " ") != "CONNECTIONS=7 DURATION=3s URL=https://a:1/ RESULT=r.json" {
		t.Errorf("%s, %s, %v", line, env, err)
	}
	if !strings.Contains(string(k6Script), "noConnectionReuse: true") {
		t.Error("k6 may reuse connections")
	}
}
