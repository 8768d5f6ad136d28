package api

import (
	"fmt"
	"strings"
)

// InvalidError says everything that is wrong with an input, so that a user corrects a file once and not once a mistake.
type InvalidError struct {
	Problems []Finding `json:"problems"` // in the order of the input, never empty
	// More counts those that are not listed: nobody reads a thousand, and small inputs can have a million.
	More int `json:"more,omitempty"`
}

// listed is how many problems an error lists.
const listed = 200

// Finding is a Problem with the place where it was found.
type Finding struct {
	Source   string `json:"source,omitempty"`   // file name, or "stdin"
	Document int    `json:"document,omitempty"` // within the source, from 1; documents that are empty do not count
	Line     int    `json:"line,omitempty"`     // at which the document begins, from 1
	Kind     string `json:"kind,omitempty"`     // as written, also where it is unknown
	Name     string `json:"name,omitempty"`
	// FieldLine is the line of the field, or of the nearest thing around it that is there.
	FieldLine int `json:"fieldLine,omitempty"`
	Problem
}

func (f Finding) String() string {
	var b strings.Builder
	if f.Source != "" {
		b.WriteString(f.Source)
		if f.FieldLine > 0 {
			fmt.Fprintf(&b, ":%d", f.FieldLine)
		}
		b.WriteString(": ")
	}
	if f.Document > 0 {
		fmt.Fprintf(&b, "document %d", f.Document)
		if f.Line > 0 {
			fmt.Fprintf(&b, " (from line %d)", f.Line)
		}
		if f.Kind == "" && f.Name == "" {
			b.WriteString(": ")
		} else {
			b.WriteString(", ")
		}
	}
	switch {
	case f.Kind != "" && f.Name != "":
		b.WriteString(f.Kind + "/" + f.Name + ": ")
	case f.Kind != "" || f.Name != "":
		b.WriteString(f.Kind + f.Name + ": ")
	}
	b.WriteString(f.Problem.String())
	return b.String()
}

// Error has one line for each problem.
func (e *InvalidError) Error() string {
	lines := make([]string, len(e.Problems))
	for i, f := range e.Problems {
		lines[i] = f.String()
	}
	if e.More > 0 {
		lines = append(lines, fmt.Sprintf("and %d more problems", e.More))
	}
	return strings.Join(lines, "\n")
}

func (e *InvalidError) add(f Finding) {
	if len(e.Problems) == listed {
		e.More++
		return
	}
	e.Problems = append(e.Problems, f)
}

// orNil is e, or nil if it has nothing to say.
func (e *InvalidError) orNil() error {
	if len(e.Problems) == 0 {
		return nil
	}
	return e
}
