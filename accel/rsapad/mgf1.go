package rsapad

import (
	"crypto/subtle"
	"encoding/binary"
	"hash"
)

// xorMGF1 xors the mask that MGF1 makes of seed (RFC 8017 appendix B.2.1) into out.
func xorMGF1(out []byte, f hash.Hash, seed []byte) {
	var block []byte
	var counter [4]byte
	for i := uint32(0); len(out) > 0; i++ {
		binary.BigEndian.PutUint32(counter[:], i)
		f.Reset()
		f.Write(seed)
		f.Write(counter[:])
		block = f.Sum(block[:0])
		out = out[subtle.XORBytes(out, out, block):]
	}
}
