// Package message is HTTP without a wire version: requests, responses and their header fields, as the spine, the filters
// and the codecs share them. Bodies are not here: they stream.
package message

// Request is a request head. Its strings stay valid until the request is done, no longer: who keeps one must clone it.
type Request struct {
	Method    string
	Authority string // Host or :authority, lower case
	// Path is the path on which all decisions are taken and which is forwarded; normalised where the chain says so.
	Path string
	// Query is the raw query with its leading "?"; empty without one.
	Query string
	// Original is the request target as received.
	Original string
	// Asterisk is set for "OPTIONS *"; Path is then "*".
	Asterisk bool

	Major, Minor int
	Header       Header
}

// Response is a response head.
type Response struct {
	Status       int
	Reason       string // HTTP/1 reason phrase
	Major, Minor int
	Header       Header
}
