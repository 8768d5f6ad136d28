package tls

import "crypto/tls"

// Options are what a listener or cluster may choose. The zero value is TLS 1.3 without ALPN.
type Options struct {
	// MinVersion and MaxVersion are crypto/tls's numbers; 0 is TLS 1.3.
	MinVersion, MaxVersion uint16
	// ALPN protocols in order of preference: "h2" and "http/1.1" where the chain speaks HTTP.
	ALPN []string
	// CipherSuites of TLS 1.2; those of 1.3 are not for anybody to choose. Nil: crypto/tls's.
	CipherSuites []uint16
	// Curves for the key exchange; nil: in a mesh see meshCurves, elsewhere crypto/tls's, which common clients send shares for.
	Curves []tls.CurveID
	// PostQuantum is about meshes: keys are exchanged so that who records now can't read later with a quantum computer. It
	// needs both sides; where only one has it, the handshake is the ordinary one.
	PostQuantum bool
}

// base is what all configurations share. Sessions are never resumed unless whoever calls it decides otherwise: a ticket would
// skip the verification of the peer's chain, its revocation and its expiry, if that were not done in VerifyConnection.
func base(opts Options) *tls.Config {
	c := &tls.Config{
		MinVersion:             tls.VersionTLS13,
		MaxVersion:             tls.VersionTLS13,
		NextProtos:             opts.ALPN,
		CipherSuites:           opts.CipherSuites,
		CurvePreferences:       opts.Curves,
		SessionTicketsDisabled: true,
		// Small records at the start of a connection and after a pause help a browser that renders as it reads. Between
		// proxies they cost three system calls and MACs for each that a full one needs.
		DynamicRecordSizingDisabled: true,
	}
	if opts.MinVersion != 0 {
		c.MinVersion = opts.MinVersion
	}
	if opts.MaxVersion != 0 {
		c.MaxVersion = opts.MaxVersion
	}
	return c
}

// CipherSuite finds a cipher suite of TLS 1.2 by the name that OpenSSL has for it, or IANA. Suites whose key exchange is RSA
// have no forward secrecy; they are found, since whoever names one wants an old peer.
func CipherSuite(name string) (uint16, bool) {
	if id, ok := opensslSuites[name]; ok {
		return id, true
	}
	for _, id := range opensslSuites {
		if tls.CipherSuiteName(id) == name {
			return id, true
		}
	}
	return 0, false
}

var opensslSuites = map[string]uint16{
	"ECDHE-ECDSA-AES128-GCM-SHA256": tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-ECDSA-AES256-GCM-SHA384": tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-ECDSA-CHACHA20-POLY1305": tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-ECDSA-AES128-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA,
	"ECDHE-ECDSA-AES256-SHA":        tls.TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA,
	"ECDHE-RSA-AES128-GCM-SHA256":   tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
	"ECDHE-RSA-AES256-GCM-SHA384":   tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
	"ECDHE-RSA-CHACHA20-POLY1305":   tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
	"ECDHE-RSA-AES128-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA,
	"ECDHE-RSA-AES256-SHA":          tls.TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA,
	"AES128-GCM-SHA256":             tls.TLS_RSA_WITH_AES_128_GCM_SHA256,
	"AES256-GCM-SHA384":             tls.TLS_RSA_WITH_AES_256_GCM_SHA384,
	"AES128-SHA":                    tls.TLS_RSA_WITH_AES_128_CBC_SHA,
	"AES256-SHA":                    tls.TLS_RSA_WITH_AES_256_CBC_SHA,
}
