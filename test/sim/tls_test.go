package sim

import (
	"crypto/tls"
	"net"
)

// tlsClient shakes hands.
func tlsClient(raw net.Conn, c *tls.Config) (net.Conn, error) {
	conn := tls.Client(raw, c)
	if err := conn.Handshake(); err != nil {
		raw.Close()
		return nil, err
	}
	return conn, nil
}
