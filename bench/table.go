package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// results are all runs.
type results struct {
	base   string
	absent []string
	rows   []*row // in the order of their first run
}

// row is one peer on one workload.
type row struct {
	w    workload
	peer string
	runs []metrics
}

func (r *results) add(w workload, p peer, m metrics) {
	if have := r.row(w.name, p.name); have != nil {
		have.runs = append(have.runs, m)
		return
	}
	r.rows = append(r.rows, &row{w, p.name, []metrics{m}})
}

func (r *results) row(workload, peer string) *row {
	for _, have := range r.rows {
		if have.w.name == workload && have.peer == peer {
			return have
		}
	}
	return nil
}

// medians are a row's. What is added to the time without a proxy needs the row of that.
func (r *results) medians(of *row) metrics {
	m := metrics{}
	for _, c := range append(of.w.columns, column{metric: "errors"}, column{metric: "noise"}) {
		var all []float64
		for _, run := range of.runs {
			if v, ok := run[c.metric]; ok {
				all = append(all, v)
			}
		}
		if len(all) > 0 {
			m[c.metric] = median(all)
		}
	}
	if direct := r.row(of.w.name, "direct"); direct != nil && direct != of && of.w.mode != "hold" {
		m["addedP50Micros"] = m["p50Micros"] - r.medians(direct)["p50Micros"]
	}
	return m
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// ratios are a row's medians over those of the base peer, or of the one that a column is against.
func (r *results) ratios(of *row) metrics {
	ratios, own := metrics{}, r.medians(of)
	for _, c := range of.w.columns {
		base := r.row(of.w.name, cmp.Or(c.against, r.base))
		if base == nil {
			continue
		}
		if v, theirs := own[c.metric], r.medians(base)[c.metric]; v > 0 && theirs > 0 {
			ratios[c.ratio()] = v / theirs
		}
	}
	return ratios
}

// table prints a Markdown table for each workload. Where there is a mark, the ratio stands beside the value.
func (r *results) table(out io.Writer) error {
	var b strings.Builder
	for i, of := range r.rows {
		if i == 0 || r.rows[i-1].w.name != of.w.name {
			r.head(&b, of.w)
		}
		m, ratios := r.medians(of), r.ratios(of)
		fmt.Fprintf(&b, "| %s |", of.peer)
		for _, c := range of.w.columns {
			if c.against == "" {
				b.WriteString(cell(m, c.metric, "%.*f", c.digits))
			}
			if c.mark != 0 || c.against != "" {
				b.WriteString(cell(ratios, c.ratio(), "%.*f", 2))
			}
		}
		fmt.Fprintf(&b, " %d |%s%s\n", len(of.runs), cell(m, "errors", "%.*f", 0), cell(m, "noise", "%.*f", 2))
	}
	for _, a := range r.absent {
		fmt.Fprintf(&b, "\nNot measured: %s\n", a)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func (r *results) head(b *strings.Builder, w workload) {
	fmt.Fprintf(b, "\n### %s\n\n| peer |", w.title)
	rule := "|---|"
	for _, c := range w.columns {
		if c.against == "" {
			fmt.Fprintf(b, " %s |", c.title)
			rule += "---|"
		}
		if c.mark == 0 && c.against == "" {
			continue
		}
		rule += "---|"
		b.WriteString(strings.TrimRight(" x "+c.against, " "))
		if c.mark != 0 {
			fmt.Fprintf(b, " (mark %.2f, aim %.2f)", c.mark, c.aim)
		}
		b.WriteString(" |")
	}
	fmt.Fprintf(b, " runs | errors | noise |\n%s---|---|---|\n", rule)
}

func cell(m metrics, name, format string, digits int) string {
	if v, ok := m[name]; ok {
		return " " + fmt.Sprintf(format, digits, v) + " |"
	}
	return "  |"
}

// json prints all runs with their medians and ratios.
func (r *results) json(out io.Writer) error {
	type entry struct {
		Workload string    `json:"workload"`
		Peer     string    `json:"peer"`
		Medians  metrics   `json:"medians"`
		Ratios   metrics   `json:"ratios"`
		Runs     []metrics `json:"runs"`
	}
	document := struct {
		Base    string   `json:"base"`
		Absent  []string `json:"absent"`
		Results []entry  `json:"results"`
	}{Base: r.base, Absent: append([]string{}, r.absent...), Results: []entry{}}
	for _, of := range r.rows {
		document.Results = append(document.Results, entry{of.w.name, of.peer, r.medians(of), r.ratios(of), of.runs})
	}
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(document)
}
