package main

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

//go:embed tools/k6.js
var k6Script []byte

// tool is somebody else's load generator, for those who know its figures. Each request of it has a connection of its own.
type tool struct {
	// command is what to run; the result comes into a file.
	command func(g *ground, w workload, url, result string) (line, env []string, err error)
	read    func(text []byte) (metrics, error)
}

// tools are known by the name of their program.
func tools(name string) (tool, bool) {
	switch name {
	case "fortio":
		return tool{fortioCommand, readFortio}, true
	case "k6":
		return tool{k6Command, readK6}, true
	}
	return tool{}, false
}

func fortioCommand(_ *ground, w workload, url, result string) (line, env []string, err error) {
	return []string{
		"fortio", "load", "-c", strconv.Itoa(w.connections), "-qps", "0", "-t", w.measured.String(), "-keepalive=false", "-k",
		"-timeout", "60s", "-allow-initial-errors", "-p", "50,90,99", "-r", "0.0001", "-json", result, "-loglevel", "error", url,
	}, nil, nil
}

func k6Command(g *ground, w workload, url, result string) (line, env []string, err error) {
	script := g.file("k6.js")
	if err := os.WriteFile(script, k6Script, 0o600); err != nil {
		return nil, nil, err
	}
	return []string{"k6", "run", "--quiet", "--no-usage-report", script}, []string{
		"CONNECTIONS=" + strconv.Itoa(w.connections), "DURATION=" + w.measured.String(), "URL=" + url, "RESULT=" + result,
	}, nil
}

// tool runs the workload's tool to its end. Its start belongs to what is measured: there is no warm-up.
func (t *topology) tool() (metrics, error) {
	with, ok := tools(t.w.tool)
	if !ok {
		return nil, fmt.Errorf("no tool %q", t.w.tool)
	}
	result := filepath.Join(t.g.dir, t.w.tool+".json")
	line, env, err := with.command(t.g, t.w, "https://"+t.entry+"/", result)
	if err != nil {
		return nil, err
	}
	if line[0], err = exec.LookPath(line[0]); err != nil {
		return nil, fmt.Errorf("%w: make bench-handshake-clients installs it", err)
	}
	before, machine, began := used(t.proxies()), machineUsed(), time.Now()
	client, err := t.g.start(line, env, t.w.core(1))
	if err != nil {
		return nil, err
	}
	for client.lines.Scan() {
	}
	client.stop()
	seconds, proxies := time.Since(began).Seconds(), used(t.proxies())-before
	text, err := os.ReadFile(result)
	if err != nil {
		return nil, fmt.Errorf("%w; it ended by: %s", err, client.logTail())
	}
	_ = os.Remove(result)
	m, err := with.read(text)
	if err != nil {
		return nil, fmt.Errorf("result of %s: %w", t.w.tool, err)
	}
	m["cpuMicrosPerRequest"], m["busy"] = proxies*1e6/max(1, m["requests"]), proxies/seconds
	own := client.cmd.ProcessState.UserTime() + client.cmd.ProcessState.SystemTime()
	m["noise"] = max(0, machineUsed()-machine-proxies-own.Seconds()-used([]*process{t.backend})) / seconds / cores()
	return m, nil
}

// readFortio reads seconds.
func readFortio(text []byte) (metrics, error) {
	var r struct {
		ActualQPS         float64
		DurationHistogram struct {
			Count       float64
			Avg         float64
			Percentiles []struct{ Percentile, Value float64 }
		}
		RetCodes map[string]float64
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	h := r.DurationHistogram
	good := r.RetCodes["200"]
	if good == 0 {
		return nil, fmt.Errorf("no request succeeded of %.0f: %v", h.Count, r.RetCodes)
	}
	m := metrics{"requests": good, "errors": h.Count - good, "requestsPerSecond": r.ActualQPS * good / h.Count, "meanMicros": h.Avg * 1e6}
	for _, p := range h.Percentiles {
		m[fmt.Sprintf("p%gMicros", p.Percentile)] = p.Value * 1e6
	}
	return m, nil
}

// readK6 reads milliseconds. An iteration is all of a request: connecting, shaking hands, asking and the answer.
func readK6(text []byte) (metrics, error) {
	var r struct {
		Metrics struct {
			Iterations struct{ Values struct{ Count, Rate float64 } } `json:"iterations"`
			Duration   struct{ Values map[string]float64 }            `json:"iteration_duration"`
			Failed     struct{ Values struct{ Passes float64 } }      `json:"http_req_failed"`
		}
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, err
	}
	all, failed := r.Metrics.Iterations.Values, r.Metrics.Failed.Values.Passes
	if all.Count-failed <= 0 {
		return nil, fmt.Errorf("no request succeeded of %.0f", all.Count)
	}
	m := metrics{"requests": all.Count - failed, "errors": failed, "requestsPerSecond": all.Rate * (1 - failed/all.Count)}
	for name, theirs := range map[string]string{"meanMicros": "avg", "p50Micros": "med", "p90Micros": "p(90)", "p99Micros": "p(99)"} {
		v, ok := r.Metrics.Duration.Values[theirs]
		if !ok || math.IsNaN(v) {
			return nil, fmt.Errorf("has no iteration_duration %q", theirs)
		}
		m[name] = v * 1e3
	}
	return m, nil
}
