package demo

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// facts are what the demo proves, in numbers.
type facts struct {
	Requests uint64     `json:"requests"`
	Errors   uint64     `json:"errors"` // without denied
	Denied   uint64     `json:"denied"`
	Edges    []factEdge `json:"edges"` // between sidecars only
}

// factEdge is one service that called another.
type factEdge struct {
	Source        string  `json:"source"`
	Destination   string  `json:"destination"`
	SourceID      string  `json:"sourceID"`
	DestinationID string  `json:"destinationID"`
	TLSVersion    string  `json:"tlsVersion"`
	Requests      uint64  `json:"requests"`
	P50           float64 `json:"p50ms"`
	P99           float64 `json:"p99ms"`
}

// settledWithin is how long the proxies' reports, one a second, may take to arrive.
const settledWithin = 10 * time.Second

// tell asks the control plane what happened and prints it.
func (d *demo) tell(ctx context.Context, l *load, howLong time.Duration) error {
	edges, err := d.settled(ctx)
	if err != nil {
		return err
	}
	if d.JSON {
		e := json.NewEncoder(d.Out)
		e.SetIndent("", "  ")
		return e.Encode(factsOf(edges))
	}
	refused, err := d.api.why(ctx, frontend, payments, refundsPath)
	if err != nil {
		return err
	}
	s := summary{out: d.Out, command: d.Command, dataDir: d.dataDir, ends: d.Duration > 0}
	s.print(edges, refused, l, howLong)
	return nil
}

// settled waits until every edge of the shop has been told, the refused call with them, and two looks at them in a row
// differ only by what traffic adds.
func (d *demo) settled(ctx context.Context) ([]edge, error) {
	want := 0
	for _, m := range d.members {
		want += len(m.calls)
	}
	var edges []edge
	var last uint64
	looked := time.Time{}
	err := d.children.eventually(ctx, "reports of the proxies", settledWithin, func(ctx context.Context) error {
		if time.Since(looked) < 1200*time.Millisecond {
			return fmt.Errorf("%d of %d edges were reported", len(edges), want)
		}
		all, err := d.api.edges(ctx)
		if err != nil {
			return err
		}
		looked = time.Now()
		edges = betweenSidecars(all)
		seen := factsOf(edges)
		still := seen.Requests == last
		last = seen.Requests
		if len(edges) < want || seen.Requests == 0 || !still && d.Duration > 0 {
			return fmt.Errorf("%d of %d edges were reported", len(edges), want)
		}
		return nil
	})
	return edges, err
}

// betweenSidecars leaves out what no second proxy has proven itself for.
func betweenSidecars(all []edge) []edge {
	return slices.DeleteFunc(slices.Clone(all), func(e edge) bool { return e.SourceID == "" || e.DestinationID == "" })
}

func factsOf(edges []edge) facts {
	f := facts{Edges: []factEdge{}}
	for _, e := range edges {
		f.Requests += e.Requests
		f.Errors += e.Errors
		f.Denied += e.Denied
		f.Edges = append(f.Edges, factEdge{
			Source: e.Source, Destination: e.Destination, SourceID: e.SourceID, DestinationID: e.DestinationID,
			TLSVersion: e.TLSVersion, Requests: e.Requests, P50: e.P50, P99: e.P99,
		})
	}
	return f
}

// summary prints for people.
type summary struct {
	out     io.Writer
	command string
	dataDir string
	ends    bool // the demo ends by itself
}

func (s summary) line(format string, args ...any) { fmt.Fprintf(s.out, format+"\n", args...) }

func (s summary) print(edges []edge, refused refusal, l *load, howLong time.Duration) {
	f := factsOf(edges)
	s.line("")
	s.line("%d requests between sidecars in %s: %d errors, %d refused by policy.", f.Requests, howLong, f.Errors, f.Denied)
	s.line("")
	s.table(edges)
	s.line("")
	s.identities(edges)
	s.line("")
	s.refusal(refused)
	s.line("")
	s.pages(l)
	if s.ends {
		return
	}
	s.line("")
	s.line("Try next, in another terminal:")
	for _, args := range []string{"edges", "why frontend payments --path " + refundsPath, "status"} {
		s.line("  %s %s --data-dir %s", s.command, args, s.dataDir)
	}
	s.line("")
	s.line("Ctrl-C ends the demo and leaves nothing behind.")
}

func (s summary) table(edges []edge) {
	t := tabwriter.NewWriter(s.out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "SOURCE\tDESTINATION\tREQUESTS\tERRORS\tDENIED\tP50\tP99\tTLS")
	for _, e := range edges {
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%.1f ms\t%.1f ms\t%s\n",
			e.Source, e.Destination, e.Requests, e.Errors, e.Denied, e.P50, e.P99, cmp.Or(e.TLSVersion, "plaintext"))
	}
	t.Flush()
}

func (s summary) identities(edges []edge) {
	proven := map[string]string{}
	for _, e := range edges {
		proven[e.Source], proven[e.Destination] = e.SourceID, e.DestinationID
	}
	s.line("Identities that the handshakes proved:")
	t := tabwriter.NewWriter(s.out, 0, 0, 3, ' ', 0)
	for _, service := range slices.Sorted(maps.Keys(proven)) {
		fmt.Fprintf(t, "  %s\t%s\n", service, proven[service])
	}
	t.Flush()
}

func (s summary) refusal(r refusal) {
	s.line("Refused by policy:")
	t := tabwriter.NewWriter(s.out, 0, 0, 3, ' ', 0)
	fmt.Fprintf(t, "  call\tfrontend -> payments  GET %s\n", refundsPath)
	reason, identity, rule := "", r.Identity, r.Rule
	for _, o := range r.Observed {
		if o.Side == "destination" && o.Reason != "" {
			fmt.Fprintf(t, "  answer\t%d %s, request id %s\n", o.Status, o.Reason, o.RequestID)
			reason, identity, rule = o.Reason, cmp.Or(o.SourceID, identity), cmp.Or(o.Rule, rule)
			break
		}
	}
	if reason == "" {
		fmt.Fprintf(t, "  verdict\t%s\n", r.Verdict)
	}
	fmt.Fprintf(t, "  identity\t%s\n", identity)
	fmt.Fprintf(t, "  rule\t%s\n", rule)
	t.Flush()
}

func (s summary) pages(l *load) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var versions []string
	for _, v := range slices.Sorted(maps.Keys(l.versions)) {
		versions = append(versions, fmt.Sprintf("%s %d times", v, l.versions[v]))
	}
	s.line("The shopper saw %d pages, %d of them incomplete; the catalog on them was %s.", l.pages, l.failed, strings.Join(versions, ", "))
	if l.firstBad != "" {
		s.line("The first that was incomplete: %s", l.firstBad)
	}
}
