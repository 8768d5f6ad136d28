package proxyprotocol

import (
	"encoding/binary"
	"net/netip"
	"strconv"
)

// Append appends the header of a connection from src to dst. version is 1 or 2. Addresses that are not there (a Unix socket)
// become UNKNOWN and LOCAL; of two different families the IPv4 one is written as an IPv6 one.
func Append(b []byte, version int, src, dst netip.AddrPort) []byte {
	known := src.IsValid() && dst.IsValid()
	if known {
		src, dst = alike(src, dst)
	}
	if version == 1 {
		return appendV1(b, known, src, dst)
	}
	return appendV2(b, known, src, dst)
}

func alike(src, dst netip.AddrPort) (netip.AddrPort, netip.AddrPort) {
	s, d := src.Addr().WithZone("").Unmap(), dst.Addr().WithZone("").Unmap()
	if s.Is4() != d.Is4() {
		s, d = netip.AddrFrom16(s.As16()), netip.AddrFrom16(d.As16())
	}
	return netip.AddrPortFrom(s, src.Port()), netip.AddrPortFrom(d, dst.Port())
}

func appendV1(b []byte, known bool, src, dst netip.AddrPort) []byte {
	if !known {
		return append(b, "PROXY UNKNOWN\r\n"...)
	}
	family := "PROXY TCP6 "
	if src.Addr().Is4() {
		family = "PROXY TCP4 "
	}
	b = append(b, family...)
	b = append(src.Addr().AppendTo(b), ' ')
	b = append(dst.Addr().AppendTo(b), ' ')
	b = append(strconv.AppendUint(b, uint64(src.Port()), 10), ' ')
	return append(strconv.AppendUint(b, uint64(dst.Port()), 10), "\r\n"...)
}

func appendV2(b []byte, known bool, src, dst netip.AddrPort) []byte {
	b = append(b, signatureV2...)
	switch {
	case !known:
		return append(b, commandLocal, 0, 0, 0)
	case src.Addr().Is4():
		b = append(b, commandProxy, familyInet<<4|transportStream, 0, 12)
	default:
		b = append(b, commandProxy, familyInet6<<4|transportStream, 0, 36)
	}
	b = append(append(b, src.Addr().AsSlice()...), dst.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, src.Port())
	return binary.BigEndian.AppendUint16(b, dst.Port())
}
