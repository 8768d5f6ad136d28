package memory

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
)

var (
	_ keyprovider.Provider = (*Provider)(nil)
	_ crypto.Decrypter     = (*rsaKey)(nil)
)

func TestHandleFindsTheSameKey(t *testing.T) {
	for _, alg := range []keyprovider.Algorithm{keyprovider.ECDSAP256, keyprovider.RSA2048} { // the longer ones take seconds to make
		t.Run(string(alg), func(t *testing.T) {
			ctx, p := context.Background(), New()
			made, err := p.Generate(ctx, alg)
			if err != nil {
				t.Fatal(err)
			}
			handle, err := made.Handle()
			if err != nil {
				t.Fatal(err)
			}
			found, err := p.Open(ctx, handle)
			if err != nil {
				t.Fatal(err)
			}
			checkSigns(t, found, made.Public())
			again, err := found.Handle()
			if err != nil || !bytes.Equal(handle, again) {
				t.Errorf("handle changed on the way (%v)", err)
			}
			if _, isECDSA := made.Public().(*ecdsa.PublicKey); isECDSA {
				if _, ok := made.(crypto.Decrypter); ok {
					t.Error("an ECDSA key says that it decrypts")
				}
				return
			}
			if n := made.Public().(*rsa.PublicKey).N.BitLen(); n != alg.RSABits() {
				t.Errorf("has %d bits", n)
			}
			sealed, _ := rsa.EncryptOAEP(sha256.New(), rand.Reader, made.Public().(*rsa.PublicKey), []byte("hello"), nil)
			if plain, err := found.(crypto.Decrypter).Decrypt(nil, sealed, &rsa.OAEPOptions{Hash: crypto.SHA256}); err != nil || string(plain) != "hello" {
				t.Errorf("decrypts to %q, %v", plain, err)
			}
		})
	}
}

func checkSigns(t *testing.T, key crypto.Signer, public crypto.PublicKey) {
	t.Helper()
	digest := sha256.Sum256([]byte("message"))
	signature, err := key.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	switch public := public.(type) {
	case *ecdsa.PublicKey:
		if !ecdsa.VerifyASN1(public, digest[:], signature) {
			t.Error("signature does not verify")
		}
	case *rsa.PublicKey:
		if err := rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], signature); err != nil {
			t.Error(err)
		}
	}
}

// What crypto/tls can serve can be imported, and its handle opened.
func TestImportTakesWhatTLSServes(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	p521, _ := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	small, _ := rsa.GenerateKey(rand.Reader, 1024)
	bare := &rsa.PrivateKey{PublicKey: small.PublicKey, D: small.D, Primes: small.Primes}
	for name, private := range map[string]crypto.Signer{"ed25519": ed, "P-384": p384, "P-521": p521, "rsa-1024": small, "without CRT numbers": bare} {
		t.Run(name, func(t *testing.T) {
			k, err := New().Import(t.Context(), private)
			if err != nil {
				t.Fatal(err)
			}
			if !k.Public().(interface{ Equal(crypto.PublicKey) bool }).Equal(private.Public()) {
				t.Error("has another public key")
			}
			handle, err := k.Handle()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := New().Open(t.Context(), handle); err != nil {
				t.Error(err)
			}
		})
	}
	if bare.Precomputed.Dp != nil {
		t.Error("changed the caller's key")
	}
}

func TestImportRefuses(t *testing.T) {
	good, _ := rsa.GenerateKey(rand.Reader, 2048)
	tampered := *good
	tampered.Precomputed = rsa.PrecomputedValues{}
	tampered.D = new(big.Int).Add(good.D, big.NewInt(2))
	p256, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	p224, _ := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	mixed, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	mixed.PublicKey = p256.PublicKey
	x25519, _ := ecdh.X25519().GenerateKey(rand.Reader)
	for name, c := range map[string]struct {
		private crypto.PrivateKey
		want    string
	}{
		"nil":           {nil, "no <nil>"},
		"nil RSA":       {(*rsa.PrivateKey)(nil), "is empty"},
		"empty RSA":     {new(rsa.PrivateKey), "is empty"},
		"short RSA":     {&rsa.PrivateKey{PublicKey: rsa.PublicKey{N: big.NewInt(3233), E: 17}}, "has 12 bits"},
		"tampered RSA":  {&tampered, "do not belong together"},
		"P-224":         {p224, "P-224"},
		"mixed ECDSA":   {mixed, "do not belong together"},
		"empty ECDSA":   {new(ecdsa.PrivateKey), "is empty"},
		"half an ECDSA": {&ecdsa.PrivateKey{PublicKey: ecdsa.PublicKey{Curve: elliptic.P256()}}, "is empty"},
		"ed25519":       {ed25519.PrivateKey("x"), "has 1 bytes"},
		"x25519":        {x25519, "no *ecdh.PrivateKey"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := New().Import(t.Context(), c.private); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	x25519, _ := ecdh.X25519().GenerateKey(rand.Reader)
	good, _ := New().Generate(context.Background(), keyprovider.ECDSAP256)
	handle, _ := good.Handle()
	for name, c := range map[string]struct {
		handle []byte
		want   string
	}{
		"empty":           {nil, "is not PEM"},
		"no PEM":          {[]byte("hello"), "is not PEM"},
		"other block":     {pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}), `"CERTIFICATE"`},
		"damaged":         {pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: []byte("x")}), "is not a PKCS #8 key"},
		"something after": {append(bytes.Clone(handle), "x"...), "after its PEM block"},
		"cannot sign":     {pkcs8(t, x25519), "takes RSA, ECDSA and Ed25519 keys"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New().Open(context.Background(), c.handle)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func FuzzOpen(f *testing.F) {
	good, _ := New().Generate(context.Background(), keyprovider.ECDSAP256)
	handle, _ := good.Handle()
	f.Add(handle)
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		k, err := New().Open(t.Context(), data)
		if err != nil {
			return
		}
		if _, err := k.Handle(); err != nil {
			t.Errorf("opened, and has no handle: %v", err)
		}
	})
}

func TestGenerateRefusesOtherAlgorithms(t *testing.T) {
	if _, err := New().Generate(context.Background(), "rsa-1024"); err == nil || !strings.Contains(err.Error(), "rsa-4096") {
		t.Errorf("got %v, want an error that names what can be had", err)
	}
}

// Handles stored by earlier versions say "software", and an operator may go back from batch to memory.
func TestOpensHandlesThatAreTheSame(t *testing.T) {
	for name, want := range map[string]bool{"memory": true, "software": true, "batch": true, "guardian": false, "": false} {
		if New().Opens(name) != want {
			t.Errorf("Opens(%q) is %v", name, !want)
		}
	}
}

func TestKeyDoesNotPrintItself(t *testing.T) {
	for _, alg := range []keyprovider.Algorithm{keyprovider.ECDSAP256, keyprovider.RSA2048} {
		k, _ := New().Generate(context.Background(), alg)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
			if s := fmt.Sprintf(verb, k); !strings.Contains(s, "secret") || len(s) > 80 {
				t.Errorf("%s prints %q", verb, s)
			}
		}
	}
}

func pkcs8(t *testing.T, private any) []byte {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: pemType, Bytes: der})
}
