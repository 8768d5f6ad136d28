package http1

import "fmt"

// Limits bound what a message may have beside its content. A zero is the default.
type Limits struct {
	Line      int // the first line, in bytes; default: as Head
	Head      int // all lines, in bytes; default MaxHead
	Fields    int // their number, in the head and again in the trailers; default MaxFields
	ChunkLine int // size and extensions of one chunk, in bytes; default 1 KiB
	Trailers  int // in bytes; default 16 KiB
}

// MaxHead bounds a message's head in bytes, MaxFields its number of fields, where nobody says otherwise (Envoy's defaults are
// 60 KiB and 100).
const (
	MaxHead   = 64 << 10
	MaxFields = 100

	maxChunkLine = 1 << 10
	maxTrailers  = 16 << 10
)

// orDefault fills in what is not said.
func (l Limits) orDefault() Limits {
	for _, x := range [...]struct {
		limit *int
		value int
	}{{&l.Head, MaxHead}, {&l.Fields, MaxFields}, {&l.ChunkLine, maxChunkLine}, {&l.Trailers, maxTrailers}} {
		if *x.limit <= 0 {
			*x.limit = x.value
		}
	}
	if l.Line <= 0 || l.Line > l.Head {
		l.Line = l.Head
	}
	return l
}

func (l *Limits) lineTooLong() error {
	return &Error{Status: 414, Text: fmt.Sprintf("first line is longer than %d bytes", l.Line)}
}

func (l *Limits) headTooLarge() error {
	return &Error{Status: 431, Text: fmt.Sprintf("head is longer than %d bytes", l.Head)}
}

func (l *Limits) tooManyFields() error {
	return &Error{Status: 431, Text: fmt.Sprintf("more than %d header fields", l.Fields)}
}
