package proxyprotocol

import (
	"encoding/binary"
	"net/netip"
)

// What the 13th and 14th byte of version 2 say (section 2.2).
const (
	commandLocal = 0x20
	commandProxy = 0x21

	familyUnspec = 0x0
	familyInet   = 0x1
	familyInet6  = 0x2
	familyUnix   = 0x3

	transportUnspec = 0x0
	transportStream = 0x1
	transportDgram  = 0x2
)

// parseV2 reads a binary header. TLVs are walked, so that a length that is a lie is found, and otherwise skipped.
func parseV2(b []byte) (Header, int, error) {
	if len(b) < sizeV2 {
		return Header{}, sizeV2, ErrShort
	}
	command, family, transport := b[12], b[13]>>4, b[13]&0xf
	length := int(binary.BigEndian.Uint16(b[14:]))
	switch {
	case command != commandLocal && command != commandProxy:
		return Header{}, 0, malformed("version and command are %#x, want %#x or %#x", command, commandLocal, commandProxy)
	case family > familyUnix || transport > transportDgram:
		return Header{}, 0, malformed("family and transport are %#x, which means nothing", b[13])
	case length > maxLength:
		return Header{}, 0, malformed("announces %d bytes, at most %d are read", length, maxLength)
	case len(b) < sizeV2+length:
		return Header{}, sizeV2 + length, ErrShort
	}
	h := Header{Version: 2, Size: sizeV2 + length}
	if command == commandLocal {
		return h, 0, nil // the receiver must skip whatever follows, and take the connection's own addresses
	}
	body := b[sizeV2:h.Size]
	size := [...]int{familyUnspec: 0, familyInet: 12, familyInet6: 36, familyUnix: 216}[family]
	if len(body) < size {
		return Header{}, 0, malformed("announces %d bytes, but its addresses take %d", length, size)
	}
	if transport == transportDgram {
		return Header{}, 0, malformed("is about a datagram, and this is a stream")
	}
	if family != familyUnspec {
		if err := checkTLVs(body[size:]); err != nil {
			return Header{}, 0, err
		}
	}
	if transport == transportStream && family == familyInet {
		h.Source = unmapped(netip.AddrFrom4([4]byte(body)), binary.BigEndian.Uint16(body[8:]))
		h.Destination = unmapped(netip.AddrFrom4([4]byte(body[4:])), binary.BigEndian.Uint16(body[10:]))
	}
	if transport == transportStream && family == familyInet6 {
		h.Source = unmapped(netip.AddrFrom16([16]byte(body)), binary.BigEndian.Uint16(body[32:]))
		h.Destination = unmapped(netip.AddrFrom16([16]byte(body[16:])), binary.BigEndian.Uint16(body[34:]))
	}
	return h, 0, nil
}

// checkTLVs walks extensions: a type, two bytes of length, the value.
func checkTLVs(b []byte) error {
	for len(b) > 0 {
		if len(b) < 3 {
			return malformed("an extension of %d bytes has no length", len(b))
		}
		n := 3 + int(binary.BigEndian.Uint16(b[1:]))
		if n > len(b) {
			return malformed("extension %#x takes %d bytes of %d", b[0], n, len(b))
		}
		b = b[n:]
	}
	return nil
}
