package hpack

import "unsafe"

// table is a dynamic table: RFC 7541 section 2.3.2. Its entries are numbered from 1 as they are inserted. Both the entries
// and their text grow to what is used, at most to what max allows, and then stay: insertions do not allocate.
type table struct {
	entries []entry // a ring, its length a power of two: entry n is at n modulo its length
	text    []byte  // the strings of the entries in order, behind some of entries that are gone
	base    uint32  // how much text went before text[0]

	last  uint32 // number of the newest entry
	count uint32
	size  uint32 // by RFC 7541 section 4.1
	max   uint32
}

type entry struct {
	at          uint32 // where its text is, counted from the table's begin; wraps
	name, value uint32 // lengths
	static      uint8  // the static entry of the same name, 0 for none. If there is one, the name is not in text.
}

// has tells whether entry n is in the table.
func (t *table) has(n uint32) bool { return n != 0 && t.last-n < t.count }

func (t *table) at(n uint32) *entry { return &t.entries[n&uint32(len(t.entries)-1)] }

// name is valid until the next insertion, as is value, unless it is static.
func (t *table) name(e *entry) string {
	if e.static != 0 {
		return staticTable[e.static].name
	}
	return t.view(e.at, e.name)
}

func (t *table) value(e *entry) string {
	if e.static != 0 {
		return t.view(e.at, e.value)
	}
	return t.view(e.at+e.name, e.value)
}

func (t *table) view(at, n uint32) string {
	if n == 0 {
		return ""
	}
	return unsafe.String(&t.text[at-t.base], n)
}

// resize changes max. RFC 7541 section 4.3.
func (t *table) resize(max uint32) {
	t.max = max
	t.evict(0)
}

// evict makes room for an entry of that size, if there can be any.
func (t *table) evict(size uint32) {
	for t.count > 0 && t.size+size > t.max {
		e := t.at(t.last - t.count + 1)
		t.size -= e.name + e.value + overhead
		t.count--
	}
}

// insert adds an entry. The strings are copied, and must not be views of the table itself. One that is larger than the table
// empties it: RFC 7541 section 4.4.
func (t *table) insert(static uint8, name, value string) {
	size := uint32(len(name)+len(value)) + overhead
	t.evict(size)
	if size > t.max {
		return
	}
	e := entry{name: uint32(len(name)), value: uint32(len(value)), static: static}
	if static != 0 {
		name = ""
	}
	t.makeRoom(len(name) + len(value))
	e.at = t.base + uint32(len(t.text))
	t.text = append(append(t.text, name...), value...)
	t.last++
	t.count++
	t.size += size
	*t.at(t.last) = e
}

// makeRoom makes room for one more entry and its n bytes of text, moving the text of entries that are gone out of the way.
// Memory is taken until it has room for twice what is alive, so that a byte is moved about once for each that is inserted.
func (t *table) makeRoom(n int) {
	if int(t.count) == len(t.entries) {
		t.growEntries()
	}
	if len(t.text)+n <= cap(t.text) {
		return
	}
	alive := t.text[len(t.text):]
	if t.count > 0 {
		alive = t.text[t.at(t.last-t.count+1).at-t.base:]
	}
	to := t.text[:0]
	if want := 2 * (len(alive) + n); want > cap(t.text) {
		to = make([]byte, 0, max(want, 256))
	}
	t.base += uint32(len(t.text) - len(alive))
	t.text = append(to, alive...)
}

func (t *table) growEntries() {
	old := *t
	t.entries = make([]entry, max(16, 2*len(old.entries)))
	for i := range t.count {
		*t.at(t.last - i) = *old.at(t.last - i)
	}
}
