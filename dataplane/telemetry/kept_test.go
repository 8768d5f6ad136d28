package telemetry

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

// inMemory copies all strings of r into one piece of memory, as a codec has them, and returns it.
func inMemory(r *Record) []byte {
	block := make([]byte, 0, 64<<10)
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		f := v.Field(i)
		if f.Kind() != reflect.String {
			continue
		}
		s := f.String()
		if s == "" {
			s = "some " + v.Type().Field(i).Name
		}
		from := len(block)
		block = append(block, s...)
		f.SetString(unsafe.String(&block[from], len(s)))
	}
	return block
}

// TestNobodyKeepsStrings: the strings of a record are views of memory that the next request overwrites. Whatever is told
// later of a request must be told of copies.
func TestNobodyKeepsStrings(t *testing.T) {
	var text bytes.Buffer
	out := NewLogWriter(&text)
	format, err := CompileFormat("%REQ(:PATH)% %REQ(X-REQUEST-ID)% %REQ(USER-AGENT)% %ROUTE_NAME% %RESPONSE_CODE_DETAILS%\n")
	if err != nil {
		t.Fatal(err)
	}
	ring, edges, metrics, refusals := NewRing(), NewEdges(), NewMetrics(), NewRefusals(10)
	all := Tee(ring, edges, metrics, refusals, NewTextLog(out), NewJSONLog(out), NewFormatLog(out, format))

	told := func() string {
		return fmt.Sprintf("%+v\n%v\n%v\n%v", ring.Query(Filter{}), keys(metrics.HTTP()), keys(metrics.TCP()), keys(metrics.Refused()))
	}
	var blocks [][]byte
	for _, r := range []*Record{request(), refused(), connection()} {
		protocol := r.Protocol
		blocks = append(blocks, inMemory(r))
		if r.Protocol != protocol {
			t.Fatal(r.Protocol)
		}
		all.Opened(r)
		all.Record(r)
	}
	before := told()
	for _, b := range blocks {
		for i := range b {
			b[i] = '?'
		}
	}
	if after := told(); after != before || strings.Contains(after, "??") {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	// Edges are told once, and refusals leave by a channel.
	later := fmt.Sprintf("%+v", edges.Swap())
	for range len(refusals.C()) {
		later += fmt.Sprintf("%+v", <-refusals.C())
	}
	if strings.Contains(later, "??") || !strings.Contains(later, "frontend") {
		t.Error(later)
	}
	if err := out.Close(); err != nil {
		t.Fatal(err)
	}
	if log := text.String(); strings.Contains(log, "??") || strings.Count(log, "req-1") != 6 {
		t.Error(log)
	}
}

func keys[K comparable, V any](m map[K]V) map[K]bool {
	set := map[K]bool{}
	for k := range m {
		set[k] = true
	}
	return set
}
