package hpack

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	oracle "golang.org/x/net/http2/hpack"
)

func TestStaticTableIsTheRFCs(t *testing.T) {
	for i := 1; i <= staticEntries; i++ {
		want, err := oracle.NewDecoder(0, nil).DecodeFull([]byte{indexed | byte(i)})
		if err != nil {
			t.Fatal(err)
		}
		if p := staticTable[i]; p.name != want[0].Name || p.value != want[0].Value {
			t.Errorf("entry %d is %v, want %v", i, p, want[0])
		}
		first := staticName(staticTable[i].name)
		if first == 0 || first > uint8(i) || staticTable[first].name != staticTable[i].name {
			t.Errorf("%s: first entry %d, of entry %d", staticTable[i].name, first, i)
		}
		if got := staticPair(first, staticTable[i].value); got != uint8(i) {
			t.Errorf("entry %d is found as %d", i, got)
		}
	}
	if staticName("x-none") != 0 || staticPair(2, "PUT") != 0 || staticPair(61, "none") != 0 {
		t.Error("found what is not there")
	}
}

func TestMalformedBlocks(t *testing.T) {
	for _, c := range []struct {
		name, block string
		want        error
	}{
		{"index 0", "\x80", errIndex},
		{"index above the table", "\xbe", errIndex},
		{"name index above the table", "\x7e\x00", errIndex},
		{"name index above the table, not indexed", "\x0f\x2f\x00", errIndex},
		{"index of 2^32 + 2", "\xff\x83\xff\xff\xff\x0f", errInteger},
		{"index that never ends", "\xff" + strings.Repeat("\x80", 20), errInteger},
		{"index with too many zeros", "\x8f\xff\x80\x80\x80\x80\x80\x00", errInteger},
		{"length beyond int", "\x00\x7f\xff\xff\xff\xff\x7f", errInteger},
		{"integer cut", "\xff\x80", errTruncated},
		{"no name", "\x40", errTruncated},
		{"name cut", "\x40\x03ab", errTruncated},
		{"no value", "\x44", errTruncated},
		{"value cut", "\x44\x02a", errTruncated},
		{"value length cut", "\x44\x7f", errTruncated},
		{"Huffman: EOS", "\x44\x84\xff\xff\xff\xff", errHuffman},
		{"Huffman: EOS after a letter", "\x44\x85\x1f\xff\xff\xff\xff", errHuffman},
		{"Huffman: padding of 8 bits", "\x44\x82\x1f\xff", errHuffman},
		{"Huffman: padding of zeros", "\x44\x81\x18", errHuffman},
		{"Huffman: code cut", "\x44\x81\xfe", errHuffman},
		{"Huffman in a name", "\x40\x81\x18\x00", errHuffman},
		{"size update after a field", "\x82\x20", errLateResize},
		{"size update above the setting", "\x3f\xe2\x1f", errResize},
		{"size update cut", "\x3f", errTruncated},
	} {
		got, err := decode(NewDecoder(4096), []byte(c.block))
		if !errors.Is(err, c.want) {
			t.Errorf("%s: %q, %v; want %v", c.name, got, err, c.want)
		}
	}
}

func TestSizeUpdates(t *testing.T) {
	d := NewDecoder(4096)
	if _, err := decode(d, []byte("\x40\x01a\x01b\x40\x01c\x01d")); err != nil || d.table.count != 2 {
		t.Fatal(d.table.count, err)
	}
	// Down to one entry's size, and up to the setting: two updates at once.
	got, err := decode(d, []byte("\x3f\x03\x3f\xe1\x1f\xbe"))
	if err != nil || !slices.Equal(got, []string{"c: d"}) || d.table.max != 4096 {
		t.Fatal(got, d.table.max, err)
	}
	if _, err := decode(d, []byte("\x20")); err != nil || d.table.count != 0 {
		t.Fatal(d.table.count, err)
	}
	if _, err := decode(d, []byte("\x40\x01a\x01b\xbe")); !errors.Is(err, errIndex) {
		t.Fatal("an entry in a table of size 0:", err)
	}
}

func TestSmallerTableBindsOnceItIsAcknowledged(t *testing.T) {
	d := NewDecoder(100)
	if got, err := decode(d, []byte("\x40\x01a\x01b\xbe")); err != nil || len(got) != 2 {
		t.Fatal("before the peer knew the setting:", got, err)
	}
	d.Acknowledged()
	if _, err := decode(d, []byte("\xbe")); !errors.Is(err, errNoResize) {
		t.Fatal("no size update:", err)
	}
	if _, err := decode(d, []byte("\x3f\xe1\x1f")); !errors.Is(err, errResize) {
		t.Fatal("the size of before:", err)
	}
	if got, err := decode(d, []byte("\x3f\x45\xbe")); err != nil || !slices.Equal(got, []string{"a: b"}) {
		t.Fatal(got, err)
	}
}

