package config

import "strings"

// TableRow is a row of the table, for the test that compares it with the protobufs.
type TableRow struct {
	Message string
	Fields  []string
}

// TableForTest is the table.
func TableForTest() []TableRow {
	var out []TableRow
	for key, r := range table() {
		message, _, _ := strings.Cut(key, " in ")
		row := TableRow{Message: message}
		for f := range r.fields {
			row.Fields = append(row.Fields, string(f))
		}
		out = append(out, row)
	}
	return out
}
