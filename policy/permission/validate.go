package permission

import (
	"fmt"
	"strings"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/ir"
	"github.com/hauberk-mesh/hauberk/policy/target"
)

func validate(_ api.Meta, s *Spec) (ps api.Problems) {
	ps = append(ps, target.ValidateTop(s.TargetRef, true)...)
	if len(s.Rules) == 0 {
		ps.Add("spec.rules", "is empty", "add at least one, as {default: {allow: [{spiffeID: {type: Exact, value: ...}}]}}")
	}
	for i, r := range s.Rules {
		at := fmt.Sprintf("spec.rules[%d].default", i)
		if len(r.Default.Deny)+len(r.Default.Allow)+len(r.Default.AllowWithShadowDeny) == 0 {
			ps.Add(at, "lists nothing", "add deny, allow or allowWithShadowDeny")
		}
		ps = append(ps, validateList(at+".deny", r.Default.Deny)...)
		ps = append(ps, validateList(at+".allow", r.Default.Allow)...)
		ps = append(ps, validateList(at+".allowWithShadowDeny", r.Default.AllowWithShadowDeny)...)
	}
	return ps
}

func validateList(at string, entries []Entry) (ps api.Problems) {
	for i, e := range entries {
		at := fmt.Sprintf("%s[%d]", at, i)
		if e.SpiffeID != nil {
			ps = append(ps, validateID(at+".spiffeID", *e.SpiffeID)...)
		}
		// An empty list would mean "any", the opposite of what it looks like.
		if e.Methods != nil && len(e.Methods) == 0 {
			ps.Add(at+".methods", "is empty", "list methods, or remove it: without it all match")
		}
		for j, m := range e.Methods {
			if message, fix := checkMethod(m); message != "" {
				ps.Add(fmt.Sprintf("%s.methods[%d]", at, j), message, fix)
			}
		}
		if e.Paths != nil && len(e.Paths) == 0 {
			ps.Add(at+".paths", "is empty", "list paths, or remove it: without it all match")
		}
		for j, p := range e.Paths {
			ps = append(ps, validatePath(fmt.Sprintf("%s.paths[%d]", at, j), p)...)
		}
	}
	return ps
}

func validateID(at string, m StringMatch) (ps api.Problems) {
	const example = "spiffe://default.default.mesh.local/workload/cart"
	switch m.Type {
	case ir.Exact:
		if err := api.CheckSPIFFEID(m.Value); err != nil {
			ps.Add(at+".value", "is not a SPIFFE ID: "+err.Error(), "write it whole, as "+example)
		}
	case ir.Prefix:
		rest, ok := strings.CutPrefix(m.Value, "spiffe://")
		if !ok {
			ps.Add(at+".value", fmt.Sprintf("%q does not begin with spiffe://", m.Value), "write spiffe:// for everybody with an identity, or more, as spiffe://default.")
			break
		}
		// A prefix that no ID can begin with is a typo; a segment may be cut anywhere.
		domain, path, slash := strings.Cut(rest, "/")
		if err := api.CheckTrustDomain(domain); domain != "" && err != nil {
			ps.Add(at+".value", "begins no SPIFFE ID: "+err.Error(), "write the beginning of one, as "+example)
		} else if path = strings.TrimSuffix(path, "/"); slash && (domain == "" || path != "" && api.CheckSPIFFEID("spiffe://"+domain+"/"+path+"x") != nil) {
			ps.Add(at+".value", fmt.Sprintf("%q begins no SPIFFE ID", m.Value), "write the beginning of one, as "+example)
		}
	default:
		typeProblem(&ps, at, m.Type, ir.Exact, ir.Prefix)
	}
	return ps
}

// checkMethod wants the bytes of the wire: methods are compared as they are (RFC 9110 9.1: case-sensitive).
func checkMethod(m string) (message, fix string) {
	for i := range len(m) {
		if c := m[i]; (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			if upper := strings.ToUpper(m); upper != m && checkUpper(upper) {
				return fmt.Sprintf("%q is in lower case", m), "write " + upper
			}
			return fmt.Sprintf("%q is not a method", m), "write methods as GET, HEAD, POST, PUT, PATCH, DELETE"
		}
	}
	if m == "" {
		return "is empty", "write methods as GET, HEAD, POST, PUT, PATCH, DELETE"
	}
	return "", ""
}

func checkUpper(m string) bool {
	message, _ := checkMethod(m)
	return message == ""
}