func TestListLimit(t *testing.T) {
	d := NewDecoder(4096)
	var a Arena
	var got []string
	take := func(name, value string) bool { got = append(got, name+"="+value); return true }
	// Two fields of 34 fit into 68; the third is left out, but enters the table.
	block := []byte("\x00\x01a\x01b\x00\x01c\x01d\x40\x01e\x01f")
	if err := d.Decode(block, &a, 68, take); !errors.Is(err, ErrListTooLarge) || !slices.Equal(got, []string{"a=b", "c=d"}) {
		t.Fatal(got, err)
	}
	got = nil
	if err := d.Decode([]byte("\xbe"), &a, 34, take); err != nil || !slices.Equal(got, []string{"e=f"}) {
		t.Fatal(got, err)
	}
	got = nil
	if err := d.Decode([]byte("\x82\xbe\x82\x40\x01g\x01h"), &a, 1<<20, func(name, value string) bool {
		take(name, value)
		return len(got) < 2
	}); err != nil || !slices.Equal(got, []string{":method=GET", "e=f"}) || d.table.count != 2 {
		t.Fatal("emit returned false:", got, d.table.count, err)
	}
}

// TestBomb: one big entry that is referred to by one byte each time.
func TestBomb(t *testing.T) {
	d := NewDecoder(4096)
	var a Arena
	big := append([]byte("\x40\x01a\x7f\xa1\x1e"), bytes.Repeat([]byte{'v'}, 4000)...)
	const limit = 64 << 10
	emitted := 0
	emit := func(name, value string) bool { emitted += len(name) + len(value) + overhead; return true }
	if err := d.Decode(append(big, bytes.Repeat([]byte{0xbe}, 1<<16)...), &a, limit, emit); !errors.Is(err, ErrListTooLarge) {
		t.Fatal(err)
	}
	if emitted > limit || cap(a.block) > 4*limit {
		t.Fatalf("emitted %d, memory %d", emitted, cap(a.block))
	}
	// With entries whose name is the big one, each of which has to be copied.
	a.Reset()
	d = NewDecoder(4096)
	big = append([]byte("\x40\x7f\xa1\x1e"), append(bytes.Repeat([]byte{'n'}, 4000), 0)...)
	if err := d.Decode(append(big, bytes.Repeat([]byte{0x7e, 0x00}, 1<<16)...), &a, limit, emit); !errors.Is(err, errBomb) {
		t.Fatal(err)
	}
	if cap(a.block) > 4*limit || cap(d.table.text) > 2*4096 {
		t.Fatalf("memory %d, table %d", cap(a.block), cap(d.table.text))
	}
}

func TestArenaKeepsWhatItGaveOut(t *testing.T) {
	var a Arena
	var given []string
	for i := range 3000 {
		given = append(given, a.Add([]byte{byte(i), byte(i >> 8), 'x'}))
	}
	for i, s := range given {
		if s != string([]byte{byte(i), byte(i >> 8), 'x'}) {
			t.Fatalf("string %d is %q", i, s)
		}
	}
	a.Reset()
	if cap(a.block) == 0 || cap(a.block) > arenaKept {
		t.Fatal("kept", cap(a.block))
	}
	if n := testing.AllocsPerRun(10, func() { a.Reset(); a.Add([]byte("abc")) }); n != 0 {
		t.Fatal(n, "allocations")
	}
	a.Add(make([]byte, 2*arenaKept))
	a.Reset()
	if cap(a.block) != 0 {
		t.Fatal("kept", cap(a.block))
	}
}

// TestTableIsBounded: whatever is inserted, the memory stays below twice the size that was announced.
func TestTableIsBounded(t *testing.T) {
	tb := table{max: 4096}
	for i := range 100_000 {
		n := i * 7919 % 5000
		tb.insert(uint8(i%2)*17, strings.Repeat("n", n%40), strings.Repeat("v", n))
		if tb.size > tb.max || cap(tb.text) > 2*4096+512 || len(tb.entries) > 128 {
			t.Fatalf("size %d, text %d, entries %d", tb.size, cap(tb.text), len(tb.entries))
		}
	}
}
