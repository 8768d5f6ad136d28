package hpack

// maxWaste is how much more than its limit a header block may decode to before the connection is given up. Up to there it is
// read on for the table's sake; a peer that means well is never that far off.
const maxWaste = 1 << 20

// Decoder reads the header blocks of one direction of a connection, in order. It is not safe for concurrent use.
type Decoder struct {
	table   table
	setting uint32
	allowed uint32 // the largest size update that is taken
}

// NewDecoder returns a Decoder for a connection on which we have announced maxTable as our SETTINGS_HEADER_TABLE_SIZE.
func NewDecoder(maxTable uint32) *Decoder {
	// Until the peer has seen our settings it may use what is the default: see Acknowledged.
	d := &Decoder{setting: min(maxTable, maxInteger), allowed: max(maxTable, defaultTable)}
	d.table.max = defaultTable
	return d
}

// Acknowledged says that the peer has acknowledged our settings. A table smaller than the default is binding from then on:
// the next block has to begin with a size update. RFC 7541 section 4.2.
func (d *Decoder) Acknowledged() { d.allowed = d.setting }

// Decode decodes a complete header block. Each field's strings are views of memory that is added to the arena, or constants,
// and stay valid until the arena is Reset. When emit returns false, no more is emitted, but decoding goes on for the table's
// sake. maxList bounds the size of the list, each field counted as name + value + 32 (RFC 9113 section 6.5.2): beyond it
// nothing more is emitted, and ErrListTooLarge returned. All other errors mean COMPRESSION_ERROR.
func (d *Decoder) Decode(block []byte, arena *Arena, maxList int, emit func(name, value string) bool) error {
	block, err := d.resizes(block)
	if err != nil {
		return err
	}
	size, wanted := 0, true
	for f := (field{}); len(block) > 0; {
		if block, err = d.parse(&f, block); err != nil {
			return err
		}
		if !wanted && !f.insert {
			continue
		}
		before := arena.block
		name, value, err := d.strings(&f, arena)
		if err != nil {
			return err
		}
		if f.insert {
			d.table.insert(f.static, name, value)
		}
		if size += len(name) + len(value) + overhead; size > maxList {
			wanted = false
		}
		if size-maxWaste > maxList {
			return errBomb
		}
		if !wanted {
			arena.undo(before)
			continue
		}
		wanted = emit(name, value)
	}
	if size > maxList {
		return ErrListTooLarge
	}
	return nil
}

// resizes takes the dynamic table size updates at a block's start: RFC 7541 sections 4.2 and 6.3.
func (d *Decoder) resizes(block []byte) ([]byte, error) {
	for len(block) > 0 && block[0]&0xe0 == resize {
		n, rest, err := integer(block, 5)
		if err != nil {
			return nil, err
		}
		if n > d.allowed {
			return nil, errResize
		}
		d.table.resize(n)
		block = rest
	}
	if d.table.max > d.allowed {
		return nil, errNoResize
	}
	return block, nil
}

// field is a representation as it stands in the block.
type field struct {
	index       uint32 // of the entry that has the name, or both; 0: the name is spelt out
	whole       bool   // the entry has the value too
	insert      bool
	static      uint8 // the static entry that has the name, if there is one
	name, value text
}

// text is a string literal: RFC 7541 section 5.2.
type text struct {
	raw     []byte
	huffman bool
}

// parse reads one representation.
func (d *Decoder) parse(f *field, p []byte) (rest []byte, err error) {
	c, prefix := p[0], uint(4) // of literals that do not enter the table; whether they never may is of no use here
	f.whole, f.insert, f.static = false, false, 0
	switch {
	case c&indexed != 0:
		f.whole, prefix = true, 7
	case c&incremental != 0:
		f.insert, prefix = true, 6
	case c&resize != 0:
		return nil, errLateResize
	}
	if f.index, p, err = integer(p, prefix); err != nil {
		return nil, err
	}
	switch {
	case f.index > staticEntries:
		if f.index-staticEntries > d.table.count {
			return nil, errIndex
		}
		f.static = d.entry(f.index).static
	case f.index > 0:
		f.static = uint8(f.index)
	case f.whole:
		return nil, errIndex
	default:
		if f.name, p, err = parseText(p); err != nil {
			return nil, err
		}
	}
	if !f.whole {
		f.value, p, err = parseText(p)
	}
	return p, err
}

func parseText(p []byte) (t text, rest []byte, err error) {
	if len(p) == 0 {
		return t, nil, errTruncated
	}
	t.huffman = p[0]&0x80 != 0
	n, p, err := integer(p, 7)
	if err != nil {
		return t, nil, err
	}
	if uint64(n) > uint64(len(p)) {
		return t, nil, errTruncated
	}
	t.raw = p[:n]
	return t, p[n:], nil
}

// entry is that of an index in the dynamic table, which counts from the newest.
func (d *Decoder) entry(index uint32) *entry {
	return d.table.at(d.table.last - (index - staticEntries - 1))
}

// strings copies what f says into the arena. The table's own strings go there too, for the next insertion may move them.
func (d *Decoder) strings(f *field, arena *Arena) (name, value string, err error) {
	switch {
	case f.index == 0:
		if name, err = f.name.into(arena); err != nil {
			return "", "", err
		}
	case f.static != 0:
		name = staticTable[f.static].name
	case f.whole: // name and value are neighbours
		e := d.entry(f.index)
		both := arena.add(d.table.view(e.at, e.name+e.value))
		return both[:e.name], both[e.name:], nil
	default:
		name = arena.add(d.table.name(d.entry(f.index)))
	}
	switch {
	case !f.whole:
		value, err = f.value.into(arena)
	case f.index <= staticEntries:
		value = staticTable[f.index].value
	default:
		value = arena.add(d.table.value(d.entry(f.index)))
	}
	return name, value, err
}

func (t text) into(arena *Arena) (string, error) {
	if !t.huffman {
		return arena.Add(t.raw), nil
	}
	p, err := decodeHuffman(arena.room(huffmanRoom(len(t.raw))), t.raw)
	return arena.keep(p), err
}
