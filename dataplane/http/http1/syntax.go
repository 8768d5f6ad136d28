package http1

import "github.com/hauberk-mesh/hauberk/dataplane/http/message"

// prefix is how many bytes of that class s begins with.
func prefix(s string, is uint8) int {
	i := 0
	for i < len(s) && message.Class[s[i]]&is != 0 {
		i++
	}
	return i
}

func token(s string) bool { return s != "" && message.All(s, message.IsToken) }

func trim(s string) string {
	for len(s) > 0 && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for len(s) > 0 && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}
