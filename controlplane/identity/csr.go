package identity

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"strings"
)

// maxCSR bounds what is parsed; one for RSA-4096 has under 2 KB.
const maxCSR = 16 << 10

// readCSR returns the public key of a signing request (RFC 2986) whose sender has proven to hold the private one. The only
// name it may ask for is its own: id. Nothing else of it is used.
func readCSR(der []byte, id string) (crypto.PublicKey, error) {
	if len(der) > maxCSR {
		return nil, fmt.Errorf("signing request has %d bytes, more than %d", len(der), maxCSR)
	}
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	// The key is judged first: verifying with a huge one is work.
	if err := checkPublicKey(csr.PublicKey); err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fmt.Errorf("signing request: its signature is wrong: %w", err)
	}
	if err := checkExtensions(csr, id); err != nil {
		return nil, fmt.Errorf("signing request %w", err)
	}
	return csr.PublicKey, nil
}

func checkPublicKey(key crypto.PublicKey) error {
	switch k := key.(type) {
	case *ecdsa.PublicKey:
		if k.Curve != elliptic.P256() {
			return fmt.Errorf("its key is ECDSA %s: use P-256", k.Curve.Params().Name)
		}
		return nil
	case *rsa.PublicKey:
		if n := k.N.BitLen(); n < 2048 || n > 4096 {
			return fmt.Errorf("its key is RSA of %d bits: use 2048 to 4096, or ECDSA P-256", n)
		}
		return nil
	}
	return fmt.Errorf("its key is a %T: use ECDSA P-256", key)
}

var (
	oidSubjectAltName = asn1.ObjectIdentifier{2, 5, 29, 17}
	// harmless are extensions that tools write on their own and that the authority decides by itself: subject key id, key
	// usage, extended key usage.
	harmless = []asn1.ObjectIdentifier{{2, 5, 29, 14}, {2, 5, 29, 15}, {2, 5, 29, 37}}
)

// checkExtensions refuses a request for anything but its own name, rather than to sign something else than was asked for.
func checkExtensions(csr *x509.CertificateRequest, id string) error {
	for _, e := range csr.Extensions {
		switch {
		case e.Id.Equal(oidSubjectAltName):
			if err := checkNames(csr, e.Value, id); err != nil {
				return err
			}
		case !isHarmless(e.Id):
			return fmt.Errorf("asks for the extension %s: leave it out", e.Id)
		}
	}
	return nil
}

func isHarmless(id asn1.ObjectIdentifier) bool {
	for _, h := range harmless {
		if id.Equal(h) {
			return true
		}
	}
	return false
}

// checkNames counts the raw names too: crypto/x509 passes over kinds that it does not know (directory names, other names).
func checkNames(csr *x509.CertificateRequest, san []byte, id string) error {
	var names []asn1.RawValue
	if rest, err := asn1.Unmarshal(san, &names); err != nil || len(rest) != 0 {
		return errors.New("has a damaged subject alternative name")
	}
	var asked []string
	asked = append(asked, csr.DNSNames...)
	asked = append(asked, csr.EmailAddresses...)
	for _, ip := range csr.IPAddresses {
		asked = append(asked, ip.String())
	}
	for _, uri := range csr.URIs {
		if uri.String() != id {
			asked = append(asked, uri.String())
		}
	}
	if len(asked) > 0 {
		return fmt.Errorf("asks for %s, may have %s alone", quoted(asked), id)
	}
	if len(names) != len(csr.URIs) || len(names) > 1 {
		return fmt.Errorf("asks for %d names, some of unknown kinds, may have %s alone", len(names), id)
	}
	return nil
}

// quoted shows names that a stranger chose, without letting them fill the log.
func quoted(names []string) string {
	const shown, longest = 3, 200
	var out []string
	for i, n := range names {
		if i == shown {
			out = append(out, fmt.Sprintf("and %d more", len(names)-shown))
			break
		}
		if len(n) > longest {
			n = n[:longest] + "..."
		}
		out = append(out, fmt.Sprintf("%q", n))
	}
	return strings.Join(out, ", ")
}
