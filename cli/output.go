package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"
)

// format is the value of -o.
type format string

const (
	asTable format = "table"
	asYAML  format = "yaml"
	asJSON  format = "json"
)

// String, Set and Type make a format a flag's value, so that a wrong one is a mistake of usage.
func (f *format) String() string { return string(*f) }
func (f *format) Type() string   { return "table|yaml|json" }
func (f *format) Set(s string) error {
	if !slices.Contains([]format{asTable, asYAML, asJSON}, format(s)) {
		return fmt.Errorf("write table, yaml or json")
	}
	*f = format(s)
	return nil
}

// outputFlag adds -o.
func outputFlag(cmd *cobra.Command) *format {
	f := asTable
	cmd.Flags().VarP(&f, "output", "o", "how to print the answer")
	_ = cmd.RegisterFlagCompletionFunc("output", cobra.FixedCompletions([]string{"table", "yaml", "json"}, cobra.ShellCompDirectiveNoFileComp))
	return &f
}

// print writes an answer in the format that was asked for; table writes it for people.
func (p *program) print(f format, answer any, table func(w io.Writer)) error {
	switch f {
	case asJSON:
		b, err := json.MarshalIndent(answer, "", "  ")
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.stdout, "%s\n", b)
		return err
	case asYAML:
		b, err := yaml.Marshal(answer)
		if err != nil {
			return err
		}
		_, err = p.stdout.Write(b)
		return err
	default:
		w := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)
		table(w)
		return w.Flush()
	}
}

// row writes one line of a table. Control characters are taken out: what comes from a mesh must not drive a terminal.
func row(w io.Writer, cells ...any) {
	text := make([]string, len(cells))
	for i, c := range cells {
		text[i] = plain(fmt.Sprint(c))
	}
	fmt.Fprintln(w, strings.TrimRight(strings.Join(text, "\t"), "\t"))
}

// plain is s on one line, without control characters.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return ' '
		}
		return r
	}, s)
}

// dash stands for nothing in a table.
func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// ago is a rough age: 5s, 3m, 2h, 4d.
func ago(t *time.Time) string {
	if t == nil || t.IsZero() {
		return "-"
	}
	d := max(time.Since(*t), 0)
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	default:
		return fmt.Sprintf("%dd", int(d.Hours()/24))
	}
}

func ms(v float64) string { return fmt.Sprintf("%.1f", v) }

func percent(v float64) string { return fmt.Sprintf("%.1f%%", 100*v) }

// progress tells on stderr what is going on.
func (p *program) progress(f string, args ...any) { fmt.Fprintf(p.stderr, f+"\n", args...) }
