package hpack

import (
	"encoding/hex"
	"slices"
	"strings"
	"testing"
)

// The examples of RFC 7541 appendix C.

func TestIntegers(t *testing.T) { // C.1
	for _, c := range []struct {
		n      uint32
		prefix uint
		want   string
	}{{10, 5, "0a"}, {1337, 5, "1f9a0a"}, {42, 8, "2a"}} {
		if got := hex.EncodeToString(appendInteger(nil, 0, c.prefix, c.n)); got != c.want {
			t.Errorf("%d: %s, want %s", c.n, got, c.want)
		}
		n, rest, err := integer(unhex(t, c.want+"ff"), c.prefix)
		if err != nil || n != c.n || len(rest) != 1 {
			t.Errorf("%s: %d, %d bytes left, %v", c.want, n, len(rest), err)
		}
	}
	for _, n := range []uint32{0, 30, 31, 32, 127, 128, 16383, 1 << 20, maxInteger} {
		got, rest, err := integer(appendInteger(nil, 0, 5, n), 5)
		if err != nil || got != n || len(rest) != 0 {
			t.Errorf("%d came back as %d, %d bytes left, %v", n, got, len(rest), err)
		}
	}
}

func TestSingleFields(t *testing.T) { // C.2
	for _, c := range []struct {
		name, block, field string
		table              uint32
	}{
		{"with indexing", "400a637573746f6d2d6b65790d637573746f6d2d686561646572", "custom-key: custom-header", 55},
		{"without indexing", "040c2f73616d706c652f70617468", ":path: /sample/path", 0},
		{"never indexed", "100870617373776f726406736563726574", "password: secret", 0},
		{"indexed", "82", ":method: GET", 0},
	} {
		d := NewDecoder(4096)
		got, err := decode(d, unhex(t, c.block))
		if err != nil || !slices.Equal(got, []string{c.field}) || d.table.size != c.table {
			t.Errorf("%s: %q, table of %d, %v", c.name, got, d.table.size, err)
		}
	}
}

// message is what a block says, and the dynamic table afterwards, newest first.
type message struct {
	fields, table []string
	size          uint32
}

func TestMessages(t *testing.T) {
	requests := []message{{fields: []string{":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com"},
		table: []string{":authority: www.example.com"}, size: 57,
	}, {fields: []string{":method: GET", ":scheme: http", ":path: /", ":authority: www.example.com", "cache-control: no-cache"},
		table: []string{"cache-control: no-cache", ":authority: www.example.com"}, size: 110,
	}, {fields: []string{":method: GET", ":scheme: https", ":path: /index.html", ":authority: www.example.com", "custom-key: custom-value"},
		table: []string{"custom-key: custom-value", "cache-control: no-cache", ":authority: www.example.com"}, size: 164,
	}}
	const (
		date21 = "date: Mon, 21 Oct 2013 20:13:21 GMT"
		date22 = "date: Mon, 21 Oct 2013 20:13:22 GMT"
		at     = "location: https://www.example.com"
		cookie = "set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"
	)
	responses := []message{{fields: []string{":status: 302", "cache-control: private", date21, at},
		table: []string{at, date21, "cache-control: private", ":status: 302"}, size: 222,
	}, {fields: []string{":status: 307", "cache-control: private", date21, at},
		table: []string{":status: 307", at, date21, "cache-control: private"}, size: 222,
	}, {fields: []string{":status: 200", "cache-control: private", date22, at, "content-encoding: gzip", cookie},
		table: []string{cookie, "content-encoding: gzip", date22}, size: 215,
	}}
	for _, c := range []struct {
		name     string
		max      uint32
		messages []message
		blocks   []string
	}{
		{"C.3", 4096, requests, []string{
			"828684410f7777772e6578616d706c652e636f6d",
			"828684be58086e6f2d6361636865",
			"828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
		}},
		{"C.4", 4096, requests, []string{
			"828684418cf1e3c2e5f23a6ba0ab90f4ff",
			"828684be5886a8eb10649cbf",
			"828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf",
		}},
		{"C.5", 256, responses, []string{
			"4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54" +
				"6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
			"4803333037c1c0bf",
			"88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153" +
				"444a4b48514b425a584f5157454f50495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
		}},
		{"C.6", 256, responses, []string{
			"488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
			"4883640effc1c0bf",
			"88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960" +
				"d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := NewDecoder(4096)
			d.table.resize(c.max)
			for i, m := range c.messages {
				got, err := decode(d, unhex(t, c.blocks[i]))
				if err != nil || !slices.Equal(got, m.fields) {
					t.Fatalf("block %d: %q, %v", i+1, got, err)
				}
				if got := entries(&d.table); !slices.Equal(got, m.table) || d.table.size != m.size {
					t.Fatalf("block %d: the table is %q of %d", i+1, got, d.table.size)
				}
			}
		})
	}
}

func decode(d *Decoder, block []byte) (fields []string, err error) {
	var a Arena
	err = d.Decode(block, &a, 1<<20, func(name, value string) bool {
		fields = append(fields, strings.Clone(name)+": "+strings.Clone(value))
		return true
	})
	return fields, err
}

func entries(t *table) (list []string) {
	for i := range t.count {
		e := t.at(t.last - i)
		list = append(list, t.name(e)+": "+t.value(e))
	}
	return list
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
