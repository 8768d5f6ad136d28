package rsapad

//lint:file-ignore SA1019 see decrypt.go

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"math/big"
	"testing"
)

var decryptions = []crypto.DecrypterOpts{
	nil,
	&rsa.PKCS1v15DecryptOptions{},
	&rsa.PKCS1v15DecryptOptions{SessionKeyLen: -1},
	&rsa.PKCS1v15DecryptOptions{SessionKeyLen: 48},
	&rsa.PKCS1v15DecryptOptions{SessionKeyLen: 1},
	&rsa.PKCS1v15DecryptOptions{SessionKeyLen: 117},
	&rsa.PKCS1v15DecryptOptions{SessionKeyLen: 118},
	&rsa.PKCS1v15DecryptOptions{SessionKeyLen: 1 << 10},
	&rsa.OAEPOptions{Hash: crypto.SHA1},
	&rsa.OAEPOptions{Hash: crypto.SHA256},
	&rsa.OAEPOptions{Hash: crypto.SHA256, Label: []byte("label")},
	&rsa.OAEPOptions{Hash: crypto.SHA256, MGFHash: crypto.SHA1},
	&rsa.OAEPOptions{Hash: crypto.SHA512},
}

// seal raises an encoded message to the public exponent, so that the private operation gives it back.
func seal(key *rsa.PrivateKey, em []byte) []byte {
	m := new(big.Int).SetBytes(em)
	return new(big.Int).Exp(m, big.NewInt(int64(key.E)), key.N).FillBytes(make([]byte, key.Size()))
}

func decryptsAlike(t *testing.T, key *rsa.PrivateKey, ciphertext []byte) {
	t.Helper()
	for _, opts := range decryptions {
		got, gotErr := decrypt(key, stream(), ciphertext, opts)
		want, wantErr := key.Decrypt(stream(), ciphertext, opts)
		same(t, got, gotErr, want, wantErr)
	}
}

func TestMessagesDecrypt(t *testing.T) {
	key := keyOf(t, 1024)
	for _, message := range [][]byte{nil, []byte("m"), make([]byte, 48), bytes.Repeat([]byte{1}, 62)} {
		sealed, err := rsa.EncryptPKCS1v15(rand.Reader, &key.PublicKey, message)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := decrypt(key, nil, sealed, nil); err != nil || !bytes.Equal(got, message) {
			t.Errorf("PKCS #1 v1.5: got %x, %v, want %x", got, err, message)
		}
		if len(message) > 0 {
			got, err := decrypt(key, nil, sealed, &rsa.PKCS1v15DecryptOptions{SessionKeyLen: len(message)})
			if err != nil || !bytes.Equal(got, message) {
				t.Errorf("session key: got %x, %v, want %x", got, err, message)
			}
		}
		decryptsAlike(t, key, sealed)
		for _, o := range decryptions {
			opts, ok := o.(*rsa.OAEPOptions)
			if !ok {
				continue
			}
			sealed, err := rsa.EncryptOAEPWithOptions(rand.Reader, &key.PublicKey, message, opts)
			if err != nil {
				continue // too long for that hash function
			}
			if got, err := decrypt(key, nil, sealed, opts); err != nil || !bytes.Equal(got, message) {
				t.Errorf("OAEP: got %x, %v, want %x", got, err, message)
			}
			decryptsAlike(t, key, sealed)
		}
	}
}

