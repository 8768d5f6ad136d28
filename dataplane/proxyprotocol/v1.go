package proxyprotocol

import (
	"bytes"
	"net/netip"
	"strings"
)

// parseV1 reads a line such as "PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n". The fields are apart by exactly one space, and
// ports are written without leading zeros (section 2.1).
func parseV1(b []byte) (Header, int, error) {
	end := bytes.IndexByte(b[:min(len(b), maxV1)], '\n')
	if end < 0 {
		if len(b) >= maxV1 {
			return Header{}, 0, malformed("version 1 has no end of line in its first %d bytes", maxV1)
		}
		return Header{}, len(b) + 1, ErrShort
	}
	if end == 0 || b[end-1] != '\r' {
		return Header{}, 0, malformed("version 1 ends with a bare LF")
	}
	h := Header{Version: 1, Size: end + 1}
	fields := strings.Split(string(b[len(signatureV1):end-1]), " ")
	switch {
	case fields[0] == "UNKNOWN":
		return h, 0, nil // whatever follows in the line is to be ignored
	case fields[0] != "TCP4" && fields[0] != "TCP6":
		return Header{}, 0, malformed("%q is none of TCP4, TCP6 and UNKNOWN", fields[0])
	case len(fields) != 5:
		return Header{}, 0, malformed("version 1 has %d fields after PROXY, want 5", len(fields))
	}
	var err error
	if h.Source, err = endV1(fields[0], fields[1], fields[3]); err == nil {
		h.Destination, err = endV1(fields[0], fields[2], fields[4])
	}
	if err != nil {
		return Header{}, 0, err
	}
	return h, 0, nil
}

func endV1(family, address, port string) (netip.AddrPort, error) {
	ip, err := netip.ParseAddr(address)
	if err != nil || ip.Zone() != "" || ip.Is4() != (family == "TCP4") {
		return netip.AddrPort{}, malformed("%q is no address of %s", address, family)
	}
	n := 0
	for _, c := range []byte(port) {
		if c < '0' || c > '9' || n > 65535 {
			return netip.AddrPort{}, malformed("%q is no port", port)
		}
		n = 10*n + int(c-'0')
	}
	if port == "" || n > 65535 || len(port) > 1 && port[0] == '0' {
		return netip.AddrPort{}, malformed("%q is no port", port)
	}
	return unmapped(ip, uint16(n)), nil
}
