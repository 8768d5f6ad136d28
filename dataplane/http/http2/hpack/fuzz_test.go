package hpack

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	oracle "golang.org/x/net/http2/hpack"
)

var seeds = []string{
	"\x82\x86\x84\x41\x0fwww.example.com\x82\xbe",
	"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff\xbe\x7e\x01a",
	"\x20\x3f\xe1\x1f\x40\x01a\x01b\xbe",
	"\x3f\x03\x40\x01a\x01b\x40\x01c\x00\xbe\x7e\x02de\xbe",
	"\x10\x08password\x06secret\x0f\x2f\x03abc",
	"\x44\x7f\x80\x01" + strings.Repeat("a", 255) + "\xbe\xbe",
	"\x00\x81\x1f\x84\xff\xff\xff\xfa",
}

// FuzzDecode: blocks, one after the other on one connection, that mean the same here and in x/net.
func FuzzDecode(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), []byte("\xbe"), uint8(0))
		f.Add([]byte(s), []byte(s), uint8(200))
	}
	f.Fuzz(func(t *testing.T, one, two []byte, size uint8) {
		ours, theirs := NewDecoder(4096), oracle.NewDecoder(4096, nil)
		if size > 0 { // a small table, so that things are evicted
			ours.table.resize(uint32(size))
			theirs.SetMaxDynamicTableSize(uint32(size))
		}
		for _, block := range [][]byte{one, two} {
			got, err := decode(ours, block)
			want, theirErr := theirs.DecodeFull(block)
			if len(block) == 0 {
				continue
			}
			if err != nil || theirErr != nil {
				if (err == nil) != (theirErr == nil) && !knownDifference(err, theirErr) {
					t.Fatalf("%q: %q, %v; x/net: %q, %v", block, got, err, want, theirErr)
				}
				return
			}
			if list := lines(want); !slices.Equal(got, list) {
				t.Fatalf("%q: %q; x/net: %q", block, got, list)
			}
			if int(ours.table.count) > 128 || ours.table.size > ours.table.max {
				t.Fatalf("table of %d entries, %d bytes", ours.table.count, ours.table.size)
			}
		}
	})
}

// knownDifference lists where we and x/net refuse different things.
func knownDifference(ours, theirs error) bool {
	switch {
	case ours == nil:
		// RFC 7541 section 4.2 allows two updates at a block's start; x/net takes the second for a late one.
		return strings.Contains(theirs.Error(), "MUST occur at the beginning")
	case errors.Is(ours, errLateResize):
		return true // x/net allows it anywhere while the table is empty
	case errors.Is(ours, errInteger):
		return true // section 5.1 leaves the limit to us; x/net's is 2^63
	}
	return false
}

func lines(fields []oracle.HeaderField) (list []string) {
	for _, f := range fields {
		list = append(list, f.Name+": "+f.Value)
	}
	return list
}

