package telemetry

import (
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func TestEdges(t *testing.T) {
	e := NewEdges()
	failed, reset, gone := request(), connection(), request()
	failed.Status = 503
	reset.Flags = "UC"
	gone.Status, gone.Flags = 0, "DC"
	for _, r := range []*Record{request(), request(), failed, refused(), connection(), reset, gone} {
		e.Opened(r)
		e.Record(r)
	}
	got := map[string]EdgeCount{}
	for _, n := range e.Swap() {
		got[fmt.Sprintf("%v %s", n.Outbound, n.Protocol)] = n
	}
	key := EdgeKey{
		Outbound: true, Source: "frontend", Destination: "cart", SourceID: request().SourceID, DestinationID: request().DestinationID,
		TLSVersion: request().TLSVersion, Protocol: "http",
	}
	in, tcp := key, key
	in.Outbound, tcp.Protocol = false, "tcp"
	want := map[string]EdgeCount{
		"true http":  {EdgeKey: key, Requests: 4, Errors: 1, BytesIn: 40, BytesOut: 8000, Latency: []BucketCount{{Bucket: 102, Count: 4}}},
		"false http": {EdgeKey: in, Requests: 1, Denied: 1, BytesIn: 10, BytesOut: 2000, Latency: []BucketCount{{Bucket: 102, Count: 1}}},
		"true tcp":   {EdgeKey: tcp, Requests: 2, Errors: 1, BytesIn: 20, BytesOut: 4000, Latency: []BucketCount{{Bucket: 102, Count: 2}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if again := e.Swap(); len(again) != 0 {
		t.Errorf("counted twice: %v", again)
	}
}

func TestIdleEdgesAreForgotten(t *testing.T) {
	e := NewEdges()
	e.Record(request())
	for range idleEdges + 1 {
		e.Swap()
	}
	if n := len(e.edges.all()); n != 0 {
		t.Errorf("%d edges are kept", n)
	}
	e.Record(request())
	if n := len(e.Swap()); n != 1 {
		t.Errorf("%d edges after it came back", n)
	}
}

func TestNothingIsLostOverSwaps(t *testing.T) {
	e := NewEdges()
	const writers, each = 4, 5000
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			r := request()
			r.DestinationService = []string{"a", "b"}[w%2]
			for range each {
				e.Record(r)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	var total uint64
	for open := true; open; {
		select {
		case <-done:
			open = false
		default:
		}
		clear(e.idle) // swaps are a second apart, and here they are not: no edge may be forgotten between two records
		for _, n := range e.Swap() {
			total += n.Requests
		}
	}
	if total != writers*each {
		t.Errorf("%d of %d requests", total, writers*each)
	}
}

func TestStrangersCostNoMemory(t *testing.T) {
	m, e := NewMetrics(), NewEdges()
	for i := range 3 * maxSeries {
		r := refused()
		r.SourceID, r.Policy = fmt.Sprint("spiffe://stranger/", i), fmt.Sprint("MeshTrafficPermission/", i)
		m.Record(r)
		e.Record(r)
		c := connection()
		c.SourceID = r.SourceID
		m.Opened(c)
	}
	if n := len(m.HTTP()); n > maxSeries+1 {
		t.Errorf("%d series of requests", n)
	}
	if n := len(m.TCP()); n > maxSeries+1 {
		t.Errorf("%d series of connections", n)
	}
	if n := len(m.Refused()); n > maxRefusals+1 {
		t.Errorf("%d series of refusals", n)
	}
	var total uint64
	for _, n := range e.Swap() {
		total += n.Denied
	}
	if total != 3*maxSeries {
		t.Errorf("%d denied of %d", total, 3*maxSeries)
	}
	total = 0
	for _, s := range m.HTTP() {
		total += s.Requests.Value()
	}
	if total != 3*maxSeries {
		t.Errorf("%d requests of %d", total, 3*maxSeries)
	}
}

func TestRing(t *testing.T) {
	g := NewRing()
	text := []byte("req-refused")
	r := refused()
	r.RequestID = string(text)
	r.TransportFailure = "tls: bad certificate"
	g.Record(r)
	for i := range keptOthers + 10 {
		o := request()
		o.Start = o.Start.Add(time.Duration(i) * time.Millisecond)
		o.RequestID, o.Path, o.DestinationService = fmt.Sprint("req-", i), fmt.Sprintf("/p%d?q=%d", i%7, i), []string{"cart", "catalog"}[i%2]
		g.Record(o)
	}
	if got := g.Query(Filter{RequestID: "req-refused"}); len(got) != 1 {
		t.Fatalf("traffic pushed the refusal out: %v", got)
	} else {
		want := decisionOf(r)
		if diff := cmp.Diff(want, got[0], cmpopts.EquateComparable(netip.AddrPort{})); diff != "" {
			t.Error(diff)
		}
	}
	if got := g.Query(Filter{RequestID: "req-3"}); len(got) != 0 {
		t.Error("the oldest is still there")
	}
	got := g.Query(Filter{Peer: "catalog", Limit: 3})
	if len(got) != 3 || got[0].RequestID != fmt.Sprint("req-", keptOthers+9) {
		t.Errorf("newest of catalog are %v", got)
	}
	if got := g.Query(Filter{Peer: "frontend"}); len(got) != 1 {
		t.Errorf("the peer of an inbound is the source: %d", len(got))
	}
	if got := g.Query(Filter{Path: "/p3", Method: "GET", Limit: 5}); len(got) != 5 {
		t.Errorf("%d with that path", len(got))
	}
	if got := g.Query(Filter{Path: "/p3?q=3076", Limit: 5}); len(got) != 1 {
		t.Errorf("%d with that path and query", len(got))
	}
	if got := g.Query(Filter{Method: "POST"}); len(got) != 0 {
		t.Errorf("%d with another method", len(got))
	}
	if got := g.Query(Filter{Refused: true}); len(got) != 1 {
		t.Errorf("%d refused", len(got))
	}
	if got := g.Query(Filter{}); len(got) != 100 {
		t.Errorf("%d without a limit", len(got))
	}
}

// A record's strings are the codec's buffers: what is remembered must not change with them.
func TestRingAndRefusalsCopyStrings(t *testing.T) {
	g, q := NewRing(), NewRefusals(1)
	buffer := []byte("/secret")
	r := refused()
	r.Path = unsafe.String(&buffer[0], len(buffer))
	g.Record(r)
	q.Record(r)
	copy(buffer, "XXXXXXX")
	if p := g.Query(Filter{})[0].Path; p != "/secret" {
		t.Errorf("ring has %q", p)
	}
	if d := <-q.C(); d.Path != "/secret" {
		t.Errorf("queue has %q", d.Path)
	}
}

func TestLongStringsAreCut(t *testing.T) {
	g := NewRing()
	r := request()
	r.Path = "/" + strings.Repeat("x", 1<<20)
	g.Record(r)
	if n := len(g.Query(Filter{})[0].Path); n != longest {
		t.Errorf("%d bytes", n)
	}
}

func TestRingUnderLoad(t *testing.T) {
	g := NewRing()
	var wg sync.WaitGroup
	for range 3 {
		wg.Go(func() {
			for range 10_000 {
				g.Record(request())
				g.Record(refused())
			}
		})
	}
	for range 20 {
		for _, d := range g.Query(Filter{Limit: 50}) {
			if d.RequestID != "req-1" || d.Path != "/items?id=1" {
				t.Fatalf("torn decision %+v", d)
			}
		}
	}
	wg.Wait()
}

func TestRefusalsNeverBlock(t *testing.T) {
	q := NewRefusals(2)
	for range 5 {
		q.Record(refused())
		q.Record(request())
	}
	if q.TakeDropped() != 3 || q.TakeDropped() != 0 || len(q.C()) != 2 {
		t.Error("wrong count of dropped refusals")
	}
}

// The request path: nothing is allocated once a series, an edge and a ring's slots exist.
func TestRecordingDoesNotAllocate(t *testing.T) {
	w := NewLogWriter(discard{})
	defer w.Close()
	g := NewRing()
	all := Tee(NewMetrics(), NewEdges(), g, NewRefusals(1), NewTextLog(w), nil)
	r := request()
	for range keptOthers {
		g.Record(r)
	}
	all.Record(r)
	if n := testing.AllocsPerRun(1000, func() { all.Record(r) }); n >= 2 {
		// The log's buffers grow now and then, and %RESPONSE_HEADER(X-ENVOY-UPSTREAM-SERVICE-TIME)% is below 100 here.
		t.Errorf("%v allocations a record", n)
	}
	counters := Tee(NewMetrics(), NewEdges(), g)
	counters.Record(r)
	if n := testing.AllocsPerRun(1000, func() { counters.Record(r) }); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkMetrics(b *testing.B) { benchmarkRecorder(b, NewMetrics()) }
func BenchmarkEdges(b *testing.B)   { benchmarkRecorder(b, NewEdges()) }
func BenchmarkRing(b *testing.B)    { benchmarkRecorder(b, NewRing()) }

func benchmarkRecorder(b *testing.B, to Recorder) {
	r := request()
	b.ReportAllocs()
	for b.Loop() {
		to.Record(r)
	}
}
