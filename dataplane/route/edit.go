package route

import (
	"github.com/hauberk-mesh/hauberk/dataplane/filter"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// Edit is one change of a header.
type Edit struct {
	Op    EditOp
	Name  string
	Value *Format // not of Remove
	// KeepEmpty adds the field even where its value is empty.
	KeepEmpty bool
}

// EditOp says what becomes of the fields of the name that are there.
type EditOp uint8

// Append adds another one beside them, AddIfAbsent only where there is none, Overwrite takes their place, and so does
// OverwriteIfExists, which does nothing where there is none.
const (
	Remove EditOp = iota
	Append
	AddIfAbsent
	Overwrite
	OverwriteIfExists
)

// edit makes the changes in order. h is q's header, or that of the response to it.
func edit(h *message.Header, edits []Edit, q *message.Request, c *filter.Conn) {
	for i := range edits {
		e := &edits[i]
		if e.Op == Remove {
			if h.Has(e.Name) { // seldom: looking is cheaper than moving all fields
				h.Del(e.Name)
			}
			continue
		}
		value := e.Value.text(q, c)
		if value == "" && !e.KeepEmpty {
			continue
		}
		switch e.Op {
		case Append:
			h.Add(e.Name, value)
		case AddIfAbsent:
			if !h.Has(e.Name) {
				h.Add(e.Name, value)
			}
		case OverwriteIfExists:
			if h.Has(e.Name) {
				h.Set(e.Name, value)
			}
		default:
			h.Set(e.Name, value)
		}
	}
}
