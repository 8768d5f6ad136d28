package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"net/url"
	"strings"
	"testing"
)

const ownID = "spiffe://default.default.mesh.local/workload/cart"

func newCSR(t testing.TB, key crypto.Signer, change func(*x509.CertificateRequest)) []byte {
	t.Helper()
	template := &x509.CertificateRequest{}
	if change != nil {
		change(template)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, template, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

func TestReadCSR(t *testing.T) {
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	rsa2048, _ := rsa.GenerateKey(rand.Reader, 2048)
	rsa1024, _ := rsa.GenerateKey(rand.Reader, 1024) // may be nil where the runtime refuses: then the row is left out
	own, _ := url.Parse(ownID)
	other, _ := url.Parse("spiffe://default.default.mesh.local/workload/payments")
	extension := func(id asn1.ObjectIdentifier, value []byte) func(*x509.CertificateRequest) {
		return func(r *x509.CertificateRequest) { r.ExtraExtensions = []pkix.Extension{{Id: id, Value: value}} }
	}
	// A directoryName ([4]), which crypto/x509 passes over.
	hidden, err := asn1.Marshal([]asn1.RawValue{{Class: asn1.ClassContextSpecific, Tag: 4, IsCompound: true, Bytes: []byte{0x30, 0}}})
	if err != nil {
		t.Fatal(err)
	}
	good := newCSR(t, p256, nil)
	broken := append([]byte(nil), good...)
	broken[len(broken)-1] ^= 1

	rows := map[string]struct {
		der  []byte
		want string // "" is accepted
	}{
		"no name":        {good, ""},
		"own SPIFFE ID":  {newCSR(t, p256, func(r *x509.CertificateRequest) { r.URIs = []*url.URL{own} }), ""},
		"RSA 2048":       {newCSR(t, rsa2048, nil), ""},
		"key usage":      {newCSR(t, p256, extension(asn1.ObjectIdentifier{2, 5, 29, 15}, []byte{3, 2, 7, 0x80})), ""},
		"another's ID":   {newCSR(t, p256, func(r *x509.CertificateRequest) { r.URIs = []*url.URL{other} }), `asks for "` + other.String() + `", may have ` + ownID + " alone"},
		"two IDs":        {newCSR(t, p256, func(r *x509.CertificateRequest) { r.URIs = []*url.URL{own, other} }), other.String()},
		"own ID twice":   {newCSR(t, p256, func(r *x509.CertificateRequest) { r.URIs = []*url.URL{own, own} }), "asks for 2 names"},
		"DNS name":       {newCSR(t, p256, func(r *x509.CertificateRequest) { r.DNSNames = []string{"cart.example"} }), `"cart.example"`},
		"address":        {newCSR(t, p256, func(r *x509.CertificateRequest) { r.IPAddresses = []net.IP{net.IPv4(10, 0, 0, 1)} }), `"10.0.0.1"`},
		"email":          {newCSR(t, p256, func(r *x509.CertificateRequest) { r.EmailAddresses = []string{"a@b.c"} }), `"a@b.c"`},
		"hidden name":    {newCSR(t, p256, extension(oidSubjectAltName, hidden)), "of unknown kinds"},
		"to be a CA":     {newCSR(t, p256, extension(asn1.ObjectIdentifier{2, 5, 29, 19}, []byte{0x30, 3, 1, 1, 0xff})), "extension 2.5.29.19"},
		"P-384":          {newCSR(t, p384, nil), "use P-256"},
		"Ed25519":        {newCSR(t, ed, nil), "use ECDSA P-256"},
		"bad signature":  {broken, "signing request"},
		"empty":          {nil, "signing request"},
		"random":         {[]byte("hello"), "signing request"},
		"huge":           {make([]byte, maxCSR+1), "more than"},
		"trailing bytes": {append(append([]byte(nil), good...), 0), "signing request"},
	}
	if rsa1024 != nil {
		rows["RSA 1024"] = struct {
			der  []byte
			want string
		}{newCSR(t, rsa1024, nil), "RSA of 1024 bits"}
	}
	for name, c := range rows {
		t.Run(name, func(t *testing.T) {
			key, err := readCSR(c.der, ownID)
			if c.want == "" {
				if err != nil || key == nil {
					t.Error(err)
				}
			} else if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func FuzzReadCSR(f *testing.F) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	own, _ := url.Parse(ownID)
	f.Add(newCSR(f, key, nil))
	f.Add(newCSR(f, key, func(r *x509.CertificateRequest) { r.URIs = []*url.URL{own} }))
	f.Fuzz(func(t *testing.T, der []byte) {
		if key, err := readCSR(der, ownID); err == nil && key == nil {
			t.Error("no key and no error")
		}
	})
}
