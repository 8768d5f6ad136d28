package rsapad

//lint:file-ignore SA1019 see decrypt.go

import (
	"bytes"
	"crypto"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io/fs"
	"math/big"
	"strings"
	"testing"

	"github.com/c2sp/wycheproof"
)

// vectors are one file of C2SP's project Wycheproof, in what is common to its schemas.
type vectors struct {
	Groups []struct {
		KeySize       int    `json:"keySize"`
		Sha           string `json:"sha"`
		MGFSha        string `json:"mgfSha"`
		SaltLen       int    `json:"sLen"`
		PublicKeyPem  string `json:"publicKeyPem"`
		KeyPem        string `json:"keyPem"`
		PrivateKeyPem string `json:"privateKeyPem"`
		Tests         []vector
	} `json:"testGroups"`
}

type vector struct {
	ID                  int `json:"tcId"`
	Msg, Sig, CT, Label hexBytes
	Result              string
	Flags               []string
}

type hexBytes []byte

func (h *hexBytes) UnmarshalText(text []byte) (err error) {
	*h, err = hex.DecodeString(string(text))
	return err
}

var hashOf = map[string]crypto.Hash{
	"SHA-1": crypto.SHA1, "SHA-224": crypto.SHA224, "SHA-256": crypto.SHA256, "SHA-384": crypto.SHA384, "SHA-512": crypto.SHA512,
	"SHA-512/224": crypto.SHA512_224, "SHA-512/256": crypto.SHA512_256,
	"SHA3-224": crypto.SHA3_224, "SHA3-256": crypto.SHA3_256, "SHA3-384": crypto.SHA3_384, "SHA3-512": crypto.SHA3_512,
}

// eachFile calls f with every file of vectors whose name fits.
func eachFile(t *testing.T, pattern string, f func(t *testing.T, v vectors)) {
	names, err := fs.Glob(wycheproof.TestVectors, pattern)
	if err != nil || len(names) == 0 {
		t.Fatalf("no vectors %s (%v)", pattern, err)
	}
	for _, name := range names {
		if strings.Contains(name, "_params") {
			continue // public keys with parameters of PSS in them, which crypto/x509 doesn't read
		}
		t.Run(strings.TrimSuffix(name, "_test.json"), func(t *testing.T) {
			data, err := fs.ReadFile(wycheproof.TestVectors, name)
			if err != nil {
				t.Fatal(err)
			}
			var v vectors
			if err := json.Unmarshal(data, &v); err != nil {
				t.Fatal(err)
			}
			f(t, v)
		})
	}
}

// opened is what a signature was made of: raised to the public exponent; nil: not a signature of this length, or out of range.
func opened(public *rsa.PublicKey, signature []byte) []byte {
	s := new(big.Int).SetBytes(signature)
	if len(signature) != public.Size() || s.Cmp(public.N) >= 0 {
		return nil
	}
	return s.Exp(s, big.NewInt(int64(public.E)), public.N).FillBytes(make([]byte, public.Size()))
}

// A signature with PKCS #1 v1.5 is good if and only if it opens to what Encode makes of the message.
func TestWycheproofSignatures(t *testing.T) {
	for _, pattern := range []string{"rsa_signature_*_test.json", "rsa_pkcs1_*_sig_gen_test.json"} {
		eachFile(t, pattern, func(t *testing.T, v vectors) {
			for _, g := range v.Groups {
				hash, public := hashOf[g.Sha], publicKey(t, g.PublicKeyPem+g.KeyPem)
				for _, c := range g.Tests {
					em, err := Encode(public, nil, digest(hash, c.Msg), hash)
					if err != nil {
						t.Fatalf("%d: %v", c.ID, err)
					}
					good := bytes.Equal(em, opened(public, c.Sig))
					if c.Result == "valid" && !good || c.Result == "invalid" && good {
						t.Errorf("%d (%v): good is %v, want %s", c.ID, c.Flags, good, c.Result)
					}
				}
			}
		})
	}
}

