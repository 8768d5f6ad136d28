package http2

import "github.com/hauberk-mesh/hauberk/dataplane/http/message"

// validValue: RFC 9113 section 8.2.1 also forbids white space at either end.
func validValue(s string) bool {
	if s == "" {
		return true
	}
	first, last := s[0], s[len(s)-1]
	return first != ' ' && first != '\t' && last != ' ' && last != '\t' && message.AllValue(s)
}
