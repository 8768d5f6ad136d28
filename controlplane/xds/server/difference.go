package server

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"strconv"

	"github.com/hauberk-mesh/hauberk/controlplane/xds/translate"
)

// maxPart is the size in bytes at which a response is split. It is far below the 4 MiB that gRPC clients take by default;
// a single resource may still be larger.
const maxPart = 1 << 20

// difference is what a client is to be told of one type.
type difference struct {
	typeURL   string
	resources []*translate.Resource
	removed   []string
}

// split cuts a difference into one or more of about limit bytes at most. Removals go with the last.
func (d difference) split(limit int) []difference {
	var out []difference
	part, size := difference{typeURL: d.typeURL}, 0
	for _, r := range d.resources {
		n := len(r.Name) + len(r.Version) + len(r.Any.GetValue()) + len(r.Any.GetTypeUrl()) + 16
		if len(part.resources) > 0 && size+n > limit {
			out = append(out, part)
			part, size = difference{typeURL: d.typeURL}, 0
		}
		part.resources = append(part.resources, r)
		size += n
	}
	for _, name := range d.removed {
		n := len(name) + 4
		if size > 0 && size+n > limit {
			out = append(out, part)
			part, size = difference{typeURL: d.typeURL}, 0
		}
		part.removed = append(part.removed, name)
		size += n
	}
	return append(out, part)
}

// maxText bounds what a proxy says about itself and that we keep and show.
const maxText = 2048

// printable makes a proxy's words fit to be shown on a terminal and kept.
func printable(s string) string {
	s = strings.ToValidUTF8(s, "?")
	if len(s) > maxText {
		cut := maxText
		for !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut] + "..."
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
}

func semver(major, minor, patch uint32) string {
	u := func(n uint32) string { return strconv.FormatUint(uint64(n), 10) }
	return u(major) + "." + u(minor) + "." + u(patch)
}
