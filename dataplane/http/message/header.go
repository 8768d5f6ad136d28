package message

// Field is one header line. Names keep the case in which they came; they are compared without it.
type Field struct{ Name, Value string }

// Header is an ordered list of fields: order and repetition survive proxying. The zero value is empty and ready.
type Header struct{ Fields []Field }

// Get returns the first value of name, or "".
func (h *Header) Get(name string) string {
	for i := range h.Fields {
		if EqualFold(h.Fields[i].Name, name) {
			return h.Fields[i].Value
		}
	}
	return ""
}

// Has tells whether name is present at all.
func (h *Header) Has(name string) bool {
	for i := range h.Fields {
		if EqualFold(h.Fields[i].Name, name) {
			return true
		}
	}
	return false
}

// Add appends a field.
func (h *Header) Add(name, value string) { h.Fields = append(h.Fields, Field{name, value}) }

// Set replaces the first field of that name, drops the others, or appends.
func (h *Header) Set(name, value string) {
	found := false
	kept := h.Fields[:0]
	for _, f := range h.Fields {
		if EqualFold(f.Name, name) {
			if found {
				continue
			}
			found = true
			f.Value = value
		}
		kept = append(kept, f)
	}
	h.Fields = kept
	if !found {
		h.Add(name, value)
	}
}

// Del drops all fields of that name.
func (h *Header) Del(name string) {
	kept := h.Fields[:0]
	for _, f := range h.Fields {
		if !EqualFold(f.Name, name) {
			kept = append(kept, f)
		}
	}
	h.Fields = kept
}

// Reset empties the header and keeps its memory.
func (h *Header) Reset() { h.Fields = h.Fields[:0] }
