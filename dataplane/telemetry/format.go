package telemetry

import (
	"fmt"
	"strconv"
	"strings"
)

// Format is a compiled access log format: text with Envoy's command operators in it. It is immutable.
type Format struct {
	parts []piece
}

// piece is literal text, or one operator.
type piece struct {
	literal string
	op      *operator
	layout  []strftime // of a time
	limit   int        // most bytes of the value; 0 is all
}

// defaultFormat is Envoy's default. What a log in this format says of a refusal besides is in AccessLog.
const defaultFormat = `[%START_TIME%] "%REQUEST_HEADER(:METHOD)% %REQUEST_HEADER(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" ` +
	`%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% %RESPONSE_HEADER(X-ENVOY-UPSTREAM-SERVICE-TIME)% ` +
	`"%REQUEST_HEADER(X-FORWARDED-FOR)%" "%REQUEST_HEADER(USER-AGENT)%" "%REQUEST_HEADER(X-REQUEST-ID)%" "%REQUEST_HEADER(:AUTHORITY)%" "%UPSTREAM_HOST%"` + "\n"

// CompileFormat reads a format string. An operator, a header or a time specifier that this proxy does not record is an
// error that names its place: a log with silent holes is found out when it is needed.
//
// An operator is %NAME%, %NAME(argument)%, or either with :n before the last percent sign, which keeps the first n bytes.
// %% is a percent sign.
func CompileFormat(format string) (*Format, error) {
	f := &Format{}
	for rest := format; rest != ""; {
		at := strings.IndexByte(rest, '%')
		if at < 0 {
			f.literal(rest)
			break
		}
		f.literal(rest[:at])
		offset := len(format) - len(rest) + at
		rest = rest[at+1:]
		if strings.HasPrefix(rest, "%") {
			f.literal("%")
			rest = rest[1:]
			continue
		}
		p, after, err := compileOperator(rest)
		if err != nil {
			return nil, fmt.Errorf("access log format, byte %d: %w", offset, err)
		}
		f.parts = append(f.parts, p)
		rest = after
	}
	return f, nil
}

func (f *Format) literal(s string) {
	if s == "" {
		return
	}
	if n := len(f.parts); n > 0 && f.parts[n-1].op == nil {
		f.parts[n-1].literal += s
		return
	}
	f.parts = append(f.parts, piece{literal: s})
}

// compileOperator reads what follows a percent sign, to the one that ends the operator.
func compileOperator(s string) (p piece, rest string, err error) {
	end := strings.IndexAny(s, "(:%")
	if end < 0 {
		return p, "", fmt.Errorf("the operator has no end: write %%%s%%, or %%%% for a percent sign", firstWord(s))
	}
	name, argument, has := s[:end], "", false
	s = s[end:]
	if s[0] == '(' {
		// The argument of a time holds percent signs itself: only the parenthesis ends it.
		end := strings.IndexByte(s, ')')
		if end < 0 {
			return p, "", fmt.Errorf("%%%s( has no closing parenthesis", name)
		}
		argument, has, s = s[1:end], true, s[end+1:]
	}
	if strings.HasPrefix(s, ":") {
		end := strings.IndexByte(s, '%')
		if end < 0 {
			return p, "", fmt.Errorf("%%%s has no closing percent sign", name)
		}
		if p.limit, err = strconv.Atoi(s[1:end]); err != nil || p.limit < 1 {
			return p, "", fmt.Errorf("%%%s is cut to %q: write a length of 1 or more", name, s[1:end])
		}
		s = s[end:]
	}
	if !strings.HasPrefix(s, "%") {
		return p, "", fmt.Errorf("%%%s has no closing percent sign", name)
	}
	if err := p.resolve(name, argument, has); err != nil {
		return p, "", err
	}
	return p, s[1:], nil
}

// resolve finds the operator of a name and argument.
func (p *piece) resolve(name, argument string, has bool) error {
	switch name {
	case "REQ", "REQUEST_HEADER":
		op, err := headerOperator(argument, requestHeaders)
		p.op = op
		return err
	case "RESP", "RESPONSE_HEADER":
		op, err := headerOperator(argument, responseHeaders)
		p.op = op
		return err
	case "START_TIME":
		p.op = operators[name]
		if !has {
			return nil
		}
		layout, err := compileTime(argument)
		p.layout = layout
		return err
	}
	if name == "GRPC_STATUS" && has {
		if p.op = grpcOperator(argument); p.op == nil {
			return fmt.Errorf("%%GRPC_STATUS(%s)%% is unknown: write CAMEL_STRING, SNAKE_STRING or NUMBER", firstWord(argument))
		}
		return nil
	}
	p.op = operators[name]
	if p.op == nil {
		return fmt.Errorf("%%%s%% is not an operator of this proxy (docs/access-log.md lists them)", name)
	}
	if has {
		return fmt.Errorf("%%%s%% takes no argument", name)
	}
	return nil
}

// headerOperator reads "NAME" or "NAME?OTHER": the other where the first is absent.
func headerOperator(argument string, known map[string]*operator) (*operator, error) {
	first, other, two := strings.Cut(argument, "?")
	a := known[strings.ToUpper(first)]
	if a == nil {
		return nil, fmt.Errorf("the header %q is not recorded by this proxy (docs/access-log.md lists those that are)", first)
	}
	if !two {
		return a, nil
	}
	b := known[strings.ToUpper(other)]
	if b == nil {
		return nil, fmt.Errorf("the header %q is not recorded by this proxy (docs/access-log.md lists those that are)", other)
	}
	return &operator{text: func(r *Record) string {
		if v := a.text(r); v != "" {
			return v
		}
		return b.text(r)
	}}, nil
}

// Append writes r's line. Where a value is absent it writes "-", as Envoy does. Values are escaped: no request can end a
// line, leave a quoted field or send a control character to a terminal.
func (f *Format) Append(dst []byte, r *Record) []byte {
	for i := range f.parts {
		p := &f.parts[i]
		if p.op == nil {
			dst = append(dst, p.literal...)
			continue
		}
		before := len(dst)
		dst = p.value(dst, r)
		if len(dst) == before {
			dst = append(dst, '-')
		}
	}
	return dst
}

// value appends nothing where the value is absent.
func (p *piece) value(dst []byte, r *Record) []byte {
	switch {
	case p.op.text != nil:
		s := p.op.text(r)
		if p.limit > 0 {
			s = s[:min(len(s), p.limit)]
		}
		return appendEscaped(dst, s)
	case p.op.number != nil:
		if n, ok := p.op.number(r); ok {
			return strconv.AppendInt(dst, n, 10)
		}
		return dst
	case p.op.addr != nil:
		if a := p.op.addr(r); a.IsValid() {
			return p.op.appendAddr(dst, a)
		}
		return dst
	case p.layout != nil:
		return appendTime(dst, r.Start.UTC(), p.layout)
	default:
		return r.Start.UTC().AppendFormat(dst, envoyTime)
	}
}

// envoyTime is how Envoy writes a time where nothing else is asked for.
const envoyTime = "2006-01-02T15:04:05.000Z"

func firstWord(s string) string {
	if i := strings.IndexAny(s, " \t\n\"]"); i >= 0 {
		s = s[:i]
	}
	return s[:min(len(s), 40)]
}