// validatePath refuses what no normalised path can be: it would never match, and a deny that never matches is a hole.
func validatePath(at string, p PathMatch) (ps api.Problems) {
	switch p.Type {
	case ir.Exact, ir.Prefix, ir.Template:
	default:
		typeProblem(&ps, at, p.Type, ir.Exact, ir.Prefix, ir.Template)
		return ps
	}
	if !strings.HasPrefix(p.Value, "/") {
		ps.Add(at+".value", fmt.Sprintf("%q does not begin with '/'", p.Value), "write /"+p.Value)
		return ps
	}
	if message, fix := checkCharacters(p); message != "" {
		ps.Add(at+".value", message, fix)
		return ps
	}
	segments, names := strings.Split(p.Value[1:], "/"), map[string]bool{}
	for i, s := range segments {
		last := i == len(segments)-1
		switch {
		case s == "." || s == "..":
			ps.Add(at+".value", fmt.Sprintf("%q has a dot segment, and the path is normalised before it is compared", p.Value), "write it without")
		case s == "" && !last:
			ps.Add(at+".value", fmt.Sprintf("%q has an empty segment, and slashes are merged before it is compared", p.Value), "write single slashes")
		case p.Type == ir.Template:
			if message, fix := checkTemplateSegment(s, last, len(segments) == 1, names); message != "" {
				ps.Add(at+".value", fmt.Sprintf("%q %s", p.Value, message), fix)
			}
		}
	}
	return ps
}

func checkCharacters(p PathMatch) (message, fix string) {
	for i := range len(p.Value) {
		switch c := p.Value[i]; {
		case c == '?' || c == '#':
			return fmt.Sprintf("%q has %q: only the path is compared", p.Value, c), "remove it and what follows"
		case c == '%':
			return fmt.Sprintf("%q has an escape, of which a caller can choose the spelling", p.Value), "write letters, digits, '-', '.', '_' and '~' as they are, and match the rest by Prefix or Template"
		case c <= ' ' || c > '~' || c == '\\':
			return fmt.Sprintf("%q has %q, which no path on the wire has", p.Value, c), "match this segment by Prefix or Template"
		case p.Type != ir.Template && (c == '{' || c == '}' || c == '*'):
			return fmt.Sprintf("%q has %q, which is compared as it is", p.Value, c), "write type: Template"
		}
	}
	return "", ""
}

// checkTemplateSegment takes what the path templates of Envoy take, as far as a wildcard is a whole segment.
func checkTemplateSegment(s string, last, only bool, names map[string]bool) (message, fix string) {
	name, variable := strings.CutPrefix(s, "{")
	name, closed := strings.CutSuffix(name, "}")
	switch {
	case s == "" && !only:
		return "ends with '/'", "remove it, or write ** for what may follow"
	case s == "*" || s == "**" && last:
		return "", ""
	case s == "**":
		return "has ** before its end", "write * for one segment; ** takes all the rest"
	case !variable && !strings.ContainsAny(s, "{}*"):
		return "", ""
	case !variable || !closed || !isIdentifier(name):
		return "has a wildcard that is no whole segment", "let * or {name}, of letters, digits and '_', stand for a whole segment"
	case names[name]:
		return "has {" + name + "} twice", "give each segment a name of its own"
	}
	names[name] = true
	return "", ""
}

func isIdentifier(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c != '_' && (c < '0' || c > '9')) {
			return false
		}
	}
	return s != ""
}

// trimSlash: a prefix of /admin/ is that of /admin; by segment there is no other reading.
func trimSlash(p PathMatch) string {
	if p.Type == ir.Prefix && p.Value != "/" {
		return strings.TrimSuffix(p.Value, "/")
	}
	return p.Value
}

func typeProblem(ps *api.Problems, at string, got ir.MatchType, types ...ir.MatchType) {
	words := make([]string, len(types))
	for i, t := range types {
		words[i] = string(t)
		if strings.EqualFold(words[i], string(got)) {
			ps.Add(at+".type", fmt.Sprintf("%q is not a type of match", got), "write "+words[i])
			return
		}
	}
	list := strings.Join(words[:len(words)-1], ", ") + " or " + words[len(words)-1]
	if got == "" {
		ps.Add(at+".type", "is missing", "write "+list)
		return
	}
	ps.Add(at+".type", fmt.Sprintf("%q is not a type of match", got), "write "+list)
}
