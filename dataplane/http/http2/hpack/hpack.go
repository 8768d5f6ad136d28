// Package hpack is header compression for HTTP/2: RFC 7541. An Encoder and a Decoder are the two ends of one direction of a
// connection; in the steady state neither allocates. It knows nothing of frames, and nothing of which names and values a
// message may have: that is for http2 to check.
//
// Start at Encoder.Append and Decoder.Decode. table.go is the dynamic table that both have, policy.go says what is worth a
// place in it and what must never get one.
package hpack

import "errors"

// Errors of Decode. After any but ErrListTooLarge the two ends no longer agree on the dynamic table, and the connection is to
// be closed with COMPRESSION_ERROR (RFC 9113 section 4.3).
var (
	// ErrListTooLarge says that the fields were more than the caller takes. The connection can go on.
	ErrListTooLarge = errors.New("hpack: header list is larger than the limit")

	errTruncated  = errors.New("hpack: header block ends within a field")
	errInteger    = errors.New("hpack: integer is too big")
	errIndex      = errors.New("hpack: index of no table entry")
	errHuffman    = errors.New("hpack: malformed Huffman code")
	errResize     = errors.New("hpack: dynamic table size update above the setting")
	errLateResize = errors.New("hpack: dynamic table size update after a field")
	errNoResize   = errors.New("hpack: header block does not begin with the dynamic table size update that a smaller setting demands")
	errBomb       = errors.New("hpack: header block decodes to far more than the limit")
)

// overhead is what an entry counts beside its strings: RFC 7541 section 4.1.
const overhead = 32

// defaultTable is the size of both ends' dynamic tables before any setting: RFC 9113 section 6.5.2.
const defaultTable = 4096

// First bits of the representations: RFC 7541 section 6.
const (
	indexed     = 0x80 // 1xxxxxxx
	incremental = 0x40 // 01xxxxxx, a literal that enters the dynamic table
	resize      = 0x20 // 001xxxxx
	never       = 0x10 // 0001xxxx, a literal that no hop may index
	literal     = 0x00 // 0000xxxx
)

// appendInteger appends n with a prefix of so many bits below the bits of first: RFC 7541 section 5.1.
func appendInteger(b []byte, first byte, prefix uint, n uint32) []byte {
	limit := uint32(1)<<prefix - 1
	if n < limit {
		return append(b, first|byte(n))
	}
	b = append(b, first|byte(limit))
	for n -= limit; n >= 0x80; n >>= 7 {
		b = append(b, byte(n)|0x80)
	}
	return append(b, byte(n))
}

// maxInteger bounds what integers may say: nothing here is as big. maxIntegerBytes bounds how long they may be beside their
// prefix, for zeros at the end make them long without making them big.
const (
	maxInteger      = 1<<31 - 1
	maxIntegerBytes = 5
)

// integer reads an integer from p, which is not empty.
func integer(p []byte, prefix uint) (n uint32, rest []byte, err error) {
	limit := byte(1)<<prefix - 1
	if c := p[0] & limit; c < limit {
		return uint32(c), p[1:], nil
	}
	sum := uint64(limit)
	for i := 1; i <= maxIntegerBytes; i++ {
		if i >= len(p) {
			return 0, nil, errTruncated
		}
		sum += uint64(p[i]&0x7f) << (7 * (i - 1))
		if p[i] < 0x80 {
			if sum > maxInteger {
				break
			}
			return uint32(sum), p[i+1:], nil
		}
	}
	return 0, nil, errInteger
}
