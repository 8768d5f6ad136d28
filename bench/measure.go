package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// metrics are one run's, by the names that -o json shows.
type metrics map[string]float64

// measure builds the topology of p, runs w on it, and ends it.
func (g *ground) measure(w workload, p peer) (metrics, error) {
	if (w.mode == "hold" || w.gateway != "") && p.config == "" {
		return nil, errNotForPeer
	}
	t, err := g.build(w, p)
	if err != nil {
		return nil, err
	}
	defer t.stop()
	switch {
	case w.mode == "hold":
		return t.hold()
	case w.tool != "":
		return t.tool()
	}
	return t.load()
}

// load accounts for the processor time of the load generator's measured time.
func (t *topology) load() (metrics, error) {
	client, err := t.client(t.entry)
	if err != nil {
		return nil, err
	}
	defer client.stop()
	if _, err := client.line(); err != nil {
		return nil, fmt.Errorf("load generator: %w", err)
	}
	ours := []*process{t.backend, client}
	proxies0, ours0, machine0, began := used(t.proxies()), used(ours), machineUsed(), time.Now()
	if _, err := client.line(); err != nil {
		return nil, fmt.Errorf("load generator: %w", err)
	}
	proxies, others, seconds := used(t.proxies())-proxies0, machineUsed()-machine0, time.Since(began).Seconds()
	others -= proxies + used(ours) - ours0
	m, err := client.result()
	if err != nil {
		return nil, fmt.Errorf("load generator: %w", err)
	}
	if m["errors"] > 0 {
		fmt.Fprintf(t.g.progress, "%s: %s\n", t.w.name, client.logTail())
	}
	m["noise"] = max(0, others) / seconds / cores()
	if len(t.proxies()) > 0 {
		m.spent(proxies, seconds)
		m["ingressMegabytes"] = t.ingress.resident()
	}
	if t.egress != nil {
		m["egressMegabytes"] = t.egress.resident()
	}
	return m, nil
}

// spent adds what the proxies' CPU seconds mean for what was done meanwhile.
func (m metrics) spent(cpu, seconds float64) {
	m["cpuMicrosPerRequest"] = cpu * 1e6 / max(1, m["requests"])
	m["cpuSecondsPerGigabyte"] = cpu * 1e9 / max(1, m["bytes"])
	m["handshakesPerCPUSecond"] = m["requests"] / max(1.0/tick, cpu) // of workloads with one each
	m["busy"] = cpu / seconds
}

// hold accounts for memory: with nothing, with idle connections over mutual TLS at the ingress, with plain ones at the egress.
func (t *topology) hold() (metrics, error) {
	time.Sleep(t.w.measured / 4) // what a start leaves to do, it does meanwhile
	m := metrics{"readyMillis": t.ready.Seconds() * 1e3, "errors": 0,
		"idleIngressMegabytes": t.ingress.resident(), "idleEgressMegabytes": t.egress.resident()}
	for _, on := range []struct {
		metric string
		proxy  *process
		args   []string
	}{{"tlsMegabytes", t.ingress, []string{"-tls", ec, "-certified"}}, {"plainMegabytes", t.egress, nil}} { // the second reaches the ingress too
		client, err := t.client(on.proxy.listen, on.args...)
		if err != nil {
			return nil, err
		}
		if _, err = client.line(); err == nil {
			_, err = client.result()
		}
		m[on.metric] = on.proxy.resident()
		client.stop()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", on.metric, err)
		}
	}
	return m, nil
}

// used is the processor time, user and system, that processes and their children have used, in seconds.
func used(processes []*process) (seconds float64) {
	for _, p := range processes {
		for _, pid := range p.tree() {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
			if err != nil {
				continue
			}
			f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:])) // the name may hold anything; after it, field 3
			if len(f) > 12 {
				seconds += number(f[11])/tick + number(f[12])/tick
			}
		}
	}
	return seconds
}

func cores() float64 { return float64(runtime.NumCPU()) }

// tick is USER_HZ, in which the kernel counts for programs whatever its own is.
const tick = 100

// machineUsed is what all cores have spent on anything, in seconds.
func machineUsed() (seconds float64) {
	b, _ := os.ReadFile("/proc/stat")
	line, _, _ := strings.Cut(string(b), "\n")
	for i, f := range strings.Fields(line) {
		switch i {
		case 1, 3, 6, 7: // user, system, and both kinds of interrupts; nice gives way, idle and iowait are none
			seconds += number(f) / tick
		}
	}
	return seconds
}

// resident is a process tree's memory in MB, file pages that its processes share counted once.
func (p *process) resident() float64 {
	own, shared := 0.0, 0.0
	for _, pid := range p.tree() {
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		kb := map[string]float64{}
		for line := range strings.Lines(string(b)) {
			if f := strings.Fields(line); len(f) == 3 {
				kb[f[0]] = number(f[1])
			}
		}
		own += kb["RssAnon:"]
		shared = max(shared, kb["RssFile:"]+kb["RssShmem:"])
	}
	return (own + shared) * 1024 / 1e6
}

// tree is the process with its descendants.
func (p *process) tree() []int {
	pids := []int{p.cmd.Process.Pid}
	for i := 0; i < len(pids); i++ {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pids[i]))
		for _, t := range threads {
			b, _ := os.ReadFile(t)
			for _, f := range strings.Fields(string(b)) {
				pids = append(pids, int(number(f)))
			}
		}
	}
	return pids
}

func number(s string) float64 {
	f, _ := strconv.ParseFloat(s, 64)
	return f
}
