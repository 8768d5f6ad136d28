package config

//lint:file-ignore SA1019 deprecated fields are honoured: files that people have use them

import (
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/protobuf/proto"

	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/hauberk-mesh/hauberk/dataplane/tls"
)

// peerContext is what a validation context comes to.
type peerContext struct {
	path       string
	validation *tls.Validation // nil: it says nobody to trust
	untrusted  bool            // and that this is meant
	roots      []*x509.Certificate
}

// peer reads whom the context believes: the validation context in the message, that of a secret, or both together.
func (c *contextBuild) peer(m *tlsv3.CommonTlsContext, path string) (*peerContext, error) {
	switch v := m.GetValidationContextType().(type) {
	case *tlsv3.CommonTlsContext_ValidationContext:
		return c.validation(v.ValidationContext, path+".validation_context")
	case *tlsv3.CommonTlsContext_ValidationContextSdsSecretConfig:
		own, err := c.validationSecret(v.ValidationContextSdsSecretConfig, path+".validation_context_sds_secret_config")
		if err != nil {
			return nil, err
		}
		return c.validation(own, path+".validation_context_sds_secret_config")
	case *tlsv3.CommonTlsContext_CombinedValidationContext:
		at := path + ".combined_validation_context"
		sent, err := c.validationSecret(v.CombinedValidationContext.GetValidationContextSdsSecretConfig(), at+".validation_context_sds_secret_config")
		if err != nil {
			return nil, err
		}
		both := &tlsv3.CertificateValidationContext{}
		if own := v.CombinedValidationContext.GetDefaultValidationContext(); own != nil {
			both = proto.Clone(own).(*tlsv3.CertificateValidationContext)
		}
		proto.Merge(both, sent)
		return c.validation(both, at)
	}
	return &peerContext{path: path}, nil
}

func (c *contextBuild) validationSecret(s *tlsv3.SdsSecretConfig, path string) (*tlsv3.CertificateValidationContext, error) {
	secret, err := c.secret(s, path)
	if err != nil {
		return nil, err
	}
	if secret.GetValidationContext() == nil {
		return nil, fmt.Errorf("%s: the secret %q holds no validation_context", path, s.GetName())
	}
	message, err := proto.MarshalOptions{Deterministic: true}.Marshal(secret)
	c.add(message)
	return secret.GetValidationContext(), err
}

func (c *contextBuild) validation(m *tlsv3.CertificateValidationContext, path string) (*peerContext, error) {
	p := &peerContext{path: path}
	v := &tls.Validation{}
	if m.GetTrustChainVerification() == tlsv3.CertificateValidationContext_ACCEPT_UNTRUSTED {
		rest := proto.Clone(m).(*tlsv3.CertificateValidationContext)
		rest.TrustChainVerification = 0
		if fields := populated(rest.ProtoReflect()); len(fields) > 0 {
			return nil, fmt.Errorf("%s.%s: has no effect beside trust_chain_verification: ACCEPT_UNTRUSTED", path, fields[0].Name())
		}
		p.untrusted = true
		return p, nil
	}
	if err := pins(m, path, v); err != nil {
		return nil, err
	}
	var err error
	if v.Names, err = readNames(m, path); err != nil {
		return nil, err
	}
	switch {
	case m.GetCustomValidatorConfig() != nil:
		err = c.spiffe(m, path, v)
	case m.GetTrustedCa() != nil:
		err = c.authorities(m, path, v, p)
	case m.GetCrl() != nil || m.GetOnlyVerifyLeafCertCrl() || m.GetWatchedDirectory() != nil:
		err = fmt.Errorf("%s: crl and watched_directory need trusted_ca", path)
	case len(v.Names) > 0:
		err = fmt.Errorf("%s: names without trusted_ca prove nothing: anybody can write them into a certificate", path)
	case len(v.SPKI)+len(v.Hashes) == 0:
		return p, nil
	}
	p.validation = v
	return p, err
}

// authorities are trusted_ca, with crl.
func (c *contextBuild) authorities(m *tlsv3.CertificateValidationContext, path string, v *tls.Validation, p *peerContext) error {
	sources := []source{{m.GetTrustedCa(), path + ".trusted_ca"}}
	if m.GetCrl() != nil {
		sources = append(sources, source{m.GetCrl(), path + ".crl"})
	} else if m.GetOnlyVerifyLeafCertCrl() {
		return fmt.Errorf("%s.only_verify_leaf_cert_crl: needs crl", path)
	}
	texts, err := c.readAll(sources)
	if err != nil {
		return err
	}
	roots, err := parsePEM(texts[0])
	if err != nil {
		return fmt.Errorf("%s.trusted_ca: %w", path, err)
	}
	if !m.GetSuppressClientCaList() {
		p.roots = roots
	}
	v.Authorities, err = follow(c, m.GetWatchedDirectory(), path, sources, func() (*tls.Authorities, error) {
		texts, err := c.readAll(sources)
		if err != nil {
			return nil, err
		}
		roots, err := parsePEM(texts[0])
		if err != nil {
			return nil, fmt.Errorf("%s.trusted_ca: %w", path, err)
		}
		if len(texts) == 1 {
			return tls.NewAuthorities(roots, nil, false), nil
		}
		lists, err := tls.ParseCRLs(texts[1])
		if err != nil {
			return nil, fmt.Errorf("%s.crl: %w", path, err)
		}
		return tls.NewAuthorities(roots, lists, m.GetOnlyVerifyLeafCertCrl()), nil
	})
	return err
}

