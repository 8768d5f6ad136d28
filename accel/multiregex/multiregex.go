// Package multiregex matches a text against many regular expressions and tells which one takes it.
//
// The syntax is RE2's and a pattern has to match the whole text: what Envoy's safe_regex means. Matching takes time linear in
// the text, whatever the pattern; a pattern whose program is too large is refused, so that a request costs at most so much.
//
// This is the interface that the rest of the proxy keeps; behind it every pattern is still run by itself, by package regexp.
// The automaton that runs all of them at once comes with a later piece of work. Start at Compile.
package multiregex

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
)

// MaxProgram is how many instructions the program of one pattern may have. Envoy warns above 100.
const MaxProgram = 2000

// Set is a list of patterns. Immutable and safe for concurrent use.
type Set struct{ patterns []pattern }

// pattern is one expression, and what every text that it takes begins with: most texts differ from most patterns there.
type pattern struct {
	*regexp.Regexp
	prefix string
}

// Compile reads patterns. An error names the pattern's index and what is wrong with it.
func Compile(patterns ...string) (*Set, error) {
	s := &Set{}
	for i, p := range patterns {
		re, err := compile(p, `\A(?:`, `)\z`)
		if err != nil {
			return nil, fmt.Errorf("pattern %d: %w", i, err)
		}
		s.patterns = append(s.patterns, pattern{re, prefix(p)})
	}
	return s, nil
}

// Match is the index of the first pattern that matches all of text; -1 if none does.
func (s *Set) Match(text string) int {
	for i := range s.patterns {
		if p := &s.patterns[i]; strings.HasPrefix(text, p.prefix) && p.MatchString(text) {
			return i
		}
	}
	return -1
}

// prefix is the literal text with which a pattern begins. A leading ^ says nothing where the whole text has to match.
func prefix(pattern string) string {
	re, err := regexp.Compile(strings.TrimPrefix(pattern, "^"))
	if err != nil {
		return ""
	}
	text, _ := re.LiteralPrefix()
	return text
}

// compile reads a pattern and puts something round it. The pattern is read by itself first: it must not close a group of ours.
func compile(pattern, before, after string) (*regexp.Regexp, error) {
	tree, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil, err
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err
	}
	if n := len(prog.Inst); n > MaxProgram {
		return nil, fmt.Errorf("its program has %d instructions, above the limit of %d: write it shorter, or with fewer repetitions",
			n, MaxProgram)
	}
	re, err := regexp.Compile(before + pattern + after)
	if err != nil { // a quotation that ends with the pattern (\Q without \E) has taken what comes after it as well
		re, err = regexp.Compile(before + pattern + `\E` + after)
	}
	return re, err
}

// Substitution replaces what a pattern matches, wherever it does. Immutable and safe for concurrent use.
type Substitution struct {
	pattern *regexp.Regexp
	text    string // as regexp expands it
}

// CompileSubstitution reads a pattern and its replacement, in which \0 to \9 stand for the whole match and the groups of the
// pattern, and \\ for a backslash.
func CompileSubstitution(pattern, replacement string) (*Substitution, error) {
	re, err := compile(pattern, "", "")
	if err != nil {
		return nil, fmt.Errorf("pattern: %w", err)
	}
	text, err := expand(replacement, re.NumSubexp())
	if err != nil {
		return nil, fmt.Errorf("replacement: %w", err)
	}
	return &Substitution{re, text}, nil
}

// expand turns RE2's notation into that of regexp.
func expand(replacement string, groups int) (string, error) {
	var b strings.Builder
	for i := 0; i < len(replacement); i++ {
		switch c := replacement[i]; c {
		case '$':
			b.WriteString("$$")
		case '\\':
			if i++; i == len(replacement) {
				return "", errors.New("ends with a backslash: write two for one")
			}
			switch c := replacement[i]; {
			case c == '\\':
				b.WriteByte('\\')
			case c < '0' || c > '9':
				return "", fmt.Errorf(`\%c is neither a group (\0 to \9) nor a backslash (\\)`, c)
			case int(c-'0') > groups:
				return "", fmt.Errorf(`\%c: the pattern has %d groups`, c, groups)
			default:
				b.WriteString("${" + string(c) + "}")
			}
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), nil
}

// Apply is text with every match replaced.
func (s *Substitution) Apply(text string) string { return s.pattern.ReplaceAllString(text, s.text) }
