package software

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider"
)

var _ keyprovider.Provider = (*Provider)(nil)

func TestHandleFindsTheSameKey(t *testing.T) {
	ctx, p := context.Background(), New()
	made, err := p.Generate(ctx, keyprovider.ECDSAP256)
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
	digest := sha256.Sum256([]byte("message"))
	signature, err := found.Sign(rand.Reader, digest[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if !ecdsa.VerifyASN1(made.Public().(*ecdsa.PublicKey), digest[:], signature) {
		t.Error("a signature of the found key does not verify with the made one")
	}
	again, err := found.Handle()
	if err != nil || !bytes.Equal(handle, again) {
		t.Errorf("handle changed on the way (%v)", err)
	}
}

func TestOpenRefuses(t *testing.T) {
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
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
		"ed25519":         {pkcs8(t, ed), "not a key of type"},
		"P-384":           {pkcs8(t, p384), "not a key of type"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := New().Open(context.Background(), c.handle)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestGenerateRefusesOtherAlgorithms(t *testing.T) {
	if _, err := New().Generate(context.Background(), "rsa-2048"); err == nil {
		t.Error("made a key of an algorithm that it does not have")
	}
}

func TestKeyDoesNotPrintItself(t *testing.T) {
	k, _ := New().Generate(context.Background(), keyprovider.ECDSAP256)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s"} {
		if s := fmt.Sprintf(verb, k); !strings.Contains(s, "secret") {
			t.Errorf("%s prints %q", verb, s)
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