// Every way in which padding can be wrong, and what stands beside it.
func TestPaddingsDecryptAlike(t *testing.T) {
	key := keyOf(t, 1024)
	padded := func(change func(em []byte)) []byte {
		em := bytes.Repeat([]byte{0xaa}, key.Size())
		em[0], em[1], em[len(em)-49] = 0, 2, 0
		change(em)
		return em
	}
	cases := map[string][]byte{
		"good":              padded(func([]byte) {}),
		"first byte":        padded(func(em []byte) { em[0] = 1 }),
		"second byte":       padded(func(em []byte) { em[1] = 1 }),
		"no end":            padded(func(em []byte) { em[len(em)-49] = 1 }),
		"7 bytes":           padded(func(em []byte) { em[9] = 0 }),
		"8 bytes":           padded(func(em []byte) { em[10] = 0 }),
		"end at the end":    padded(func(em []byte) { em[len(em)-49], em[len(em)-1] = 1, 0 }),
		"end at once":       padded(func(em []byte) { em[2] = 0 }),
		"message of zeroes": padded(func(em []byte) { clear(em[len(em)-48:]) }),
		"zero":              make([]byte, key.Size()),
		"one":               append(make([]byte, key.Size()-1), 1),
	}
	for i := range 8 {
		cases[fmt.Sprintf("another length %d", i)] = padded(func(em []byte) { em[len(em)-49] = 1; em[len(em)-45-i] = 0 })
	}
	for name, em := range cases {
		t.Run(name, func(t *testing.T) { decryptsAlike(t, key, seal(key, em)) })
	}
}

func TestCiphertextsOutOfRange(t *testing.T) {
	for _, bits := range []int{1024, 1025} {
		key := keyOf(t, bits)
		n := key.N.FillBytes(make([]byte, key.Size()))
		less := new(big.Int).Sub(key.N, big.NewInt(1)).FillBytes(make([]byte, key.Size()))
		more := new(big.Int).Add(key.N, big.NewInt(1)).FillBytes(make([]byte, key.Size()))
		for name, ciphertext := range map[string][]byte{
			"empty": nil, "short": {1}, "N": n, "N-1": less, "N+1": more, "all ones": bytes.Repeat([]byte{0xff}, key.Size()),
			"long": append([]byte{0}, less...), "longer": make([]byte, 2*key.Size()),
		} {
			if name == "long" && bits%64 != 0 {
				continue // RFC 8017 section 7.2.2 refuses it; crypto/rsa does where the modulus fills its words
			}
			t.Run(fmt.Sprintf("%d/%s", bits, name), func(t *testing.T) { decryptsAlike(t, key, ciphertext) })
		}
	}
}

func FuzzDecrypt(f *testing.F) {
	key := keyOf(f, 1024)
	f.Add(make([]byte, 128), 0)
	f.Add(append([]byte{0, 2}, bytes.Repeat([]byte{3}, 126)...), 3)
	f.Add(append([]byte{0, 2, 1, 1, 1, 1, 1, 1, 1, 1, 0}, make([]byte, 117)...), 5)
	f.Fuzz(func(t *testing.T, em []byte, which int) {
		em = append(em, make([]byte, key.Size())...)[:key.Size()]
		opts := decryptions[uint(which)%uint(len(decryptions))]
		ciphertext := em // out of range as it is
		if new(big.Int).SetBytes(em).Cmp(key.N) < 0 {
			ciphertext = seal(key, em)
		}
		got, gotErr := decrypt(key, stream(), ciphertext, opts)
		want, wantErr := key.Decrypt(stream(), ciphertext, opts)
		same(t, got, gotErr, want, wantErr)
	})
}

func FuzzEncode(f *testing.F) {
	key := keyOf(f, 1024)
	f.Add([]byte("digest"), 0, 0, false)
	f.Add(make([]byte, 32), int(crypto.SHA256), -1, true)
	f.Add(make([]byte, 64), int(crypto.SHA512), 70, true)
	f.Fuzz(func(t *testing.T, digest []byte, h, salt int, pss bool) {
		hash := crypto.Hash(uint(h) % 20)
		if hash != 0 && !hash.Available() {
			return
		}
		opts := crypto.SignerOpts(hash)
		if pss && hash != 0 {
			opts = &rsa.PSSOptions{Hash: hash, SaltLength: salt % 256}
		}
		got, gotErr := sign(key, stream(), digest, opts)
		want, wantErr := key.Sign(stream(), digest, opts)
		same(t, got, gotErr, want, wantErr)
	})
}
