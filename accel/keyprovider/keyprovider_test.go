package keyprovider

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"fmt"
	"testing"
)

func TestRSABits(t *testing.T) {
	for _, a := range []Algorithm{RSA2048, RSA3072, RSA4096} {
		if string(a) != fmt.Sprintf("rsa-%d", a.RSABits()) {
			t.Errorf("%s has %d bits", a, a.RSABits())
		}
	}
	if ECDSAP256.RSABits() != 0 || Algorithm("rsa-1024").RSABits() != 0 {
		t.Error("bits of something that is none of our RSA keys")
	}
}

// A signer that has nothing to wait for is not wrapped: crypto/tls asks for the types of keys that it knows.
func TestBindLeavesOthersAlone(t *testing.T) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	if Bind(ctx, private) != crypto.Signer(private) {
		t.Error("wrapped")
	}
}
