// Package proxyprotocol reads and writes the PROXY protocol's header, version 1 (text) and 2 (binary): what a proxy or load
// balancer in front says of the connection that it carries on (haproxy.org, proxy-protocol.txt).
//
// It is not a connection and trusts nobody: who calls Parse has decided that the peer may be believed. Start at Parse and
// Append.
package proxyprotocol

import (
	"errors"
	"fmt"
	"net/netip"
)

// Limits of a header. Version 1 is at most 107 bytes with its CR LF; version 2 is 16 bytes and what they announce, of which
// addresses take 216 at most. The rest are extensions (TLVs), for which there is room but not without end.
const (
	maxV1     = 107
	sizeV2    = 16
	maxLength = 4 << 10

	// MaxHeader is the longest header that is read.
	MaxHeader = sizeV2 + maxLength
)

// Header is what one says.
type Header struct {
	Version int
	// Size is how many bytes of the connection it takes.
	Size int
	// Source and Destination are of the connection to the sender. They are not valid where the header names none: the sender
	// speaks for itself (LOCAL), or does not know (UNKNOWN), or came over something that is not TCP.
	Source, Destination netip.AddrPort
}

// Errors of Parse. The first says that what comes is no header at all, the second that it is not all there.
var (
	ErrNone  = errors.New("no PROXY protocol header")
	ErrShort = errors.New("the PROXY protocol header is not complete")
)

func malformed(format string, args ...any) error {
	return fmt.Errorf("PROXY protocol header: "+format, args...)
}

const signatureV2 = "\r\n\r\n\x00\r\nQUIT\n"

const signatureV1 = "PROXY "

// Parse reads the header that b begins with. With ErrShort, need is the least that b must hold for another attempt. Any
// error but these two is a header that is wrong: nobody knows then where the connection's own bytes begin.
func Parse(b []byte) (h Header, need int, err error) {
	switch {
	case len(b) == 0:
		return Header{}, 1, ErrShort
	case begins(b, signatureV2):
		return parseV2(b)
	case begins(b, signatureV1):
		return parseV1(b)
	}
	return Header{}, 0, ErrNone
}

// begins tells whether b begins with s, or may when more of it has come.
func begins(b []byte, s string) bool {
	n := min(len(b), len(s))
	return string(b[:n]) == s[:n]
}

// unmapped is an address as the rest of the proxy compares them: IPv4 is IPv4 however it is spelt.
func unmapped(ip netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(ip.Unmap(), port) }
