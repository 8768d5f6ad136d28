package listener

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/proxyprotocol"
	"github.com/hauberk-mesh/hauberk/internal/buffers"
	"github.com/hauberk-mesh/hauberk/internal/sock"
)

// inspect finds out what the choice of a chain depends on: the listener filters. Of the connection's bytes only a PROXY header
// is consumed.
func (c *conn) inspect(spec *Spec) error {
	c.see()
	if spec.OriginalDst {
		if to := sock.OriginalDst(c.raw); to.IsValid() {
			c.facts.local = to
		}
	}
	s := spec.sniffer()
	if spec.ProxyProtocol == nil && !s.wanted() {
		return nil
	}
	began := time.Now()
	limit := spec.SniffTimeout
	if limit == 0 {
		limit = patience(spec)
	}
	if limit > 0 {
		_ = c.raw.SetReadDeadline(began.Add(limit))
	}
	defer func() { _ = c.raw.SetReadDeadline(time.Time{}) }()
	if spec.ProxyProtocol != nil {
		if err := c.takeHeader(spec); err != nil {
			return err
		}
	}
	if !s.wanted() {
		return nil
	}
	return c.sniff(spec, s, began)
}

// patience is how long a client may be silent where silence decides nothing: as long as between two requests.
func patience(spec *Spec) time.Duration {
	for _, chain := range spec.all() {
		if chain.HTTP != nil {
			return chain.HTTP.IdleTimeout
		}
		if chain.TCP != nil {
			return chain.TCP.IdleTimeout
		}
	}
	return 0
}

// await shows look what has come, and waits for more as long as it needs that. No buffer is held meanwhile. At the end and at
// the deadline look has seen all that came, and what ended the wait is returned.
func (c *conn) await(look func(b []byte) (need int)) error {
	for need := 1; ; {
		err := sock.WaitBuffered(c.raw, need)
		buf := lend(need)
		if n := sock.PeekNow(c.raw, buf); n > 0 {
			need = look(buf[:n])
		}
		buffers.Put(buf)
		if need == 0 || err != nil {
			return err
		}
	}
}

func lend(n int) []byte {
	switch {
	case n <= buffers.Small:
		return buffers.GetSmall()
	case n <= buffers.Large:
		return buffers.GetLarge()
	}
	return buffers.GetBulk()
}

// takeHeader reads the PROXY header; what it says of the connection is then true. A header that is wrong, or of a version that
// is not wanted, ends the connection: bytes of it must not reach an application as if the client had sent them.
func (c *conn) takeHeader(spec *Spec) error {
	var h proxyprotocol.Header
	wrong, silent := proxyprotocol.ErrShort, true
	err := c.await(func(b []byte) (need int) {
		silent = false
		h, need, wrong = proxyprotocol.Parse(b)
		return need
	})
	p := spec.ProxyProtocol
	switch {
	case errors.Is(wrong, proxyprotocol.ErrNone) && p.Optional:
		return nil
	case silent && p.Optional && spec.PlaintextOnSniffIdle && errors.Is(err, os.ErrDeadlineExceeded):
		return nil
	case errors.Is(wrong, proxyprotocol.ErrShort) && err != nil:
		return err
	case wrong != nil:
		c.l.n.malformed.Add(1)
		return wrong
	case h.Version == 1 && !p.V1 || h.Version == 2 && !p.V2:
		c.l.n.malformed.Add(1)
		return errVersion
	}
	if h.Source.IsValid() {
		c.facts.remote, c.facts.local = h.Source, h.Destination
	}
	buf := lend(h.Size)
	defer buffers.Put(buf)
	_, err = io.ReadFull(c.raw, buf[:h.Size]) // it is all there
	return err
}

var errVersion = errors.New("a PROXY header of a version that is not wanted here")

// sniffer looks at the beginning of a connection.
type sniffer struct {
	tls, names, http bool // what is looked for; names: the ClientHello is wanted to its end
	most             int  // bytes of a ClientHello

	came     bool // anything at all
	kind     Transport
	hello    hello
	protocol string // HTTP, as application_protocols has it
	err      error
}

// sniffer is what the listener's chains want to know. It is not kept on the stack, which many idle connections would pay for.
func (s *Spec) sniffer() *sniffer {
	out := &sniffer{tls: s.Sniff, http: s.SniffHTTP, most: s.MaxHello}
	if out.most == 0 {
		out.most = maxHello
	}
	for _, c := range s.all() {
		m := &c.Match
		named := len(m.ServerNames) > 0 || len(m.ALPN) > 0 && !s.SniffHTTP
		out.tls = out.tls || m.Transport == TLS || named
		// Where TLS passes through, its server name is all that can be told of it.
		out.names = out.names || named || len(m.ALPN) > 0 || c.TLS == nil && c.TCP != nil && m.Transport != RawBuffer
	}
	return out
}

// all are the chains and the default chain.
func (s *Spec) all() []*Chain {
	if s.Default == nil {
		return s.Chains
	}
	return append(s.Chains[:len(s.Chains):len(s.Chains)], s.Default)
}

func (s *sniffer) wanted() bool { return s.tls || s.http }

// look judges what has come so far.
func (s *sniffer) look(b []byte) (need int) {
	s.came = true
	if s.tls && beginsTLS(b) {
		s.kind = TLS
		switch {
		case !s.names:
			return 0 // the handshake tells the rest, and has its own time for it
		case len(b) < 6:
			return 6
		}
		if s.hello, need, s.err = parseHello(b); need > s.most {
			s.err, need = errHelloLong, 0
		}
		return need
	}
	s.kind = RawBuffer
	if s.http {
		s.protocol, need = beginsHTTP(b)
	}
	return need
}

// sniff looks for TLS and HTTP.
func (c *conn) sniff(spec *Spec, s *sniffer, began time.Time) error {
	err := c.await(s.look)
	if errors.Is(err, os.ErrDeadlineExceeded) && s.kind == TLS && s.names && spec.PlaintextOnSniffIdle {
		// Silence can not mean plaintext any more: what is left of the hello has as long as a handshake, however short the
		// silence may be that decides.
		_ = c.raw.SetReadDeadline(began.Add(c.l.o.HandshakeTimeout))
		if err = c.await(s.look); err != nil {
			return err
		}
	}
	return c.conclude(spec, s, err)
}

// conclude says what was found, err being what ended the wait for more.
func (c *conn) conclude(spec *Spec, s *sniffer, err error) error {
	goOn := spec.PlaintextOnSniffIdle || !s.came && s.http && spec.mixed()
	switch {
	case s.err != nil:
		c.l.n.malformed.Add(1)
		return s.err
	case err == nil:
	case errors.Is(err, os.ErrDeadlineExceeded) && goOn:
		// One of the protocols in which the server speaks first, or nothing that the inspectors know.
	case errors.Is(err, io.EOF) && s.came && s.kind == RawBuffer: // all that will ever come
	default:
		return err
	}
	if s.tls && s.kind != AnyTransport {
		c.facts.transport = s.kind
	}
	c.facts.hello = s.hello
	if s.protocol != "" {
		c.facts.alpn = []string{s.protocol}
	}
	return nil
}

// mixed tells whether the listener has chains of both kinds: then a client that waits for the server to speak is not one of
// HTTP.
func (s *Spec) mixed() bool {
	http, tcp := false, false
	for _, c := range s.all() {
		http, tcp = http || c.HTTP != nil, tcp || c.TCP != nil
	}
	return http && tcp
}
