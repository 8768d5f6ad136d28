package http1

import (
	"strconv"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// AppendRequest appends a request head to b. The connection to the next hop is kept unless it is an upgrade's.
func AppendRequest(b []byte, m *message.Request) []byte {
	b = append(b, m.Method...)
	b = append(b, ' ')
	if m.Method == "CONNECT" {
		b = append(b, m.Authority...)
	}
	b = append(b, m.Path...)
	b = append(b, m.Query...)
	b = append(b, " HTTP/1.1\r\n"...)
	b = field(b, "host", m.Authority)
	b = appendFields(b, &m.Header)
	b = framing(b, requestFraming(m))
	if m.ExpectContinue {
		b = append(b, "expect: 100-continue\r\n"...)
	}
	switch {
	case m.Upgrade != "":
		b = append(b, "connection: upgrade\r\n"...)
		b = field(b, "upgrade", m.Upgrade)
	case m.Trailers:
		b = append(b, "te: trailers\r\nconnection: te\r\n"...)
	}
	return append(b, "\r\n"...)
}

// requestFraming is how a request's content leaves.
func requestFraming(m *message.Request) Framing {
	switch m.Length {
	case message.Absent:
		return Framing{}
	case message.Unknown:
		return Framing{Kind: Chunked}
	}
	return Framing{Kind: Length, Length: m.Length}
}

// AppendResponse appends a response head to b, whose content leaves as f says. keepAlive says what becomes of the connection;
// minor is the client's HTTP/1 version, which has to be told that a connection stays if it is 0.
func AppendResponse(b []byte, m *message.Response, f Framing, keepAlive bool, minor int) []byte {
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendInt(b, int64(m.Status), 10)
	b = append(b, ' ')
	reason := m.Reason
	if reason == "" {
		reason = StatusText(m.Status) // HTTP/2 has none, and old clients want one
	}
	b = append(b, reason...)
	b = append(b, "\r\n"...)
	b = appendFields(b, &m.Header)
	b = framing(b, f)
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

// responseFraming is how a response's content leaves to a client of an HTTP/1 version, that asked by method.
func responseFraming(m *message.Response, method string, minor int) Framing {
	switch {
	case m.Status < 200 || m.Status == 204 || method == "CONNECT" && m.Status < 300:
		return Framing{}
	case m.Length >= 0:
		return Framing{Kind: Length, Length: m.Length}
	case method == "HEAD" || m.Status == 304:
		return Framing{}
	case m.Length == message.Absent:
		return Framing{Kind: Length}
	case minor == 0:
		return Framing{Kind: UntilClose}
	}
	// A content whose end is the connection's can not be told from one that was cut off; chunks can.
	return Framing{Kind: Chunked}
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

// AppendLastChunk ends a chunked body, with trailers if there are any (nil: none).
func AppendLastChunk(b []byte, trailer *message.Header) []byte {
	b = append(b, "0\r\n"...)
	if trailer != nil {
		b = appendFields(b, trailer)
	}
	return append(b, "\r\n"...)
}

// StatusText is the reason phrase of a status: those of RFC 9110 section 15 and a few others that are seen; "" for the rest.
func StatusText(status int) string {
	for i := range statusTexts {
		if statusTexts[i].status == status {
			return statusTexts[i].text
		}
	}
	return ""
}

// statusTexts begins with what is sent most.
var statusTexts = [...]struct {
	status int
	text   string
}{
	{200, "OK"}, {404, "Not Found"}, {503, "Service Unavailable"}, {403, "Forbidden"}, {204, "No Content"}, {304, "Not Modified"},
	{201, "Created"}, {202, "Accepted"}, {206, "Partial Content"}, {301, "Moved Permanently"}, {302, "Found"}, {303, "See Other"},
	{307, "Temporary Redirect"}, {308, "Permanent Redirect"}, {400, "Bad Request"}, {401, "Unauthorized"}, {405, "Method Not Allowed"},
	{406, "Not Acceptable"}, {407, "Proxy Authentication Required"}, {408, "Request Timeout"}, {409, "Conflict"}, {410, "Gone"},
	{411, "Length Required"}, {412, "Precondition Failed"}, {413, "Content Too Large"}, {414, "URI Too Long"},
	{415, "Unsupported Media Type"}, {416, "Range Not Satisfiable"}, {417, "Expectation Failed"}, {421, "Misdirected Request"},
	{422, "Unprocessable Content"}, {425, "Too Early"}, {426, "Upgrade Required"}, {428, "Precondition Required"},
	{429, "Too Many Requests"}, {431, "Request Header Fields Too Large"}, {451, "Unavailable For Legal Reasons"},
	{500, "Internal Server Error"}, {501, "Not Implemented"}, {502, "Bad Gateway"}, {504, "Gateway Timeout"},
	{505, "HTTP Version Not Supported"}, {507, "Insufficient Storage"}, {508, "Loop Detected"}, {203, "Non-Authoritative Information"},
	{205, "Reset Content"}, {207, "Multi-Status"}, {208, "Already Reported"}, {226, "IM Used"}, {300, "Multiple Choices"},
	{305, "Use Proxy"}, {402, "Payment Required"}, {423, "Locked"}, {424, "Failed Dependency"}, {100, "Continue"},
	{101, "Switching Protocols"}, {102, "Processing"}, {103, "Early Hints"}, {506, "Variant Also Negotiates"},
	{511, "Network Authentication Required"},
}
