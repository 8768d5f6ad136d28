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
	tool           string // somebody else's load generator in its place, see tools.go
	connections    int    // of HTTP/1.1; with gRPC calls in flight
	rate           float64
	path           string
	warm, measured time.Duration
	pinned         bool   // proxies on one core with one thread, client and backend on another
	gateway        string // a single proxy that ends the client's TLS with this kind of key; empty: two sidecars
	mutual         bool   // the gateway's clients prove who they are
	columns        []column
}

// column is one metric of the table. A ratio to the base peer is shown beside it where there is a mark for it. A column
// against another peer is that ratio alone.
type column struct {
	metric, title string
	digits        int
	mark, aim     float64 // the ratio that Hauberk must reach, and the one it wants to; 0: none
	against       string
}

// ratio is the name that the column's ratio has.
func (c column) ratio() string {
	if c.against == "" {
		return c.metric
	}
	return c.metric + "/" + c.against
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
		"-warm", w.warm.String(), "-measured", w.measured.String(), "-tls", w.gateway, fmt.Sprint("-certified=", w.mutual),
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
}, {
	name: "w3rsa", title: "W3 RSA-2048: TLS 1.3 in full and one request on each connection, one proxy on one core",
	mode: "connect", connections: 16, path: "/", warm: time.Second, measured: 4 * time.Second, pinned: true, gateway: rsa2048,
	columns: connecting(column{mark: 0.75, aim: 0.60}),
}, {
	name: "w3ec", title: "W3 ECDSA P-256: TLS 1.3 in full and one request on each connection, one proxy on one core",
	mode: "connect", connections: 16, path: "/", warm: time.Second, measured: 4 * time.Second, pinned: true, gateway: ec,
	columns: connecting(column{mark: 0.90, aim: 0.75}),
}, {
	name: "w3mtls", title: "W3 mutual ECDSA P-256: TLS 1.3 in full and one request on each connection, one proxy on one core",
	mode: "connect", connections: 16, path: "/", warm: time.Second, measured: 4 * time.Second, pinned: true, gateway: ec, mutual: true,
	columns: connecting(column{mark: 0.50, aim: 0.42}),
}, {
	name: "hsrsa", title: "Handshakes RSA-2048: TLS 1.3 in full and nothing else, one proxy on one core",
	mode: "handshake", connections: 48, warm: time.Second, measured: 4 * time.Second, pinned: true, gateway: rsa2048, columns: shaking(1.7, 2.0),
}, {
	name: "hsmrsa", title: "Handshakes mutual RSA-2048: TLS 1.3 in full and nothing else, one proxy on one core",
	mode: "handshake", connections: 48, warm: time.Second, measured: 4 * time.Second, pinned: true, gateway: rsa2048, mutual: true, columns: shaking(2.0, 2.2),
}, {
	name: "hsec", title: "Handshakes ECDSA P-256: TLS 1.3 in full and nothing else, one proxy on one core",
	mode: "handshake", connections: 48, warm: time.Second, measured: 4 * time.Second, pinned: true, gateway: ec, columns: shaking(0, 0),
}, {
	name: "hsmec", title: "Handshakes mutual ECDSA P-256: TLS 1.3 in full and nothing else, one proxy on one core",
	mode: "handshake", connections: 48, warm: time.Second, measured: 4 * time.Second, pinned: true, gateway: ec, mutual: true, columns: shaking(1.9, 2.1),
}, {
	name: "fortio", title: "Fortio, 2,000 connections, a new one for each request, RSA-2048, proxy and client on one core each",
	tool: "fortio", connections: 2000, measured: 20 * time.Second, pinned: true, gateway: rsa2048, columns: ofTools(),
}, {
	name: "k6", title: "k6, 2,000 virtual users, a new connection for each request, RSA-2048, proxy and client on one core each",
	tool: "k6", connections: 2000, measured: 20 * time.Second, pinned: true, gateway: rsa2048, columns: ofTools(),
}}

// connecting is what new connections cost. The rate of those that pass says little: the client may be the limit.
func connecting(cpu column) []column {
	cpu.metric, cpu.title, cpu.digits = "cpuMicrosPerRequest", "CPU us/connection", 1
	return []column{
		cpu, {metric: "requestsPerSecond", title: "connections/s"}, {metric: "p50Micros", title: "p50 us"}, {metric: "p99Micros", title: "p99 us"},
		{metric: "busy", title: "proxy busy", digits: 2},
	}
}

// ofTools are the figures that published benchmarks show, beside those of the same proxy without batches.
func ofTools() []column {
	const memory = "hauberk-memory"
	return []column{
		{metric: "requestsPerSecond", title: "req/s"}, {metric: "requestsPerSecond", against: memory},
		{metric: "meanMicros", title: "mean us"}, {metric: "meanMicros", against: memory}, {metric: "p50Micros", title: "p50 us"},
		{metric: "p90Micros", title: "p90 us"}, {metric: "p99Micros", title: "p99 us"}, {metric: "p99Micros", against: memory},
		{metric: "cpuMicrosPerRequest", title: "CPU us/req"}, {metric: "busy", title: "proxy busy", digits: 2},
	}
}

// shaking is what passes in a second of the proxy's own time. The mark is for the ratio to nginx.
func shaking(mark, aim float64) []column {
	const rate = "handshakesPerCPUSecond"
	return []column{
		{metric: rate, title: "handshakes/CPU s"}, {metric: rate, against: "nginx", mark: mark, aim: aim}, {metric: rate, against: "haproxy"},
		{metric: "cpuMicrosPerRequest", title: "CPU us/handshake", digits: 1}, {metric: "p50Micros", title: "p50 us"},
		{metric: "p99Micros", title: "p99 us"}, {metric: "busy", title: "proxy busy", digits: 2},
	}
}

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
		if v, ok := m[c.metric]; ok && c.against == "" {
			s += fmt.Sprintf("%s %.*f  ", c.title, c.digits, v)
		}
	}
	return s
}
