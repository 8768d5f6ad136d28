package rsapad

//lint:file-ignore SA1019 see decrypt.go

import (
	"bytes"
	"crypto"
	_ "crypto/md5"
	"crypto/rand"
	"crypto/rsa"
	_ "crypto/sha1"
	"crypto/sha256"
	_ "crypto/sha3"
	_ "crypto/sha512"
	"errors"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"sync"
	"testing"
)

// keyOf makes one key a size for all tests. 1025 and 1032 bits are where PSS's encoding is a byte shorter than the modulus, and
// where the modulus begins within a byte.
var keyOf = func() func(testing.TB, int) *rsa.PrivateKey {
	var made sync.Map
	return func(t testing.TB, bits int) *rsa.PrivateKey {
		once, _ := made.LoadOrStore(bits, sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, bits) }))
		key, err := once.(func() (*rsa.PrivateKey, error))()
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
}()

// raw is the private operation.
func raw(key *rsa.PrivateKey, in []byte) []byte {
	p, q, c := key.Primes[0], key.Primes[1], new(big.Int).SetBytes(in)
	x := new(big.Int).Exp(c, key.Precomputed.Dp, p)
	y := new(big.Int).Exp(c, key.Precomputed.Dq, q)
	x.Mul(x.Sub(x, y), key.Precomputed.Qinv)
	x.Mod(x, p)
	return x.Add(x.Mul(x, q), y).FillBytes(make([]byte, key.Size()))
}

// sign and decrypt are what this package is for: crypto/rsa's keys with the operation taken out.
func sign(key *rsa.PrivateKey, random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	em, err := Encode(&key.PublicKey, random, digest, opts)
	if err != nil {
		return nil, err
	}
	return raw(key, em), nil
}

func decrypt(key *rsa.PrivateKey, random io.Reader, ciphertext []byte, opts crypto.DecrypterOpts) ([]byte, error) {
	d, err := NewDecryption(&key.PublicKey, random, ciphertext, opts)
	if err != nil {
		return nil, err
	}
	return d.Finish(raw(key, d.In))
}

// stream is the same random bytes each time.
func stream() io.Reader { return mathrand.NewChaCha8([32]byte{1}) }

func same(t *testing.T, got []byte, gotErr error, want []byte, wantErr error) {
	t.Helper()
	if (gotErr == nil) != (wantErr == nil) || !bytes.Equal(got, want) {
		t.Errorf("got %x, %v; crypto/rsa has %x, %v", got, gotErr, want, wantErr)
	}
	for _, e := range []error{rsa.ErrMessageTooLong, rsa.ErrDecryption, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(gotErr, e) != errors.Is(wantErr, e) {
			t.Errorf("got the error %v, crypto/rsa has %v", gotErr, wantErr)
		}
	}
}

var hashes = []crypto.Hash{
	0, crypto.MD5, crypto.SHA1, crypto.SHA224, crypto.SHA256, crypto.SHA384, crypto.SHA512, crypto.SHA512_224, crypto.SHA512_256,
	crypto.SHA3_224, crypto.SHA3_256, crypto.SHA3_384, crypto.SHA3_512, crypto.MD5SHA1, crypto.RIPEMD160, crypto.BLAKE2b_256,
}

func digestOf(hash crypto.Hash) []byte {
	if hash == 0 {
		return []byte("as it is")
	}
	return bytes.Repeat([]byte{7}, hash.Size())
}

func TestSignaturesEqualThoseOfCryptoRSA(t *testing.T) {
	for _, bits := range []int{1024, 1025, 1026, 1032, 2048} {
		key := keyOf(t, bits)
		for _, hash := range hashes {
			digest := digestOf(hash)
			t.Run(fmt.Sprintf("%d/%v/PKCS1v15", bits, hash), func(t *testing.T) {
				for _, d := range [][]byte{digest, digest[1:], append([]byte{1}, digest...), nil, make([]byte, key.Size()-11), make([]byte, key.Size()-10)} {
					got, gotErr := sign(key, nil, d, hash)
					want, wantErr := key.Sign(nil, d, hash)
					same(t, got, gotErr, want, wantErr)
				}
			})
			if !hash.Available() {
				continue // crypto/rsa panics
			}
			t.Run(fmt.Sprintf("%d/%v/PSS", bits, hash), func(t *testing.T) {
				longest := (bits-1+7)/8 - 2 - hash.Size()
				for _, salt := range []int{rsa.PSSSaltLengthAuto, rsa.PSSSaltLengthEqualsHash, -2, 1, 20, longest, longest + 1, 1 << 16} {
					opts := &rsa.PSSOptions{SaltLength: salt, Hash: hash}
					for _, d := range [][]byte{digest, digest[1:]} {
						got, gotErr := sign(key, stream(), d, opts)
						want, wantErr := key.Sign(stream(), d, opts)
						same(t, got, gotErr, want, wantErr)
					}
				}
			})
		}
	}
}

func TestPSSVerifies(t *testing.T) {
	key, digest := keyOf(t, 2048), sha256.Sum256([]byte("message"))
	seen := map[string]bool{}
	for range 3 {
		got, err := sign(key, nil, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256})
		if err != nil {
			t.Fatal(err)
		}
		if err := rsa.VerifyPSS(&key.PublicKey, crypto.SHA256, digest[:], got, nil); err != nil {
			t.Error(err)
		}
		seen[string(got)] = true
	}
	if len(seen) != 3 {
		t.Error("salts repeat")
	}
}

// Where crypto/rsa panics there is an error here.
func TestErrorsInsteadOfPanics(t *testing.T) {
	public := &keyOf(t, 1024).PublicKey
	for name, opts := range map[string]crypto.SignerOpts{
		"no options": nil, "nil PSS options": (*rsa.PSSOptions)(nil), "PSS without hash": &rsa.PSSOptions{}, "PSS with a hash not linked": &rsa.PSSOptions{Hash: crypto.BLAKE2b_256},
	} {
		if _, err := Encode(public, nil, make([]byte, 32), opts); err == nil {
			t.Errorf("sign, %s: no error", name)
		}
	}
	for name, opts := range map[string]crypto.DecrypterOpts{
		"OAEP without hash": &rsa.OAEPOptions{}, "OAEP with a hash not linked": &rsa.OAEPOptions{Hash: crypto.SHA256, MGFHash: crypto.BLAKE2b_256}, "other": 7,
	} {
		if _, err := NewDecryption(public, nil, make([]byte, 128), opts); err == nil {
			t.Errorf("decrypt, %s: no error", name)
		}
	}
}

func TestRandomnessThatEnds(t *testing.T) {
	key := keyOf(t, 1024)
	opts := &rsa.PSSOptions{SaltLength: 20, Hash: crypto.SHA256}
	got, gotErr := sign(key, bytes.NewReader(make([]byte, 19)), make([]byte, 32), opts)
	want, wantErr := key.Sign(bytes.NewReader(make([]byte, 19)), make([]byte, 32), opts)
	same(t, got, gotErr, want, wantErr)

	session := &rsa.PKCS1v15DecryptOptions{SessionKeyLen: 48}
	got, gotErr = decrypt(key, bytes.NewReader(nil), make([]byte, 128), session)
	want, wantErr = key.Decrypt(bytes.NewReader(nil), make([]byte, 128), session)
	same(t, got, gotErr, want, wantErr)
}

func BenchmarkEncodePSS(b *testing.B) {
	public, digest := &keyOf(b, 2048).PublicKey, make([]byte, 32)
	opts := &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash, Hash: crypto.SHA256}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Encode(public, nil, digest, opts); err != nil {
			b.Fatal(err)
		}
	}
}
