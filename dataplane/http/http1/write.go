package http1

import (
	"strconv"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// AppendRequest appends a request head to b. The connection to the next hop is kept unless it is an upgrade's.
func AppendRequest(b []byte, m *Request) []byte {
	b = append(b, m.Method...)
	b = append(b, ' ')
	b = append(b, m.Path...)
	b = append(b, m.Query...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = field(b, "host", m.Authority)
	b = appendFields(b, &m.Header)
	b = framing(b, m.Body)
	if m.Upgrade != "" {
		b = append(b, "connection: upgrade\r\n"...)
		b = field(b, "upgrade", m.Upgrade)
	}
	return append(b, "\r\n"...)
}

// AppendResponse appends a response head to b. keepAlive says what becomes of the connection; minor is the client's HTTP/1
// version, which has to be told that a connection stays if it is 0.
func AppendResponse(b []byte, m *Response, keepAlive bool, minor int) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(m.Status), 10)
	b = append(b, ' ')
	b = append(b, m.Reason...)
	b = append(b, "\r\n"...)
	b = appendFields(b, &m.Header)
	b = framing(b, m.Body)
	if m.Body.Kind == None && m.Declared >= 0 {
		b = length(b, m.Declared)
	}
	switch {
	case m.Status == 101:
		b = append(b, "connection: upgrade\r\n"...)
		b = field(b, "upgrade", m.Upgrade)
	case m.Status < 200:
	case !keepAlive:
		b = append(b, "connection: close\r\n"...)
	case minor == 0:
		b = append(b, "connection: keep-alive\r\n"...)
	}
	return append(b, "\r\n"...)
}

func appendFields(b []byte, h *message.Header) []byte {
	for i := range h.Fields {
		b = field(b, h.Fields[i].Name, h.Fields[i].Value)
	}
	return b
}

func field(b []byte, name, value string) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, "\r\n"...)
}

func framing(b []byte, f Framing) []byte {
	switch f.Kind {
	case Length:
		return length(b, f.Length)
	case Chunked:
		return append(b, "transfer-encoding: chunked\r\n"...)
	}
	return b
}

func length(b []byte, n int64) []byte {
	b = append(b, "content-length: "...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, "\r\n"...)
}

// chunkOverhead is the most that one chunk adds to data of up to 2^28 bytes: size line and closing CRLF.
const chunkOverhead = 8 + 2 + 2

// appendChunk appends data as one chunk; empty data appends nothing, since that would end the body.
func appendChunk(b, data []byte) []byte {
	if len(data) == 0 {
		return b
	}
	b = strconv.AppendUint(b, uint64(len(data)), 16)
	b = append(b, "\r\n"...)
	b = append(b, data...)
	return append(b, "\r\n"...)
}

// AppendLastChunk ends a chunked body.
func AppendLastChunk(b []byte, trailer *message.Header) []byte {
	b = append(b, "0\r\n"...)
	b = appendFields(b, trailer)
	return append(b, "\r\n"...)
}
