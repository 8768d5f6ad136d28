package hpack

import (
	"hash/maphash"
	"math/bits"
	"unsafe"
)

// Encoder writes the header blocks of one direction of a connection, in order. It is not safe for concurrent use.
type Encoder struct {
	// Huffman has strings written in Huffman code where that is shorter. It is off by default: a request head between two
	// sidecars (BenchmarkEncode, BenchmarkDecode) loses a quarter of its 77 bytes by it, and takes 1.8 times the CPU at the two
	// ends together. The peer may use it as it likes.
	Huffman bool

	table table
	own   uint32 // how much of the peer's table we use at most
	size  uint32 // of the table from the next block on
	least uint32 // the smallest of the sizes that were set since the last block

	seed  maphash.Seed
	seen  []bucket // its length is a power of two
	lower []byte   // of AppendLower
}

// bucket remembers, for hashes that end alike, what was seen last. It answers two questions at once: which entry has these
// strings, and were they ever seen before. It may forget and it may mistake one hash for another: entries are compared before
// they are believed, and a field that is inserted one time too early or too late costs some bytes.
type bucket [4]slot

type slot struct {
	tag   uint32 // the other half of the hash; 0: free
	entry uint32 // number of an entry that may be gone; 0: seen, not inserted
}

// NewEncoder returns an Encoder that uses a dynamic table of at most maxTable bytes.
func NewEncoder(maxTable uint32) *Encoder {
	e := &Encoder{own: maxTable, seed: maphash.MakeSeed()}
	e.table.max = defaultTable
	e.size = min(maxTable, defaultTable)
	e.least = e.size
	buckets := max(16, min(256, maxTable/64)) // twice as many slots as there can be entries, up to a point
	e.seen = make([]bucket, 1<<bits.Len32(buckets-1))
	return e
}

// SetPeerTableSize takes the peer's SETTINGS_HEADER_TABLE_SIZE. The next block announces what changes by it.
func (e *Encoder) SetPeerTableSize(n uint32) {
	e.size = min(n, e.own)
	e.least = min(e.least, e.size)
}

// Begin starts a block: it appends the size updates that are due. If the size went down and up again the smallest goes first,
// so that the peer evicts what we have to evict: RFC 7541 section 4.2.
func (e *Encoder) Begin(b []byte) []byte {
	if e.least < e.table.max && e.least < e.size {
		b = e.resize(b, e.least)
	}
	if e.size != e.table.max {
		b = e.resize(b, e.size)
	}
	e.least = e.size
	return b
}

func (e *Encoder) resize(b []byte, n uint32) []byte {
	e.table.resize(n)
	return appendInteger(b, resize, 5, n)
}

// AppendLower is Append for a name in any case.
func (e *Encoder) AppendLower(b []byte, name, value string) []byte {
	for i := 0; i < len(name); i++ {
		if 'A' <= name[i] && name[i] <= 'Z' {
			return e.Append(b, e.lowered(name), value)
		}
	}
	return e.Append(b, name, value)
}

// lowered is valid until its next call.
func (e *Encoder) lowered(name string) string {
	e.lower = append(e.lower[:0], name...)
	for i, c := range e.lower {
		if 'A' <= c && c <= 'Z' {
			e.lower[i] = c + 'a' - 'A'
		}
	}
	return unsafe.String(unsafe.SliceData(e.lower), len(e.lower))
}

// Append appends a field to the block. Its name is in lower case.
func (e *Encoder) Append(b []byte, name, value string) []byte {
	static := staticName(name)
	if static != 0 {
		if i := staticPair(static, value); i != 0 {
			return appendInteger(b, indexed, 7, uint32(i))
		}
	}
	p := policyOf(static, name, value)
	switch {
	case p == secret:
		return e.literal(b, never, 4, uint32(static), name, value)
	case e.table.max == 0 || p == changing && static != 0:
		return e.literal(b, literal, 4, uint32(static), name, value)
	}
	return e.adapt(b, p, static, name, value)
}

// adapt appends a field by what was seen before: the index of an entry, a literal that becomes one the second time that its
// pair or, if the static table lacks it, its name comes, or else a literal alone.
func (e *Encoder) adapt(b []byte, p policy, static uint8, name, value string) []byte {
	nameKey, pairKey := uint64(static)*spread, uint64(0)
	if static == 0 {
		nameKey = maphash.String(e.seed, name)
	}
	insert := false
	if p == repeating {
		pairKey = maphash.String(e.seed, value) ^ bits.RotateLeft64(nameKey, 32)
		if s := e.find(pairKey); s != nil {
			if e.table.has(s.entry) && e.isPair(e.table.at(s.entry), static, name, value) {
				return appendInteger(b, indexed, 7, e.index(s.entry))
			}
			insert = true
		}
	}
	index := uint32(static)
	if static == 0 {
		if s := e.find(nameKey); s != nil {
			if e.table.has(s.entry) && e.table.name(e.table.at(s.entry)) == name {
				index = e.index(s.entry)
			} else {
				insert = true
			}
		}
	}
	if len(name)+len(value)+overhead > int(e.table.max/largest) {
		insert = false
	}
	entry := uint32(0)
	if insert {
		b = e.literal(b, incremental, 6, index, name, value)
		e.table.insert(static, name, value)
		entry = e.table.last
	} else {
		b = e.literal(b, literal, 4, index, name, value)
	}
	if p == repeating {
		e.remember(pairKey, entry)
	}
	if static == 0 && index == 0 {
		e.remember(nameKey, entry)
	}
	return b
}

// spread makes keys of small numbers differ in all bits.
const spread = 0x9e3779b97f4a7c15

// largest is the part of the table that one entry may take, as a divisor: more would push everything else out.
const largest = 4

func (e *Encoder) isPair(x *entry, static uint8, name, value string) bool {
	if x.static != static || e.table.value(x) != value {
		return false
	}
	return static != 0 || e.table.name(x) == name
}

// index is how the block names an entry.
func (e *Encoder) index(entry uint32) uint32 { return staticEntries + 1 + e.table.last - entry }

// find returns the slot of a key that was seen, or nil.
func (e *Encoder) find(key uint64) *slot {
	x, tag := e.bucket(key)
	for i := range x {
		if x[i].tag == tag {
			return &x[i]
		}
	}
	return nil
}

// remember puts a key first in its bucket. The last one whose entry is gone, or else the last of all, makes room.
func (e *Encoder) remember(key uint64, entry uint32) {
	x, tag := e.bucket(key)
	out := len(x) - 1
	for i := range x {
		if x[i].tag == tag {
			out = i
			break
		}
		if !e.table.has(x[i].entry) {
			out = i
		}
	}
	copy(x[1:out+1], x[:out])
	x[0] = slot{tag, entry}
}

func (e *Encoder) bucket(key uint64) (*bucket, uint32) {
	return &e.seen[key&uint64(len(e.seen)-1)], uint32(key>>32) | 1
}

// literal appends a literal of the given kind; index is that of its name, or 0.
func (e *Encoder) literal(b []byte, kind byte, prefix uint, index uint32, name, value string) []byte {
	b = appendInteger(b, kind, prefix, index)
	if index == 0 {
		b = e.text(b, name)
	}
	return e.text(b, value)
}

func (e *Encoder) text(b []byte, s string) []byte {
	if e.Huffman {
		if n := huffmanSize(s); n < len(s) {
			return appendHuffman(appendInteger(b, 0x80, 7, uint32(n)), s)
		}
	}
	return append(appendInteger(b, 0, 7, uint32(len(s))), s...)
}
