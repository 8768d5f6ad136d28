package api

import "bytes"

// document is one YAML document of an input.
type document struct {
	text []byte
	line int // of its first line that is not empty, a comment or a marker; from 1
}

// splitDocuments finds the documents of a YAML stream. They are found before anything is parsed, so that a mistake in
// one does not hide those in the next.
//
// A marker is "---" or "..." at the very beginning of a line, followed by white space or the end of the line; inside a
// document such a line is forbidden everywhere, block and quoted scalars included (YAML 1.2.2, 9.1.2 c-forbidden), so
// that no context has to be tracked: "---" that belongs to a block scalar is indented. Documents that hold nothing are
// left out, and so are directives: %YAML says nothing that matters here, and %TAG has no use.
func splitDocuments(data []byte) []document {
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var docs []document
	current, explicit := document{}, false
	flush := func() {
		if current.line > 0 {
			docs = append(docs, current)
		}
		current, explicit = document{}, false
	}
	for n, rest := 1, data; len(rest) > 0; n++ {
		line := rest
		if i := bytes.IndexByte(rest, '\n'); i >= 0 {
			line, rest = rest[:i+1], rest[i+1:]
		} else {
			rest = nil
		}
		switch {
		case isMarker(line, "---"):
			flush()
			explicit = true
			line = line[3:]
		case isMarker(line, "..."):
			flush()
			continue
		case !explicit && current.line == 0 && line[0] == '%':
			continue
		}
		if content := bytes.TrimSpace(line); current.line == 0 && len(content) > 0 && content[0] != '#' {
			current.line = n
		}
		if current.line > 0 {
			current.text = append(current.text, line...)
		}
	}
	flush()
	return docs
}

func isMarker(line []byte, marker string) bool {
	if !bytes.HasPrefix(line, []byte(marker)) {
		return false
	}
	return len(line) == len(marker) || bytes.IndexByte([]byte(" \t\r\n"), line[len(marker)]) >= 0
}
