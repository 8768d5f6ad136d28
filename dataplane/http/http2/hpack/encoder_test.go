package hpack

import (
	"fmt"
	"strings"
	"testing"

	oracle "golang.org/x/net/http2/hpack"
)

// kinds are the representations that a field gets when it comes again and again.
func kinds(e *Encoder, name, value string, times int) (list []string) {
	for range times {
		b := e.Append(nil, name, value)
		switch {
		case b[0]&indexed != 0:
			list = append(list, "indexed")
		case b[0]&incremental != 0:
			list = append(list, "inserted")
		case b[0]&never != 0:
			list = append(list, "never")
		case b[0]&0xf != 0:
			list = append(list, "name")
		default:
			list = append(list, "literal")
		}
	}
	return list
}

func TestPolicy(t *testing.T) {
	for _, c := range []struct{ name, value, want string }{
		{":method", "GET", "indexed indexed indexed"},
		{":status", "200", "indexed indexed indexed"},
		{"accept-encoding", "gzip, deflate", "indexed indexed indexed"},
		{":authority", "orders.mesh", "name inserted indexed"},
		{":path", "/orders/1", "name inserted indexed"},
		{":path", "/orders?token=1", "name name name"},
		{"user-agent", "curl", "name inserted indexed"},
		{"te", "trailers", "literal inserted indexed"},
		{"grpc-encoding", "identity", "literal inserted indexed"},
		{"content-type", "application/grpc", "name inserted indexed"},
		{"content-length", "17", "name name name"},
		{"date", "Mon, 21 Oct 2013 20:13:21 GMT", "name name name"},
		{"etag", `"1"`, "name name name"},
		{"x-request-id", "1", "literal inserted name"},
		{"traceparent", "00-1-2-01", "literal inserted name"},
		{"authorization", "Bearer x", "never never never"},
		{"proxy-authorization", "Basic x", "never never never"},
		{"cookie", "a=b", "never never never"},
		{"set-cookie", "a=b", "never never never"},
		{"x-api-key", "1", "never never never"},
		{"token", "1", "never never never"},
		{"x-big", strings.Repeat("v", 2000), "literal literal literal"},
	} {
		if got := strings.Join(kinds(NewEncoder(4096), c.name, c.value, 3), " "); got != c.want {
			t.Errorf("%s: %.20s: %s, want %s", c.name, c.value, got, c.want)
		}
	}
	if got := strings.Join(kinds(smallEncoder(0), "user-agent", "curl", 3), " "); got != "name name name" {
		t.Errorf("without a table: %s", got)
	}
}

func smallEncoder(n uint32) *Encoder {
	e := NewEncoder(n)
	e.Begin(nil)
	return e
}

// TestUniqueValuesLeaveTheTableAlone: a stream of paths that never come again does not push out what repeats.
func TestUniqueValuesLeaveTheTableAlone(t *testing.T) {
	e := NewEncoder(4096)
	for i := range 10_000 {
		e.Append(nil, ":path", fmt.Sprintf("/item/%d", i))
		e.Append(nil, "user-agent", "curl")
	}
	if e.table.count != 1 {
		t.Fatalf("%q", entries(&e.table))
	}
}

func TestBeginAnnouncesSizes(t *testing.T) {
	for _, c := range []struct {
		name string
		own  uint32
		peer []uint32
		want string
		max  uint32
	}{
		{"nothing to say", 4096, nil, "", 4096},
		{"less of our own", 0, nil, "\x20", 0},
		{"more of our own, which the peer must allow", 65536, nil, "", 4096},
		{"more of both", 65536, []uint32{65536}, "\x3f\xe1\xff\x03", 65536},
		{"more of the peer", 4096, []uint32{65536}, "", 4096},
		{"less of the peer", 4096, []uint32{0}, "\x20", 0},
		{"down and up", 4096, []uint32{0, 4096}, "\x20\x3f\xe1\x1f", 4096},
		{"down twice and up", 4096, []uint32{100, 30, 200}, "\x3e\x3f\xa9\x01", 200},
	} {
		e := NewEncoder(c.own)
		for _, n := range c.peer {
			e.SetPeerTableSize(n)
		}
		if got := string(e.Begin(nil)); got != c.want || e.table.max != c.max {
			t.Errorf("%s: %q, max %d; want %q", c.name, got, e.table.max, c.want)
		}
		if got := e.Begin(nil); len(got) != 0 {
			t.Errorf("%s: again %q", c.name, got)
		}
	}
}

func TestAppendLower(t *testing.T) {
	e, d := NewEncoder(4096), NewDecoder(4096)
	for i := range 3 {
		got, err := decode(d, e.AppendLower(e.AppendLower(nil, "X-Mixed-Case", "Value"), "plain", "Value"))
		if err != nil || strings.Join(got, ",") != "x-mixed-case: Value,plain: Value" {
			t.Fatal(i, got, err)
		}
	}
	var b []byte
	if n := testing.AllocsPerRun(100, func() { b = e.AppendLower(b[:0], "X-Mixed-Case", "Value") }); n != 0 {
		t.Fatal(n, "allocations")
	}
}

func TestHuffmanOnlyWhereShorter(t *testing.T) {
	e := NewEncoder(0)
	e.Huffman = true
	b := e.Begin(nil)
	b = e.Append(b, "www-authenticate", "Basic")
	b = e.Append(b, "x-raw", "\x00\x01{}")
	if !strings.Contains(string(b), "\x04\x00\x01{}") || strings.Contains(string(b), "Basic") {
		t.Fatalf("%q", b)
	}
	got, err := oracle.NewDecoder(4096, nil).DecodeFull(b)
	if err != nil || len(got) != 2 || got[0].Value != "Basic" || got[1].Value != "\x00\x01{}" {
		t.Fatal(got, err)
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	e, d := NewEncoder(4096), NewDecoder(4096)
	var b []byte
	var a Arena
	fields := 0
	emit := func(string, string) bool { fields++; return true }
	i := 0
	paths := make([]string, 1000)
	for i := range paths {
		paths[i] = fmt.Sprintf("/item/%d", i/2) // each twice, so that it is inserted
	}
	exchange := func() {
		a.Reset()
		i++
		b = e.Begin(b[:0])
		b = e.Append(b, ":path", paths[i%len(paths)])
		for _, f := range request {
			b = e.Append(b, f.name, f.value)
		}
		if err := d.Decode(b, &a, 1<<16, emit); err != nil {
			t.Fatal(err)
		}
	}
	for range 5000 {
		exchange()
	}
	if n := testing.AllocsPerRun(5000, exchange); n != 0 {
		t.Fatal(n, "allocations")
	}
	if e.table.last < 1000 {
		t.Fatal("only", e.table.last, "insertions: this tests nothing")
	}
}
