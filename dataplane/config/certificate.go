package config

import (
	stdtls "crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"

	"github.com/hauberk-mesh/hauberk/accel/keyprovider/memory"
	"github.com/hauberk-mesh/hauberk/dataplane/tls"
)

// certificates are what the proxy presents; nil: none.
func (c *contextBuild) certificates(m *tlsv3.CommonTlsContext, path string) (func() []*stdtls.Certificate, error) {
	if len(m.GetTlsCertificates()) > 0 && len(m.GetTlsCertificateSdsSecretConfigs()) > 0 {
		return nil, fmt.Errorf("%s.tls_certificate_sds_secret_configs: is not for a context that has tls_certificates", path)
	}
	var list []func() *stdtls.Certificate
	for i, one := range m.GetTlsCertificates() {
		get, err := c.certificate(one, fmt.Sprintf("%s.tls_certificates[%d]", path, i))
		if err != nil {
			return nil, err
		}
		list = append(list, get)
	}
	for i, s := range m.GetTlsCertificateSdsSecretConfigs() {
		secret, err := c.secret(s, fmt.Sprintf("%s.tls_certificate_sds_secret_configs[%d]", path, i))
		if err != nil {
			return nil, err
		}
		if secret.GetTlsCertificate() == nil {
			return nil, fmt.Errorf("%s.tls_certificate_sds_secret_configs[%d]: the secret %q holds no tls_certificate", path, i, s.GetName())
		}
		get, err := c.certificate(secret.GetTlsCertificate(), fmt.Sprintf("secret %q: tls_certificate", s.GetName()))
		if err != nil {
			return nil, err
		}
		list = append(list, get)
	}
	if len(list) == 0 {
		return nil, nil
	}
	all := func() []*stdtls.Certificate {
		out := make([]*stdtls.Certificate, len(list))
		for i, get := range list {
			out[i] = get()
		}
		return out
	}
	if len(c.changes) > 0 {
		return all, nil
	}
	fixed := all()
	return func() []*stdtls.Certificate { return fixed }, nil
}

// certificate is one chain with its key, which goes to a key provider.
func (c *contextBuild) certificate(m *tlsv3.TlsCertificate, path string) (func() *stdtls.Certificate, error) {
	key, err := c.privateKey(m, path)
	if err != nil {
		return nil, err
	}
	sources := []source{{m.GetCertificateChain(), path + ".certificate_chain"}, key.source}
	if key.other.data != nil {
		sources = append(sources, key.other)
	}
	read := func() (*stdtls.Certificate, error) {
		texts, err := c.readAll(sources)
		if err != nil {
			return nil, err
		}
		defer wipeAll(sources, texts)
		for i, text := range texts[2:] {
			other, err := tls.KeyPair(texts[0], text)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", sources[2+i].path, err)
			}
			memory.Wipe(other.PrivateKey) // it was parsed only to be compared
		}
		pair, err := tls.KeyPair(texts[0], texts[1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		return pair, c.entrust(pair, key)
	}
	return follow(c, m.GetWatchedDirectory(), path, sources, read)
}

// source is where a value is to be read from, and where in a message that stands.
type source struct {
	data *corev3.DataSource
	path string
}

// follow reads a value that is made of sources, once or, if its directory is to be watched, again when the files have changed.
func follow[T any](c *contextBuild, dir *corev3.WatchedDirectory, path string, sources []source, read func() (T, error)) (func() T, error) {
	texts, err := c.readAll(sources)
	if err != nil {
		return nil, err
	}
	for _, t := range texts {
		c.add(t)
	}
	wipeAll(sources, texts)
	if dir == nil {
		v, err := read()
		return func() T { return v }, err
	}
	var files []string
	for _, s := range sources {
		if s.data.GetFilename() != "" {
			files = append(files, s.data.GetFilename())
		}
	}
	if dir.GetPath() == "" || len(files) == 0 {
		return nil, fmt.Errorf("%s.watched_directory: needs a path, and something that is read from files", path)
	}
	resource, reload := c.reader.resource, c.deps.OnReload
	w, err := tls.NewWatched(files, read, func(err error) {
		if reload != nil {
			reload(resource, err)
		}
	})
	if err != nil {
		return nil, err
	}
	c.changes = append(c.changes, w.Changes)
	return w.Get, nil
}

func (c *contextBuild) readAll(sources []source) ([][]byte, error) {
	out := make([][]byte, len(sources))
	for i, s := range sources {
		text, err := c.readSource(s.data)
		if err != nil {
			wipeAll(sources, out)
			return nil, fmt.Errorf("%s: %w", s.path, err)
		}
		out[i] = text
	}
	return out, nil
}

// wipeAll clears what was read for this purpose, so that a key is not left in a buffer for the next user of its memory. The message
// itself stays as it is: whoever writes a key into it has it in the file or in the control plane too.
func wipeAll(sources []source, texts [][]byte) {
	for i, t := range texts {
		if _, shared := sources[i].data.GetSpecifier().(*corev3.DataSource_InlineBytes); !shared {
			clear(t)
		}
	}
}

// readSource is readData with the environment, of which only an operator may say that a key is in it.
func (c *contextBuild) readSource(d *corev3.DataSource) ([]byte, error) {
	e, ok := d.GetSpecifier().(*corev3.DataSource_EnvironmentVariable)
	if !ok {
		return readData(d)
	}
	if c.deps.Getenv == nil {
		return nil, errors.New("environment_variable: this proxy was given no environment to read it from")
	}
	text := c.deps.Getenv(e.EnvironmentVariable)
	if text == "" {
		return nil, fmt.Errorf("environment_variable: %s is not set or empty", e.EnvironmentVariable)
	}
	return []byte(text), nil
}

// maxData bounds what is read from one file: a bundle of all public authorities has a quarter of a megabyte.
const maxData = 4 << 20

// readData reads a source. One that is not set is an error: who may leave it out does not ask.
func readData(d *corev3.DataSource) ([]byte, error) {
	switch s := d.GetSpecifier().(type) {
	case *corev3.DataSource_InlineString:
		return []byte(s.InlineString), nil
	case *corev3.DataSource_InlineBytes:
		return s.InlineBytes, nil
	case *corev3.DataSource_Filename:
		return readFile(s.Filename)
	}
	return nil, errors.New("is not set")
}

func readFile(name string) ([]byte, error) {
	// Opening a pipe waits for somebody to write to it.
	if info, err := os.Stat(name); err != nil {
		return nil, fmt.Errorf("filename: %w", err)
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("filename: %s is no regular file", name)
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("filename: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxData+1))
	if err == nil && len(text) > maxData {
		err = fmt.Errorf("%s holds more than %d bytes", name, maxData)
	}
	if err != nil {
		return nil, fmt.Errorf("filename: %w", err)
	}
	return text, nil
}
