package main

import (
	"fmt"
	"strconv"
	"time"
)

// workload is what the client asks of a topology, what is told about it, and how good Hauberk wants to be.
type workload struct {
	name, title    string
	mode           string // of the load generator, see load.go
	connections    int    // of HTTP/1.1; with gRPC calls in flight
	rate           float64
	path           string
	warm, measured time.Duration
	pinned         bool // proxies on one core with one thread, client and backend on another
	columns        []column
}

// column is one metric of the table. A ratio to the base peer is shown beside it where there is a mark for it.
type column struct {
	metric, title string
	digits        int
	mark, aim     float64 // the ratio that Hauberk must reach, and the one it wants to; 0: none
}

func (w workload) h2() bool { return w.mode == "grpc" }

func (w workload) threads() int {
	if w.pinned {
		return 1
	}
	return 2
}

// core is where a process runs: the given one, or with no pinning -1.
func (w workload) core(n int) int {
	if w.pinned {
		return n
	}
	return -1
}

// arguments are the load generator's.
func (w workload) arguments() []string {
	return []string{
		"-mode", w.mode, "-connections", strconv.Itoa(w.connections), "-rate", fmt.Sprint(w.rate), "-path", w.path,
		"-warm", w.warm.String(), "-measured", w.measured.String(),
	}
}

var workloads = []workload{{
	name: "w1", title: "W1: HTTP/1.1 keep-alive, 64 connections, 1 KB, closed loop",
	mode: "http", connections: 64, path: "/", warm: time.Second, measured: 8 * time.Second,
	columns: speed(column{mark: 1.15, aim: 1.25}, column{mark: 0.80, aim: 0.65}, column{mark: 0.85, aim: 0.70}),
}, {
	name: "w1pin", title: "W1 pinned: both proxies on one core with one thread each, client and backend on another",
	mode: "http", connections: 64, path: "/", warm: time.Second, measured: 5 * time.Second, pinned: true,
	columns: speed(column{mark: 1.25, aim: 1.5}, column{mark: 0.80, aim: 0.65}, column{}),
}, {
	name: "w2", title: "W2: 2,000 requests a second, open loop, 64 connections",
	mode: "http", connections: 64, rate: 2000, path: "/", warm: time.Second, measured: 8 * time.Second,
	columns: append(speed(column{}, column{mark: 1.2, aim: 0.9}, column{}),
		column{metric: "addedP50Micros", title: "added p50 us", mark: 1.0, aim: 0.8}),
}, {
	name: "w4", title: "W4: bodies of 100 MB, 4 connections",
	mode: "http", connections: 4, path: "/big", warm: time.Second, measured: 5 * time.Second,
	columns: []column{
		{metric: "megabytesPerSecond", title: "MB/s", mark: 1.15, aim: 1.35},
		{metric: "cpuSecondsPerGigabyte", title: "CPU s/GB", digits: 2, mark: 0.80, aim: 0.65},
		{metric: "egressMegabytes", title: "RSS egress MB", digits: 1}, {metric: "ingressMegabytes", title: "RSS ingress MB", digits: 1},
	},
}, {
	name: "w5", title: "W5: gRPC unary, 128 bytes, 64 calls in flight on 4 connections",
	mode: "grpc", connections: 64, warm: time.Second, measured: 8 * time.Second,
	columns: speed(column{mark: 1.15, aim: 1.5}, column{mark: 0.80, aim: 0.45}, column{}),
}, {
	name: "w6", title: "W6: start-up, and memory with nothing to do and with 5,000 idle connections",
	mode: "hold", connections: 5000, path: "/", measured: 2 * time.Second,
	columns: []column{
		{metric: "readyMillis", title: "ready ms", digits: 1, mark: 0.4, aim: 0.25},
		{metric: "idleEgressMegabytes", title: "idle egress MB", digits: 1, mark: 1.0, aim: 0.6},
		{metric: "idleIngressMegabytes", title: "idle ingress MB", digits: 1, mark: 1.0, aim: 0.6},
		{metric: "plainMegabytes", title: "+5k plain MB", digits: 1, mark: 1.3, aim: 1.0},
		{metric: "tlsMegabytes", title: "+5k mTLS MB", digits: 1, mark: 1.2, aim: 0.8},
	},
}}

// speed are the columns of requests that are counted; the marks are for rate, CPU and p99.
func speed(rate, cpu, p99 column) []column {
	rate.metric, rate.title = "requestsPerSecond", "req/s"
	cpu.metric, cpu.title, cpu.digits = "cpuMicrosPerRequest", "CPU us/req", 1
	p99.metric, p99.title = "p99Micros", "p99 us"
	return []column{
		rate, cpu, {metric: "p50Micros", title: "p50 us"}, {metric: "p90Micros", title: "p90 us"}, p99, {metric: "p999Micros", title: "p99.9 us"},
		{metric: "egressMegabytes", title: "RSS egress MB", digits: 1}, {metric: "ingressMegabytes", title: "RSS ingress MB", digits: 1},
	}
}

// short is a run in one line, for those who watch.
func (w workload) short(m metrics) string {
	s := ""
	for _, c := range w.columns {
		if v, ok := m[c.metric]; ok {
			s += fmt.Sprintf("%s %.*f  ", c.title, c.digits, v)
		}
	}
	return s
}