// spiffe is Envoy's validator of that name: each peer is judged by the bundle of its own trust domain.
func (c *contextBuild) spiffe(m *tlsv3.CertificateValidationContext, path string, v *tls.Validation) error {
	if m.GetTrustedCa() != nil || m.GetCrl() != nil || m.GetWatchedDirectory() != nil || m.GetOnlyVerifyLeafCertCrl() {
		return fmt.Errorf("%s.custom_validator_config: takes the place of trusted_ca, crl and watched_directory; set only one", path)
	}
	bundles, err := readBundles(c.reader, m.GetCustomValidatorConfig(), path+".custom_validator_config", readData)
	if err != nil {
		return err
	}
	for _, b := range bundles {
		for _, ca := range b.Certificates {
			c.add(ca.Raw)
		}
	}
	v.Trust = &tls.Trust{}
	return v.Trust.SetBundles(bundles)
}

// pins are sums of keys and certificates.
func pins(m *tlsv3.CertificateValidationContext, path string, v *tls.Validation) error {
	for i, text := range m.GetVerifyCertificateSpki() {
		sum, err := base64.StdEncoding.DecodeString(text)
		if err != nil || len(sum) != sha256.Size {
			return fmt.Errorf("%s.verify_certificate_spki[%d]: %q is no SHA-256 sum in base64", path, i, text)
		}
		v.SPKI = append(v.SPKI, [sha256.Size]byte(sum))
	}
	for i, text := range m.GetVerifyCertificateHash() {
		sum, err := hex.DecodeString(strings.ReplaceAll(text, ":", ""))
		if err != nil || len(sum) != sha256.Size {
			return fmt.Errorf("%s.verify_certificate_hash[%d]: %q is no SHA-256 sum in hexadecimal", path, i, text)
		}
		v.Hashes = append(v.Hashes, [sha256.Size]byte(sum))
	}
	return nil
}

func readNames(m *tlsv3.CertificateValidationContext, path string) ([]tls.Name, error) {
	var out []tls.Name
	for i, s := range m.GetMatchTypedSubjectAltNames() {
		at := fmt.Sprintf("%s.match_typed_subject_alt_names[%d]", path, i)
		kind, ok := map[tlsv3.SubjectAltNameMatcher_SanType]tls.NameKind{
			tlsv3.SubjectAltNameMatcher_DNS: tls.DNSName, tlsv3.SubjectAltNameMatcher_URI: tls.URIName,
			tlsv3.SubjectAltNameMatcher_IP_ADDRESS: tls.IPName, tlsv3.SubjectAltNameMatcher_EMAIL: tls.EmailName,
		}[s.GetSanType()]
		if !ok {
			return nil, fmt.Errorf("%s.san_type: %s is not honoured, only DNS, URI, IP_ADDRESS and EMAIL", at, s.GetSanType())
		}
		one, err := readName(s.GetMatcher(), kind)
		if err != nil {
			return nil, fmt.Errorf("%s.matcher%w", at, err)
		}
		one.Text = s.GetSanType().String() + " " + one.Text
		out = append(out, one)
	}
	for i, s := range m.GetMatchSubjectAltNames() {
		one, err := readName(s, tls.AnyName)
		if err != nil {
			return nil, fmt.Errorf("%s.match_subject_alt_names[%d]%w", path, i, err)
		}
		out = append(out, one)
	}
	return out, nil
}

// readName reads one matcher. Errors continue its path.
func readName(m *matcherv3.StringMatcher, kind tls.NameKind) (tls.Name, error) {
	n := tls.Name{Kind: kind}
	fold := func(s string) string { return s }
	if m.GetIgnoreCase() {
		fold = strings.ToLower
	}
	var text, how string
	switch p := m.GetMatchPattern().(type) {
	case *matcherv3.StringMatcher_Exact:
		text, how = p.Exact, "exact"
		if n.Exact = text; m.GetIgnoreCase() && kind != tls.DNSName { // DNS names have no case
			n.Match = func(s string) bool { return strings.EqualFold(s, text) }
		}
	case *matcherv3.StringMatcher_Prefix:
		text, how = p.Prefix, "prefix"
		n.Match = func(s string) bool { return strings.HasPrefix(fold(s), fold(text)) }
	case *matcherv3.StringMatcher_Suffix:
		text, how = p.Suffix, "suffix"
		n.Match = func(s string) bool { return strings.HasSuffix(fold(s), fold(text)) }
	case *matcherv3.StringMatcher_Contains:
		text, how = p.Contains, "contains"
		n.Match = func(s string) bool { return strings.Contains(fold(s), fold(text)) }
	case *matcherv3.StringMatcher_SafeRegex:
		text, how = p.SafeRegex.GetRegex(), "safe_regex"
		re, err := regexp.Compile(`\A(?:` + text + `)\z`)
		if err != nil {
			return n, fmt.Errorf(".safe_regex.regex: %w", err)
		}
		if m.GetIgnoreCase() {
			return n, errors.New(".ignore_case: has no effect on safe_regex; write (?i) into it")
		}
		n.Match = re.MatchString
	default:
		return n, errors.New(": is not set")
	}
	if text == "" {
		return n, fmt.Errorf(".%s: is empty", how)
	}
	n.Text = fmt.Sprintf("%s %q", how, text)
	return n, nil
}