// A signature with PSS is good if and only if it opens to what Encode makes of the message with the salt that is in it.
func TestWycheproofPSS(t *testing.T) {
	eachFile(t, "rsa_pss_*_test.json", func(t *testing.T, v vectors) {
		for _, g := range v.Groups {
			hash, public := hashOf[g.Sha], publicKey(t, g.PublicKeyPem)
			if hash == 0 || g.Sha != g.MGFSha || g.SaltLen == 0 {
				continue // rsa.PSSOptions can't say SHAKE, two hash functions or no salt
			}
			for _, c := range g.Tests {
				em := opened(public, c.Sig)
				again, err := Encode(public, bytes.NewReader(saltOf(public, em, hash, g.SaltLen)), digest(hash, c.Msg), &rsa.PSSOptions{Hash: hash, SaltLength: g.SaltLen})
				if good := err == nil && bytes.Equal(em, again); good != (c.Result == "valid") {
					t.Errorf("%d (%v): good is %v (%v), want %s", c.ID, c.Flags, good, err, c.Result)
				}
			}
		}
	})
}

// saltOf takes the mask off an encoded message; nil: there is no room for a salt.
func saltOf(public *rsa.PublicKey, em []byte, hash crypto.Hash, n int) []byte {
	em = bytes.Clone(em)
	if em = em[min(len(em), public.Size()-(public.N.BitLen()+6)/8):]; len(em) < hash.Size()+n+2 {
		return nil
	}
	db, h := em[:len(em)-hash.Size()-1], em[len(em)-hash.Size()-1:len(em)-1]
	xorMGF1(db, hash.New(), h)
	return db[len(db)-n:]
}

func TestWycheproofDecryption(t *testing.T) {
	for _, pattern := range []string{"rsa_pkcs1_????_test.json", "rsa_oaep_*_test.json"} {
		eachFile(t, pattern, func(t *testing.T, v vectors) {
			for _, g := range v.Groups {
				key := privateKey(t, g.PrivateKeyPem)
				if n := key.Size(); n < 128 || n > 256 && g.Sha != "" {
					continue // crypto/rsa takes none of the short ones; to OAEP the long ones are no different, and slow
				}
				for _, c := range g.Tests {
					var opts crypto.DecrypterOpts
					if g.Sha != "" {
						opts = &rsa.OAEPOptions{Hash: hashOf[g.Sha], MGFHash: hashOf[g.MGFSha], Label: c.Label}
					}
					got, err := decrypt(key, nil, c.CT, opts)
					if good := err == nil && bytes.Equal(got, c.Msg); good != (c.Result != "invalid") || err != nil && !errors.Is(err, rsa.ErrDecryption) {
						t.Errorf("%d (%v): got %x, %v, want %s", c.ID, c.Flags, got, err, c.Result)
					}
					if g.Sha == "" && g.KeySize == 2048 {
						sessionKey(t, key, c)
					}
				}
			}
		})
	}
}

// sessionKey: the message where all is well, and else something else, but never an error for wrong padding.
func sessionKey(t *testing.T, key *rsa.PrivateKey, c vector) {
	for _, n := range []int{len(c.Msg), 48} {
		if n == 0 {
			continue
		}
		opts := &rsa.PKCS1v15DecryptOptions{SessionKeyLen: n}
		got, gotErr := decrypt(key, stream(), c.CT, opts)
		want, wantErr := key.Decrypt(stream(), c.CT, opts)
		same(t, got, gotErr, want, wantErr)
	}
}

func digest(hash crypto.Hash, message []byte) []byte {
	f := hash.New()
	f.Write(message)
	return f.Sum(nil)
}

func publicKey(t *testing.T, text string) *rsa.PublicKey {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*rsa.PublicKey)
}

func privateKey(t *testing.T, text string) *rsa.PrivateKey {
	t.Helper()
	block, _ := pem.Decode([]byte(text))
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	return key.(*rsa.PrivateKey)
}
