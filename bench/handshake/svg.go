package handshake

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strings"
)

// The plot's measures, in pixels.
const (
	plotWidth  = 640
	barsLeft   = 96
	barsRight  = 500 // the longest bar ends here: its figures stand beside it
	barsTop    = 76
	barHeight  = 30
	barStep    = 58
	plotBottom = 62
)

// SVG plots handshakes per second of processor time, a bar for each provider. Colours follow the reader's choice of light or
// dark, on a background of its own, so that it reads on any page.
func (r *Report) SVG() []byte {
	height := barsTop + barStep*len(r.Results) + plotBottom
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%[1]d" height="%[2]d" viewBox="0 0 %[1]d %[2]d" role="img" aria-labelledby="t">
<title id="t">%[3]s</title>
<style>
svg { font: 14px system-ui, sans-serif; --back: #fff; --text: #1f2328; --faint: #59636e; --line: #d1d9e0; --bar: #8b96a3; --best: #0969da }
@media (prefers-color-scheme: dark) {
svg { --back: #0d1117; --text: #f0f6fc; --faint: #9198a1; --line: #3d444d; --bar: #6e7681; --best: #4493f8 }
}
text { fill: var(--text) } .faint { fill: var(--faint); font-size: 12px } .bar { fill: var(--bar) } .best { fill: var(--best) }
</style>
<rect width="%[1]d" height="%[2]d" fill="var(--back)"/>
<text x="16" y="30" font-size="16" font-weight="600">%[3]s</text>
<text x="16" y="52" class="faint">%[4]s</text>
`, plotWidth, height, escape("TLS 1.3 handshakes per second of server CPU"), escape(r.setting()))
	most := r.most()
	for i, of := range r.Results {
		y, length := barsTop+barStep*i, (barsRight-barsLeft)*of.HandshakesPerCPUSecond/most
		class := "bar"
		if of.HandshakesPerCPUSecond == most {
			class = "best"
		}
		fmt.Fprintf(&b, `<text x="%d" y="%d" text-anchor="end">%s</text>`+"\n", barsLeft-10, y+20, escape(of.Provider))
		fmt.Fprintf(&b, `<rect x="%d" y="%d" width="%.1f" height="%d" rx="3" class="%s"/>`+"\n", barsLeft, y, length, barHeight, class)
		fmt.Fprintf(&b, `<text x="%.1f" y="%d" font-weight="600">%s</text>`+"\n", barsLeft+length+8, y+20, Count(of.HandshakesPerCPUSecond))
		fmt.Fprintf(&b, `<text x="%d" y="%d" class="faint">%s</text>`+"\n", barsLeft, y+barHeight+15, escape(of.details()))
	}
	fmt.Fprintf(&b, `<line x1="%[1]d" y1="%[2]d" x2="%[1]d" y2="%[3]d" stroke="var(--line)"/>`+"\n", barsLeft, barsTop-8, height-plotBottom+4)
	fmt.Fprintf(&b, `<text x="16" y="%d" class="faint">%s</text>`+"\n", height-34, escape(r.Machine.String()))
	fmt.Fprintf(&b, `<text x="16" y="%d" class="faint">%s</text>`+"\n</svg>\n", height-16, escape(r.Machine.Cores()))
	return b.Bytes()
}

func (r *Report) most() float64 {
	most := 0.0
	for _, of := range r.Results {
		most = math.Max(most, of.HandshakesPerCPUSecond)
	}
	return most
}

// setting is what was asked, the same for all results.
func (r *Report) setting() string {
	of := r.Results[0]
	side := "server auth"
	if of.Mutual {
		side = "mutual"
	}
	clients := "clients"
	if of.Concurrency == 1 {
		clients = "client"
	}
	return fmt.Sprintf("%s, %s, %s, %d %s, new TCP connection each, no resumption", of.Key, side, of.Curve, of.Concurrency, clients)
}

// String is the machine in one line.
func (m Machine) String() string { return fmt.Sprintf("%s, %d CPUs, %s", m.CPU, m.CPUs, m.Go) }

// Cores tells who ran where.
func (m Machine) Cores() string {
	switch {
	case m.ServerCPU < 0:
		return "the server on any core (the kernel would not bind it to one)"
	case !m.ClientApart:
		return fmt.Sprintf("the server on one core (CPU %d), which the clients share: there is no other", m.ServerCPU)
	default:
		return fmt.Sprintf("the server on one core (CPU %d), the clients on others", m.ServerCPU)
	}
}

// details is what stands below a bar.
func (of Result) details() string {
	s := fmt.Sprintf("%.0f µs each, p50 %.2f ms, p99 %.2f ms", of.CPUMicrosPerHandshake, of.P50ms, of.P99ms)
	if of.BatchFill > 0 {
		s += fmt.Sprintf(", %.1f operations a batch", of.BatchFill)
	}
	return s
}

// Count writes a number with commas: 12,345.
func Count(v float64) string {
	s := fmt.Sprintf("%.0f", v)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes all
	return b.String()
}
