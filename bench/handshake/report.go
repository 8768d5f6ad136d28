package handshake

import (
	"bufio"
	"bytes"
	"cmp"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider/batch"
)

// Report is what was measured.
type Report struct {
	Machine  Machine  `json:"machine"`
	Seconds  float64  `json:"seconds"` // of each provider, in rounds that took turns
	Rounds   int      `json:"rounds"`
	Results  []Result `json:"results"`
	Compared *Ratio   `json:"compared,omitempty"`
}

// Machine is where.
type Machine struct {
	CPU  string `json:"cpu"`
	CPUs int    `json:"cpus"`
	Go   string `json:"go"`
	// ServerCPU is the one core of the server; -1 is none of its own to name. ClientApart tells whether the load generator
	// had others.
	ServerCPU   int  `json:"serverCPU"`
	ClientApart bool `json:"clientApart"`
}

// Result is one provider's. Figures are medians of its rounds; counts are sums.
type Result struct {
	Provider    string `json:"provider"`
	Key         string `json:"key"`
	Mutual      bool   `json:"mutual"`
	Concurrency int    `json:"concurrency"`
	Curve       string `json:"curve"`

	HandshakesPerCPUSecond float64 `json:"handshakesPerCPUSecond"` // of the server's processor time
	CPUMicrosPerHandshake  float64 `json:"cpuMicrosPerHandshake"`
	HandshakesPerSecond    float64 `json:"handshakesPerSecond"` // that passed
	P50ms                  float64 `json:"p50ms"`               // from connecting until the client may send
	P99ms                  float64 `json:"p99ms"`
	// BatchFill is how many private-key operations were done at once, on average; 0: there are no batches.
	BatchFill float64 `json:"batchFill"`
	// Batches are counted by their number of operations.
	Batches map[int]uint64 `json:"batches,omitempty"`
	// ServerBusy is the part of the time that passed which the server was computing. Well below 1, with more clients than
	// one, the load generator was the limit: cost is right, the rate is not what the server could do.
	ServerBusy float64 `json:"serverBusy"`

	Backend    string `json:"backend"` // who computes: the vector kernels or the standard library
	Reason     string `json:"reason,omitempty"`
	Handshakes int64  `json:"handshakes"`
	Failed     int64  `json:"failed"`
	LastError  string `json:"lastError,omitempty"`
}

// Ratio is the last provider beside the first.
type Ratio struct {
	Provider               string  `json:"provider"`
	To                     string  `json:"to"`
	HandshakesPerCPUSecond float64 `json:"handshakesPerCPUSecond"`
	P50                    float64 `json:"p50"`
	P99                    float64 `json:"p99"`
}

func (b *bench) report(rounds int) *Report {
	r := &Report{Rounds: rounds, Seconds: b.Duration.Seconds()}
	r.Machine = Machine{CPU: processor(), CPUs: runtime.NumCPU(), Go: runtime.Version(), ServerCPU: b.crew.core, ClientApart: b.crew.apart()}
	for _, s := range b.sides {
		of := Result{Provider: s.provider, Key: b.Key, Mutual: b.Mutual, Concurrency: b.Concurrency, Curve: b.Curve,
			Backend: s.ready.Backend, Reason: s.ready.Reason}
		of.sum(s.rounds)
		r.Results = append(r.Results, of)
	}
	if n := len(r.Results); n > 1 {
		last, first := r.Results[n-1], r.Results[0]
		r.Compared = &Ratio{last.Provider, first.Provider, last.HandshakesPerCPUSecond / first.HandshakesPerCPUSecond,
			last.P50ms / first.P50ms, last.P99ms / first.P99ms}
	}
	return r
}

// sum makes one result of many rounds.
func (of *Result) sum(rounds []round) {
	over := func(figure func(r round) float64) float64 {
		all := make([]float64, len(rounds))
		for i, r := range rounds {
			all[i] = figure(r)
		}
		return median(all)
	}
	of.CPUMicrosPerHandshake = over(func(r round) float64 { return float64(r.server.CPUMicros) / float64(r.server.Handshakes) })
	of.HandshakesPerCPUSecond = 1e6 / of.CPUMicrosPerHandshake
	of.HandshakesPerSecond = over(func(r round) float64 { return float64(r.server.Handshakes) / r.seconds })
	of.ServerBusy = over(func(r round) float64 { return float64(r.server.CPUMicros) / 1e6 / r.seconds })
	of.P50ms = over(func(r round) float64 { return r.client.P50ms })
	of.P99ms = over(func(r round) float64 { return r.client.P99ms })
	of.Batches = map[int]uint64{}
	for _, r := range rounds {
		of.Handshakes += r.server.Handshakes
		of.Failed += max(r.client.Failed, r.server.Failed) // most fail on both sides
		of.LastError = cmp.Or(of.LastError, r.client.LastError, r.server.LastError)
		for size, n := range r.server.Batches {
			of.Batches[size] += n
		}
	}
	if of.BatchFill = fill(of.Batches); of.BatchFill == 0 && of.Backend != batch.BackendStd {
		of.Backend, of.Reason = batch.BackendStd, "keys of this kind are not computed in batches"
	}
}

// fill is the mean size of a batch.
func fill(batches map[int]uint64) float64 {
	operations, n := 0.0, 0.0
	for _, size := range slices.Sorted(maps.Keys(batches)) {
		operations += float64(size) * float64(batches[size])
		n += float64(batches[size])
	}
	return operations / max(1, n)
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// processor is the CPU's name as the kernel tells it.
func processor() string {
	b, _ := os.ReadFile("/proc/cpuinfo")
	for lines := bufio.NewScanner(bytes.NewReader(b)); lines.Scan(); {
		if key, value, _ := strings.Cut(lines.Text(), ":"); strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