// FuzzRoundTrip: what we write, x/net and we read alike, and the other way round, while table sizes change. The script's lines
// are fields; one that begins with "!" ends a block and sets sizes.
func FuzzRoundTrip(f *testing.F) {
	f.Add(":path /a\nx-a b\n!\n:path /a\nx-a b\n!\n:path /a\nx-a b", uint16(4096), false)
	f.Add("a b\n!0\na b\n!~\na b\n!A\na b", uint16(100), true)
	f.Add("cookie a\nx-request-id 1\n!\nx-request-id 2\n!\nx-request-id 3\nte trailers\nte trailers\nte trailers", uint16(8192), true)
	f.Fuzz(func(t *testing.T, script string, size uint16, huffman bool) {
		if len(script) > 1<<14 {
			return
		}
		own := uint32(size)
		e := NewEncoder(own)
		e.Huffman = huffman
		ours, theirs := NewDecoder(4096), oracle.NewDecoder(4096, nil)
		ours.setting, ours.allowed = 1<<16, 1<<16
		theirs.SetAllowedMaxDynamicTableSize(1 << 16)
		var out strings.Builder
		their := oracle.NewEncoder(&out)
		back := NewDecoder(4096)
		block := e.Begin(nil)
		var want []string
		check := func() {
			got, err := decode(ours, block)
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("%q, want %q: %v", got, want, err)
			}
			// x/net takes the second of two updates at a block's start for a late one: it gets them as blocks of their own.
			rest := block
			for len(rest) > 0 && rest[0]&0xe0 == resize {
				_, after, _ := integer(rest, 5)
				if _, err := theirs.DecodeFull(rest[:len(rest)-len(after)]); err != nil {
					t.Fatal(err)
				}
				rest = after
			}
			fields, err := theirs.DecodeFull(rest)
			if err != nil || !slices.Equal(lines(fields), want) {
				t.Fatalf("x/net: %q, want %q: %v", fields, want, err)
			}
			if !slices.Equal(entries(&e.table), entries(&ours.table)) {
				t.Fatalf("tables: %q and %q", entries(&e.table), entries(&ours.table))
			}
			got, err = decode(back, []byte(out.String()))
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("from x/net: %q, want %q: %v", got, want, err)
			}
			out.Reset()
			want = nil
		}
		for line := range strings.SplitSeq(script, "\n") {
			if to, ok := strings.CutPrefix(line, "!"); ok {
				check()
				for i := range len(to) {
					e.SetPeerTableSize(uint32(to[i]) * 64)
					their.SetMaxDynamicTableSize(uint32(to[i]) * 16) // up to what back allows
				}
				block = e.Begin(block[:0])
				continue
			}
			name, value, _ := strings.Cut(line, " ")
			name = strings.ToLower(name)
			block = e.Append(block, name, value)
			if err := their.WriteField(oracle.HeaderField{Name: name, Value: value}); err != nil {
				t.Fatal(err)
			}
			want = append(want, name+": "+value)
		}
		check()
	})
}

// FuzzHuffman: what is written is read back and is what x/net writes; what is accepted is written in no other way.
func FuzzHuffman(f *testing.F) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	f.Add(all)
	f.Add([]byte("www.example.com"))
	f.Add([]byte("\xff\xff\xff\xff"))
	f.Add([]byte("\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff"))
	f.Fuzz(func(t *testing.T, data []byte) {
		coded := appendHuffman(nil, string(data))
		if want := oracle.AppendHuffmanString(nil, string(data)); string(coded) != string(want) || len(coded) != huffmanSize(string(data)) {
			t.Fatalf("%q: %x (%d), x/net: %x", data, coded, huffmanSize(string(data)), want)
		}
		text, err := decodeHuffman(make([]byte, 0, huffmanRoom(len(coded))), coded)
		if err != nil || string(text) != string(data) {
			t.Fatalf("%q came back as %q: %v", data, text, err)
		}
		text, err = decodeHuffman(make([]byte, 0, huffmanRoom(len(data))), data)
		want, theirErr := oracle.HuffmanDecodeToString(data)
		if (err == nil) != (theirErr == nil) || err == nil && string(text) != want {
			t.Fatalf("%x: %q, %v; x/net: %q, %v", data, text, err, want, theirErr)
		}
		if len(text) > huffmanRoom(len(data)) {
			t.Fatalf("%d bytes became %d", len(data), len(text))
		}
		if err == nil && string(appendHuffman(nil, string(text))) != string(data) {
			t.Fatalf("%x is not the only code of %q", data, text)
		}
	})
}

func ExampleEncoder() {
	e, d := NewEncoder(4096), NewDecoder(4096)
	var arena Arena
	for range 3 {
		block := e.Begin(nil)
		block = e.Append(block, ":method", "GET")
		block = e.Append(block, ":authority", "orders.mesh")
		err := d.Decode(block, &arena, 64<<10, func(name, value string) bool {
			fmt.Print(name, "=", value, " ")
			return true
		})
		fmt.Println(len(block), err)
		arena.Reset()
	}
	// Output:
	// :method=GET :authority=orders.mesh 14 <nil>
	// :method=GET :authority=orders.mesh 14 <nil>
	// :method=GET :authority=orders.mesh 2 <nil>
}
