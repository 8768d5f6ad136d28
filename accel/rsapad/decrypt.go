package rsapad

//lint:file-ignore SA1019 TLS 1.2 with key exchange by RSA decrypts with PKCS #1 v1.5, and crypto/tls asks for it

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
)

// Decryption is one call of rsa.PrivateKey.Decrypt around the private operation: In goes in, Finish takes what came out.
type Decryption struct {
	In []byte // the number to be raised to the private exponent, big-endian and as long as the modulus

	finish func(em []byte) ([]byte, error)
}

// NewDecryption checks options and ciphertext. Nil options are PKCS #1 v1.5's. random is read for
// rsa.PKCS1v15DecryptOptions with a SessionKeyLen and for nothing else; nil is crypto/rand's.
func NewDecryption(public *rsa.PublicKey, random io.Reader, ciphertext []byte, opts crypto.DecrypterOpts) (*Decryption, error) {
	d := &Decryption{}
	switch opts := opts.(type) {
	case nil:
		d.finish = finishPKCS1v15
	case *rsa.OAEPOptions:
		mgf := opts.MGFHash
		if mgf == 0 {
			mgf = opts.Hash
		}
		if !opts.Hash.Available() || !mgf.Available() {
			return nil, fmt.Errorf("RSA decryption: OAEP with the hash functions %v and %v, of which one is not linked in or is none",
				opts.Hash, mgf)
		}
		if public.Size() < 2*opts.Hash.Size()+2 {
			return nil, rsa.ErrDecryption
		}
		d.finish = func(em []byte) ([]byte, error) { return finishOAEP(em, opts.Hash, mgf, opts.Label) }
	case *rsa.PKCS1v15DecryptOptions:
		d.finish = finishPKCS1v15
		if opts.SessionKeyLen > 0 {
			if opts.SessionKeyLen > public.Size()-11 {
				return nil, rsa.ErrDecryption
			}
			if random == nil {
				random = rand.Reader
			}
			key := make([]byte, opts.SessionKeyLen)
			if _, err := io.ReadFull(random, key); err != nil {
				return nil, err
			}
			d.finish = func(em []byte) ([]byte, error) { return finishSessionKey(em, key), nil }
		}
	default:
		return nil, errors.New("RSA decryption: invalid options")
	}
	var err error
	d.In, err = number(public, ciphertext)
	return d, err
}

// Finish removes the padding of what the private operation returned, as long as the modulus; it may overwrite em and
// return a part of it. It takes the same time and touches the same memory for all of one length, up to the one bit that is
// its result; for a session key not even that.
func (d *Decryption) Finish(em []byte) ([]byte, error) { return d.finish(em) }

// number is the ciphertext as long as the modulus. It is public, so this need not be constant time. One that is shorter
// than it should be is taken, as crypto/rsa does; one with more bytes, or not below the modulus, is refused.
func number(public *rsa.PublicKey, ciphertext []byte) ([]byte, error) {
	k := public.Size()
	if len(ciphertext) > k {
		return nil, rsa.ErrDecryption
	}
	in := make([]byte, k)
	copy(in[k-len(ciphertext):], ciphertext)
	modulus := public.N.FillBytes(make([]byte, k))
	for i := range in {
		if in[i] != modulus[i] {
			if in[i] < modulus[i] {
				return in, nil
			}
			break
		}
	}
	return nil, rsa.ErrDecryption
}

// unpadPKCS1v15 looks at 0x00 || 0x02 || at least 8 bytes not zero || 0x00 || message (RFC 8017 section 7.2.2). valid is 1
// or 0, and at is where the message begins if it is valid: both are secret until the caller decides otherwise.
func unpadPKCS1v15(em []byte) (valid, at int) {
	looking, zero := 1, 0
	for i := 2; i < len(em); i++ {
		isZero := subtle.ConstantTimeByteEq(em[i], 0)
		zero = subtle.ConstantTimeSelect(looking&isZero, i, zero)
		looking &^= isZero
	}
	valid = subtle.ConstantTimeByteEq(em[0], 0) & subtle.ConstantTimeByteEq(em[1], 2) & (looking ^ 1)
	valid &= subtle.ConstantTimeLessOrEq(2+8, zero)
	return valid, zero + 1
}

// finishPKCS1v15 tells its caller whether the padding was right. Whoever lets that be seen from outside is open to
// Bleichenbacher's attack; TLS asks for a session key instead.
func finishPKCS1v15(em []byte) ([]byte, error) {
	valid, at := unpadPKCS1v15(em)
	if valid != 1 {
		return nil, rsa.ErrDecryption
	}
	return em[at:], nil
}

// finishSessionKey replaces key, which is random, if the padding is right and the message has key's length: nobody can tell
// which of both came back (RFC 5246 section 7.4.7.1).
func finishSessionKey(em, key []byte) []byte {
	valid, at := unpadPKCS1v15(em)
	valid &= subtle.ConstantTimeEq(int32(len(em)-at), int32(len(key)))
	subtle.ConstantTimeCopy(valid, key, em[len(em)-len(key):])
	return key
}

// finishOAEP is EME-OAEP decoding (RFC 8017 section 7.1.2). All checks come together in one bit: Manger's attack needs to
// know only whether the first byte was zero.
func finishOAEP(em []byte, hash, mgf crypto.Hash, label []byte) ([]byte, error) {
	f := hash.New()
	f.Write(label)
	labelHash := f.Sum(nil)

	seed, db := em[1:1+f.Size()], em[1+f.Size():]
	g := mgf.New()
	xorMGF1(seed, g, db)
	xorMGF1(db, g, seed)

	looking, one, invalid := 1, 0, 0
	rest := db[f.Size():]
	for i, b := range rest {
		isOne := subtle.ConstantTimeByteEq(b, 1)
		one = subtle.ConstantTimeSelect(looking&isOne, i, one)
		looking &^= isOne
		invalid |= looking &^ subtle.ConstantTimeByteEq(b, 0)
	}
	valid := subtle.ConstantTimeByteEq(em[0], 0) & subtle.ConstantTimeCompare(labelHash, db[:f.Size()])
	if valid&^invalid&^looking != 1 {
		return nil, rsa.ErrDecryption
	}
	return rest[one+1:], nil
}
