package listener

import (
	"encoding/binary"
	"errors"
	"strings"
)

// hello is what a client asks for before anything is agreed.
type hello struct {
	serverName string // lower case; empty: none
	alpn       []string
}

// Bounds of a ClientHello. Post-quantum key shares and padding make some of several KB; what is longer wants to fill memory.
const (
	maxHello        = 64 << 10 // with the headers of its records
	maxHelloRecords = 16
	recordHeader    = 5
	messageHeader   = 4
)

var (
	errHelloLong = errors.New("the TLS ClientHello is longer than one may be")
	errHello     = errors.New("the TLS ClientHello is malformed")
)

// parseHello reads the ClientHello that b begins with (RFC 8446 sections 5.1 and 4.1.2), which may be cut into records
// anywhere. It checks the form, since who answers the hello reads it again: a name that is found here and not there would
// lead past a match. need is how many bytes b must hold for another attempt; 0 is done. b is moved together in place.
func parseHello(b []byte) (h hello, need int, err error) {
	message := b[:0]
	for at, records := 0, 0; ; records++ {
		if size, ok := messageSize(message); ok && size <= len(message) {
			h, err := parseMessage(message[messageHeader:size])
			return h, 0, err
		} else if ok && at+size-len(message)+recordHeader > maxHello || records == maxHelloRecords {
			return hello{}, 0, errHelloLong
		}
		if len(b) < at+recordHeader {
			return hello{}, at + recordHeader, nil
		}
		length := int(binary.BigEndian.Uint16(b[at+3:]))
		switch {
		case b[at] != 22 || b[at+1] != 3 || length == 0 || length > 16<<10:
			return hello{}, 0, errHello
		case at+recordHeader+length > maxHello:
			return hello{}, 0, errHelloLong
		case len(b) < at+recordHeader+length:
			return hello{}, at + recordHeader + length, nil
		}
		message = append(message, b[at+recordHeader:at+recordHeader+length]...)
		at += recordHeader + length
		if message[0] != 1 {
			return hello{}, 0, errHello
		}
	}
}

// messageSize is how long the handshake message is, as soon as it has said so.
func messageSize(b []byte) (int, bool) {
	if len(b) < messageHeader {
		return 0, false
	}
	return messageHeader + int(b[1])<<16 + int(b[2])<<8 + int(b[3]), true
}

// fields takes lengths and what they are of from the front; broken says that one was a lie.
type fields struct {
	b      []byte
	broken bool
}

func (f *fields) take(n int) []byte {
	if n > len(f.b) {
		f.broken = true
		return nil
	}
	out := f.b[:n]
	f.b = f.b[n:]
	return out
}

// vector takes what a length of the given size says.
func (f *fields) vector(size int) []byte {
	n := 0
	for _, c := range f.take(size) {
		n = n<<8 | int(c)
	}
	return f.take(n)
}

func parseMessage(b []byte) (hello, error) {
	f := fields{b: b}
	f.take(2 + 32) // legacy_version, random
	f.vector(1)    // legacy_session_id
	f.vector(2)    // cipher_suites
	f.vector(1)    // legacy_compression_methods
	if f.broken {
		return hello{}, errHello
	}
	if len(f.b) == 0 {
		return hello{}, nil // TLS 1.2 may leave extensions out
	}
	extensions := fields{b: f.vector(2)}
	if f.broken || len(f.b) != 0 {
		return hello{}, errHello
	}
	var h hello
	var seen [2]bool
	for len(extensions.b) > 0 {
		kind, body := extensions.take(2), extensions.vector(2)
		if extensions.broken {
			return hello{}, errHello
		}
		ok := true
		switch binary.BigEndian.Uint16(kind) {
		case 0:
			ok = !seen[0] && h.readServerName(body)
			seen[0] = true
		case 16:
			ok = !seen[1] && h.readALPN(body)
			seen[1] = true
		}
		if !ok {
			return hello{}, errHello
		}
	}
	return h, nil
}

// readServerName reads RFC 6066 section 3: a list in which there is one host name.
func (h *hello) readServerName(b []byte) bool {
	f := fields{b: b}
	list := fields{b: f.vector(2)}
	if f.broken || len(f.b) != 0 || len(list.b) == 0 {
		return false
	}
	for len(list.b) > 0 {
		kind, name := list.take(1), list.vector(2)
		if list.broken || len(name) == 0 {
			return false
		}
		if kind[0] != 0 {
			continue
		}
		if h.serverName != "" {
			return false
		}
		if h.serverName = strings.ToLower(string(name)); !hostName(h.serverName) {
			return false
		}
	}
	return true
}

// hostName keeps what goes into logs, and is compared, to what names are made of. A name ends without a dot.
func hostName(s string) bool {
	for i := range len(s) {
		if c := s[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`"%,/:;<>\`, c) >= 0 {
			return false
		}
	}
	return len(s) <= 255 && !strings.HasSuffix(s, ".")
}

// readALPN reads RFC 7301 section 3.1.
func (h *hello) readALPN(b []byte) bool {
	f := fields{b: b}
	list := fields{b: f.vector(2)}
	if f.broken || len(f.b) != 0 || len(list.b) == 0 {
		return false
	}
	for len(list.b) > 0 {
		name := list.vector(1)
		if list.broken || len(name) == 0 {
			return false
		}
		h.alpn = append(h.alpn, string(name))
	}
	return true
}
