// Package message is HTTP without a wire version: heads, header fields, and the two ends of an exchange, as the spine, the
// filters and the codecs (http1, http2) share them. It reads and writes nothing itself.
//
// Start at Request, then Server and Client in exchange.go.
package message

// Values of Length beside a number of bytes.
const (
	// Unknown is content whose end is not known before it comes: chunked, until close, HTTP/2 without content-length.
	Unknown int64 = -1
	// Absent is no content, and no word about its length.
	Absent int64 = -2
)

// Request is a request head. Its strings stay valid until the request is done, no longer: who keeps one must clone it.
//
// The fields that are a hop's own business (Connection and what it lists, Host, Content-Length, Transfer-Encoding, TE,
// Upgrade, Expect: 100-continue, pseudo-headers) are not in Header: the codec that read them has put what they say here, and
// the one that writes makes them anew.
type Request struct {
	Method string
	// Scheme is "http" or "https" as an HTTP/2 client or an absolute target said; empty where nobody did.
	Scheme    string
	Authority string // Host or :authority, lower case; of CONNECT the host:port to connect to
	// Path is the path on which all decisions are taken and which is forwarded; normalised where the chain says so. Empty
	// for CONNECT.
	Path string
	// Query is the raw query with its leading "?"; empty without one.
	Query string
	// Original is the request target as received.
	Original string
	// Asterisk is set for "OPTIONS *"; Path is then "*".
	Asterisk bool

	Major, Minor int // of the version in which it came: 1.0, 1.1, 2.0
	Header       Header

	// Length is the content's in bytes, Unknown or Absent. Zero is a length that was declared.
	Length int64
	// Upgrade is the protocol that the client asks to change to, "websocket": by Upgrade in HTTP/1.1, or by extended CONNECT
	// in HTTP/2 (RFC 8441), which is presented as a GET.
	Upgrade string
	// Trailers: the client takes trailers (TE: trailers).
	Trailers bool
	// ExpectContinue: the client may hold its content back until it sees a 100.
	ExpectContinue bool
}

// Response is a response head. As for Request, what is a hop's own is not in Header.
type Response struct {
	Status       int    // 101 for an upgrade that was accepted, by HTTP/2 too
	Reason       string // HTTP/1 reason phrase; empty where there was none
	Major, Minor int
	Header       Header

	// Length is the content's in bytes, Unknown or Absent. A response to HEAD and a 304 may declare one and have no content.
	Length int64
	// Upgrade is the protocol of a 101.
	Upgrade string
}
