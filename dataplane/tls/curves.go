package tls

import "crypto/tls"

// Inside the mesh both ends are ours, and the key exchange is the cheapest that is good: ECDH on P-256, for which Go has
// assembly as it has none for X25519. A client sends a key share for nothing else, so that this is what two of our proxies
// agree on.
//
// With PostQuantum it sends two, SecP256r1MLKEM768 and the P-256 that is a part of it (crypto/tls orders groups by itself and
// makes the second share from the first one's key), and a server that has the setting too takes the hybrid. While a mesh
// changes from one setting to the other, P-256 is what both have sent: no pair needs a HelloRetryRequest, which would be a
// round trip.
//
// A server also takes what clients send that are not ours, or are of an earlier version: they know P-256, but send no share for
// it, and asking for one is that round trip again. crypto/tls prefers what a share was sent for.
func meshCurves(server, postQuantum bool) []tls.CurveID {
	switch {
	case server && postQuantum:
		return []tls.CurveID{tls.SecP256r1MLKEM768, tls.X25519MLKEM768, tls.CurveP256, tls.X25519}
	case server:
		return []tls.CurveID{tls.CurveP256, tls.X25519}
	case postQuantum:
		return []tls.CurveID{tls.SecP256r1MLKEM768, tls.CurveP256}
	}
	return []tls.CurveID{tls.CurveP256}
}

// mesh is base with the mesh's key exchange, unless the configuration names one.
func mesh(opts Options, server bool) *tls.Config {
	if opts.Curves == nil {
		opts.Curves = meshCurves(server, opts.PostQuantum)
	}
	return base(opts)
}

// Curve finds a key exchange by the name that BoringSSL has for it, or IANA.
func Curve(name string) (tls.CurveID, bool) {
	switch name {
	case "X25519":
		return tls.X25519, true
	case "X25519MLKEM768":
		return tls.X25519MLKEM768, true
	case "SecP256r1MLKEM768":
		return tls.SecP256r1MLKEM768, true
	case "SecP384r1MLKEM1024":
		return tls.SecP384r1MLKEM1024, true
	case "P-256":
		return tls.CurveP256, true
	case "P-384":
		return tls.CurveP384, true
	case "P-521":
		return tls.CurveP521, true
	}
	return 0, false
}
