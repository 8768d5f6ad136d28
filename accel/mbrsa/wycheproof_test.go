package mbrsa

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"math/big"
	"testing"

	"github.com/c2sp/wycheproof"
)

// vectors are Wycheproof's, of both kinds: what is signed and what is decrypted. The padding is accel/rsapad's to test; here
// it is what stands before the message.
type vectors struct {
	TestGroups []struct {
		PrivateKeyPkcs8 string
		Tests           []struct {
			TCID         int `json:"tcId"`
			Msg, Sig, Ct string
			Result       string
		}
	}
}

func TestWycheproof(t *testing.T) {
	backends(t, func(t *testing.T, fast bool) {
		for _, bits := range testSizes {
			for _, kind := range []string{"sig_gen_test", "test"} {
				if !fast && (bits > 2048 || kind == "test") {
					continue // slow, and all this is about is the kernels
				}
				t.Run(fmt.Sprint(bits, "/", kind), func(t *testing.T) { runVectors(t, bits, kind, fast) })
			}
		}
	})
}

func runVectors(t *testing.T, bits int, kind string, fast bool) {
	text, err := fs.ReadFile(wycheproof.TestVectors, fmt.Sprintf("rsa_pkcs1_%d_%s.json", bits, kind))
	if err != nil {
		t.Fatal(err)
	}
	var v vectors
	if err := json.Unmarshal(text, &v); err != nil {
		t.Fatal(err)
	}
	w := newWorker(bits, fast)
	defer w.Close()
	var privs []*rsa.PrivateKey
	var ops []*Op
	var wants [][]byte // what an Out ends with
	for _, g := range v.TestGroups {
		parsed, err := x509.ParsePKCS8PrivateKey(unhex(t, g.PrivateKeyPkcs8))
		if err != nil {
			t.Fatal(err)
		}
		priv := parsed.(*rsa.PrivateKey)
		if priv.Primes[0].BitLen() != priv.Primes[1].BitLen() {
			continue // keys that NewKey refuses
		}
		key := mustKey(t, priv)
		for _, test := range g.Tests {
			sig, ct := new(big.Int).SetBytes(unhex(t, test.Sig)), new(big.Int).SetBytes(unhex(t, test.Ct))
			switch {
			case kind == "sig_gen_test":
				padded := new(big.Int).Exp(sig, big.NewInt(int64(priv.E)), priv.N)
				privs, ops = append(privs, priv), append(ops, opOf(key, padded))
				wants = append(wants, sig.FillBytes(make([]byte, key.Size())))
			case ct.Cmp(priv.N) < 0:
				privs, ops = append(privs, priv), append(ops, opOf(key, ct))
				want := []byte(nil)
				if test.Result == "valid" {
					want = append([]byte{0}, unhex(t, test.Msg)...)
				}
				wants = append(wants, want)
			}
		}
	}
	if len(ops) < 10 {
		t.Fatalf("only %d vectors", len(ops))
	}
	t.Logf("%d vectors", len(ops))
	expect(t, w, privs, ops)
	for i, op := range ops {
		if !bytes.HasSuffix(op.Out, wants[i]) {
			t.Errorf("vector %d: got %x, want it to end in %x", i, op.Out, wants[i])
		}
	}
}

func unhex(t *testing.T, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
