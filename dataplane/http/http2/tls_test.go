package http2

import (
	"bytes"
	"crypto/tls"
	"net"
	"sync"
	"testing"

	"github.com/hauberk-mesh/hauberk/internal/buffers"
)

// tlsPair is a pair over TLS, whose connections can not be waited on.
func tlsPair(t testing.TB) (client, server net.Conn) {
	a, b := pair(t, true)
	client = tls.Client(a, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	server = tls.Server(b, &tls.Config{Certificates: []tls.Certificate{selfSigned(t)}, NextProtos: []string{"h2"}})
	return client, server
}

func TestOverTLS(t *testing.T) {
	a, b := tlsPair(t)
	serve(t, b, Options{}, echo)
	cc := dial(t, a, Options{})
	if cc.c.piece != buffers.Small {
		t.Error("a read gives more than a TLS record")
	}
	var wg sync.WaitGroup
	for i := range 20 {
		wg.Go(func() {
			sent := bytes.Repeat([]byte{byte(i), 'x'}, 50_000*i)
			if m, body, _, err := roundTrip(cc, post(), sent, nil); err != nil || !bytes.Equal(body, sent) {
				t.Error(i, m, len(body), err)
			}
		})
	}
	wg.Wait()
}
