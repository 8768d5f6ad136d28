// Package rsapad is the padding of RSA, apart from its arithmetic: EMSA-PKCS1-v1_5 and EMSA-PSS for signatures,
// RSAES-PKCS1-v1_5 and RSAES-OAEP for decryption (RFC 8017). It is for whoever does the private operation elsewhere than in
// crypto/rsa: around it, Encode and Decryption behave as rsa.PrivateKey's Sign and Decrypt do, options and errors included.
//
// It computes with no key and checks no signature. Start at Encode and at NewDecryption.
package rsapad

import (
	"crypto"
	"crypto/fips140"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
)

// prefixes are the DER encodings of DigestInfo up to the digest (RFC 8017 section 9.2, note 1), for the hash functions that
// crypto/rsa takes. MD5SHA1 is TLS's of before 1.2 and has none (RFC 4346 section 4.7).
var prefixes = map[crypto.Hash]string{
	crypto.MD5:        "\x30\x20\x30\x0c\x06\x08\x2a\x86\x48\x86\xf7\x0d\x02\x05\x05\x00\x04\x10",
	crypto.SHA1:       "\x30\x21\x30\x09\x06\x05\x2b\x0e\x03\x02\x1a\x05\x00\x04\x14",
	crypto.SHA224:     sha2("\x2d", "\x04", "\x1c"),
	crypto.SHA256:     sha2("\x31", "\x01", "\x20"),
	crypto.SHA384:     sha2("\x41", "\x02", "\x30"),
	crypto.SHA512:     sha2("\x51", "\x03", "\x40"),
	crypto.SHA512_224: sha2("\x2d", "\x05", "\x1c"),
	crypto.SHA512_256: sha2("\x31", "\x06", "\x20"),
	crypto.SHA3_224:   sha2("\x2d", "\x07", "\x1c"),
	crypto.SHA3_256:   sha2("\x31", "\x08", "\x20"),
	crypto.SHA3_384:   sha2("\x41", "\x09", "\x30"),
	crypto.SHA3_512:   sha2("\x51", "\x0a", "\x40"),
	crypto.MD5SHA1:    "",
	crypto.RIPEMD160:  "\x30\x20\x30\x08\x06\x06\x28\xcf\x06\x03\x00\x31\x04\x14",
}

// sha2 is the prefix of a hash function below NIST's arc 2.16.840.1.101.3.4.2: length of all, arc, length of the digest.
func sha2(all, arc, digest string) string {
	return "\x30" + all + "\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02" + arc + "\x05\x00\x04" + digest
}

// Encode is what rsa.PrivateKey.Sign does before the private operation: the number to be raised to the private exponent,
// big-endian and as long as the modulus. *rsa.PSSOptions ask for PSS, all else is PKCS #1 v1.5; the hash function 0 there
// means that digest is signed as it is. A nil random is crypto/rand's.
func Encode(public *rsa.PublicKey, random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	switch opts := opts.(type) {
	case nil:
		return nil, errors.New("RSA signature: no options: which hash function made the digest?")
	case *rsa.PSSOptions:
		if opts == nil {
			return nil, errors.New("RSA signature: PSS options are nil")
		}
		return encodePSS(public, random, opts, digest)
	default:
		return encodePKCS1v15(public, opts.HashFunc(), digest)
	}
}

// encodePKCS1v15 is EMSA-PKCS1-v1_5 (RFC 8017 section 9.2): 0x00 || 0x01 || 0xff ... || 0x00 || DigestInfo.
func encodePKCS1v15(public *rsa.PublicKey, hash crypto.Hash, digest []byte) ([]byte, error) {
	var prefix string
	if hash != 0 {
		if len(digest) != hash.Size() {
			return nil, wrongDigest(hash, digest)
		}
		var ok bool
		if prefix, ok = prefixes[hash]; !ok {
			return nil, fmt.Errorf("RSA signature: PKCS #1 v1.5 has no identifier for the hash function %v", hash)
		}
	}
	k := public.Size()
	info := len(prefix) + len(digest)
	if k < info+11 { // at least 8 bytes of padding
		return nil, rsa.ErrMessageTooLong
	}
	em := make([]byte, k)
	em[1] = 1
	for i := 2; i < k-info-1; i++ {
		em[i] = 0xff
	}
	copy(em[k-info:], prefix)
	copy(em[k-len(digest):], digest)
	return em, nil
}

// encodePSS is EMSA-PSS (RFC 8017 section 9.1.1) with MGF1 of the same hash function.
func encodePSS(public *rsa.PublicKey, random io.Reader, opts *rsa.PSSOptions, digest []byte) ([]byte, error) {
	hash := opts.Hash
	if !hash.Available() {
		return nil, fmt.Errorf("RSA signature: PSS with the hash function %v, which is not linked in or is none", hash)
	}
	emBits := public.N.BitLen() - 1
	emLen := (emBits + 7) / 8
	saltLen, err := saltLength(opts, emLen)
	if err != nil {
		return nil, err
	}
	if len(digest) != hash.Size() {
		return nil, wrongDigest(hash, digest)
	}
	if saltLen > emLen-hash.Size()-2 {
		return nil, rsa.ErrMessageTooLong
	}
	if random == nil {
		random = rand.Reader
	}
	salt := make([]byte, saltLen)
	if _, err := io.ReadFull(random, salt); err != nil {
		return nil, err
	}

	// One byte shorter than the modulus where that has 8n+1 bits: it begins with a zero byte then.
	padded := make([]byte, public.Size())
	em := padded[len(padded)-emLen:]
	db, h := em[:emLen-hash.Size()-1], em[emLen-hash.Size()-1:emLen-1]

	f := hash.New()
	f.Write(make([]byte, 8))
	f.Write(digest)
	f.Write(salt)
	f.Sum(h[:0])

	db[len(db)-saltLen-1] = 1
	copy(db[len(db)-saltLen:], salt)
	xorMGF1(db, f, h)
	db[0] &= 0xff >> (8*emLen - emBits)
	em[emLen-1] = 0xbc
	return padded, nil
}

func saltLength(opts *rsa.PSSOptions, emLen int) (int, error) {
	switch n := opts.SaltLength; {
	case n == rsa.PSSSaltLengthEqualsHash:
		return opts.Hash.Size(), nil
	case n > 0:
		return n, nil
	case n != rsa.PSSSaltLengthAuto:
		return 0, fmt.Errorf("RSA signature: PSS salt length %d", n)
	}
	longest := emLen - 2 - opts.Hash.Size()
	if longest < 0 {
		return 0, rsa.ErrMessageTooLong
	}
	if fips140.Enabled() { // FIPS 186-5 section 5.4(g)
		return min(longest, opts.Hash.Size()), nil
	}
	return longest, nil
}

func wrongDigest(hash crypto.Hash, digest []byte) error {
	return fmt.Errorf("RSA signature: the digest has %d bytes, %v makes %d", len(digest), hash, hash.Size())
}
