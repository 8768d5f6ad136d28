package http2

import (
	"strconv"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// The functions here append header blocks to the connection's scratch. HPACK has state: they are called under conn.mu, and
// what they return must be queued before the lock is given up.

func (c *conn) encodeRequest(m *message.Request) []byte {
	b := c.enc.Begin(c.scratch[:0])
	scheme := m.Scheme
	if scheme == "" {
		scheme = "http"
	}
	switch {
	case m.Upgrade != "": // RFC 8441
		b = c.enc.Append(b, ":method", "CONNECT")
		b = c.enc.Append(b, ":protocol", m.Upgrade)
		b = c.enc.Append(b, ":scheme", scheme)
		b = c.encodePath(b, m)
	case m.Method == "CONNECT":
		b = c.enc.Append(b, ":method", "CONNECT")
	default:
		b = c.enc.Append(b, ":method", m.Method)
		b = c.enc.Append(b, ":scheme", scheme)
		b = c.encodePath(b, m)
	}
	if m.Authority != "" {
		b = c.enc.Append(b, ":authority", m.Authority)
	}
	b = c.encodeFields(b, &m.Header)
	if m.Length >= 0 && m.Upgrade == "" && m.Method != "CONNECT" {
		b = c.encodeLength(b, m.Length)
	}
	if m.Trailers {
		b = c.enc.Append(b, "te", "trailers")
	}
	if m.ExpectContinue {
		b = c.enc.Append(b, "expect", "100-continue")
	}
	c.scratch = b
	return b
}

// encodePath puts path and query together where they are not already: the original target most often still is both.
func (c *conn) encodePath(b []byte, m *message.Request) []byte {
	if m.Query == "" {
		return c.enc.Append(b, ":path", m.Path)
	}
	if n := len(m.Path); len(m.Original) == n+len(m.Query) && m.Original[:n] == m.Path && m.Original[n:] == m.Query {
		return c.enc.Append(b, ":path", m.Original)
	}
	return c.enc.Append(b, ":path", m.Path+m.Query)
}

func (c *conn) encodeResponse(m *message.Response, status int) []byte {
	b := c.enc.Begin(c.scratch[:0])
	b = c.enc.Append(b, ":status", statusText(status))
	b = c.encodeFields(b, &m.Header)
	if m.Length >= 0 && status >= 200 && status != 204 && m.Status != 101 {
		b = c.encodeLength(b, m.Length)
	}
	c.scratch = b
	return b
}

func (c *conn) encodeFields(b []byte, h *message.Header) []byte {
	for i := range h.Fields {
		if f := &h.Fields[i]; !connectionField(f.Name) {
			b = c.enc.AppendLower(b, f.Name, f.Value)
		}
	}
	return b
}

func (c *conn) encodeLength(b []byte, n int64) []byte {
	if n < int64(len(smallNumbers)) {
		return c.enc.Append(b, "content-length", smallNumbers[n])
	}
	return c.enc.Append(b, "content-length", strconv.FormatInt(n, 10))
}

func (c *conn) encodeTrailer(h *message.Header) []byte {
	b := c.enc.Begin(c.scratch[:0])
	b = c.encodeFields(b, h)
	c.scratch = b
	return b
}

// connectionField finds fields that have no place in HTTP/2 (RFC 9113 section 8.2.2), or that this package writes itself
// from what the head says. A filter may have added one, and the peer would call the message malformed.
func connectionField(name string) bool {
	switch len(name) {
	case 2:
		return message.Fold(name, "te")
	case 4:
		return message.Fold(name, "host")
	case 7:
		return message.Fold(name, "upgrade")
	case 10:
		return message.Fold(name, "connection") || message.Fold(name, "keep-alive")
	case 14:
		return message.Fold(name, "content-length")
	case 16:
		return message.Fold(name, "proxy-connection")
	case 17:
		return message.Fold(name, "transfer-encoding")
	}
	return false
}

func statusText(status int) string {
	if 0 <= status && status < len(smallNumbers) {
		return smallNumbers[status]
	}
	return strconv.Itoa(status)
}

// smallNumbers spare statuses and short lengths an allocation.
var smallNumbers = func() (t [1024]string) {
	for i := range t {
		t[i] = strconv.Itoa(i)
	}
	return t
}()
