package config

import (
	stdtls "crypto/tls"
	"fmt"
	"slices"
	"strings"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/tls"
)

// readTLSParameters reads versions, cipher suites and key exchanges. highest is the version where the message names no maximum.
func readTLSParameters(m *tlsv3.TlsParameters, path string, highest uint16) (tls.Options, error) {
	var o tls.Options
	var err error
	o.MinVersion, err = version(m.GetTlsMinimumProtocolVersion(), stdtls.VersionTLS12, path+".tls_minimum_protocol_version")
	if err != nil {
		return o, err
	}
	o.MaxVersion, err = version(m.GetTlsMaximumProtocolVersion(), highest, path+".tls_maximum_protocol_version")
	if err != nil {
		return o, err
	}
	if o.MinVersion > o.MaxVersion {
		return o, fmt.Errorf("%s: the minimum version is above the maximum", path)
	}
	for i, text := range m.GetCipherSuites() {
		ids, err := cipherSuites(text)
		if err != nil {
			return o, fmt.Errorf("%s.cipher_suites[%d]: %w", path, i, err)
		}
		o.CipherSuites = append(o.CipherSuites, ids...)
	}
	for i, name := range m.GetEcdhCurves() {
		id, ok := tls.Curve(name)
		if !ok {
			return o, fmt.Errorf("%s.ecdh_curves[%d]: %q is not honoured, only X25519MLKEM768, SecP256r1MLKEM768, SecP384r1MLKEM1024, X25519, P-256, P-384 and P-521", path, i, name)
		}
		if !slices.Contains(o.Curves, id) {
			o.Curves = append(o.Curves, id)
		}
	}
	return o, nil
}

func version(v tlsv3.TlsParameters_TlsProtocol, auto uint16, path string) (uint16, error) {
	switch v {
	case tlsv3.TlsParameters_TLS_AUTO:
		return auto, nil
	case tlsv3.TlsParameters_TLSv1_2:
		return stdtls.VersionTLS12, nil
	case tlsv3.TlsParameters_TLSv1_3:
		return stdtls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("%s: %s is not honoured: TLS below 1.2 is broken", path, v)
}

// cipherSuites reads one entry: a name, or several of equal preference as [A|B]. Which one of those that both sides know is
// taken, crypto/tls decides.
func cipherSuites(text string) ([]uint16, error) {
	names := []string{text}
	if group, ok := strings.CutPrefix(text, "["); ok {
		if group, ok = strings.CutSuffix(group, "]"); !ok {
			return nil, fmt.Errorf("%q: the bracket is not closed", text)
		}
		names = strings.Split(group, "|")
	}
	var out []uint16
	for _, name := range names {
		id, ok := tls.CipherSuite(name)
		if !ok {
			return nil, fmt.Errorf("%q is not honoured: it is no cipher suite of TLS 1.2 that is left", name)
		}
		out = append(out, id)
	}
	return out, nil
}
