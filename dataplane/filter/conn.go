package filter

import (
	"crypto/tls"
	"net"
	"net/netip"
	"strings"
)

// NewConn describes a connection: its addresses and, if it is a TLS connection whose handshake is done, what that proved.
// The chain's tls.Config has verified the peer; here its name is only read.
func NewConn(c net.Conn) *Conn {
	f := &Conn{Local: AddrPort(c.LocalAddr()), Remote: AddrPort(c.RemoteAddr())}
	if t, ok := c.(interface{ ConnectionState() tls.ConnectionState }); ok {
		cs := t.ConnectionState()
		f.TLSVersion, f.SNI = cs.Version, cs.ServerName
		f.PeerID = PeerID(&cs)
		if len(cs.PeerCertificates) > 0 {
			f.PeerExpires = cs.PeerCertificates[0].NotAfter
		}
	}
	return f
}

// PeerID is the SPIFFE ID of the peer's leaf; empty without one. A SPIFFE leaf has exactly one URI (X509-SVID section 2).
func PeerID(cs *tls.ConnectionState) string {
	if len(cs.PeerCertificates) == 0 {
		return ""
	}
	uris := cs.PeerCertificates[0].URIs
	if len(uris) != 1 || uris[0].Scheme != "spiffe" {
		return ""
	}
	return uris[0].String()
}

// Service is the workload that a SPIFFE ID names: its last path segment.
func Service(spiffeID string) string {
	return spiffeID[strings.LastIndexByte(spiffeID, '/')+1:]
}

// AddrPort reads the address of a connection's end; zero for one that has none (Unix sockets).
func AddrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
