package upstream

import (
	"bytes"
	"context"
	"io"
	"net/netip"
	"testing"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
	"github.com/hauberk-mesh/hauberk/dataplane/proxyprotocol"
)

// A cluster with PROXY headers has a connection for each exchange, and each begins with the addresses of its caller.
func TestCallerIsIntroduced(t *testing.T) {
	for version := 1; version <= 2; version++ {
		s := newServers(t, "10.0.0.1:80")
		sp := spec("10.0.0.1:80")
		sp.ProxyProtocol = version
		c := Build(nil, sp, Deps{Dial: s.Dial})
		e := c.Pick(nil)
		for _, from := range []string{"192.0.2.1:1000", "192.0.2.2:2000"} {
			src, dst := netip.MustParseAddrPort(from), netip.MustParseAddrPort("198.51.100.7:443")
			stream, err := c.Open(WithCaller(context.Background(), src, dst), e, false)
			if err != nil {
				t.Fatal(err)
			}
			_ = stream.Request(&message.Request{Method: "GET", Path: "/", Authority: "h", Length: message.Absent}, true)
			_ = stream.Flush()
			theirs := <-s.accepted
			want := append(proxyprotocol.Append(nil, version, src, dst), "GET / HTTP/1.1\r\nhost: h\r\n\r\n"...)
			got := make([]byte, len(want))
			if _, err := io.ReadFull(theirs, got); err != nil || !bytes.Equal(got, want) {
				t.Errorf("version %d: %q, want %q (%v)", version, got, want, err)
			}
			_, _ = io.WriteString(theirs, "HTTP/1.1 204 No Content\r\n\r\n")
			if err := stream.Response(&message.Response{}); err != nil {
				t.Fatal(err)
			}
			stream.Close(c, true)
		}
		if st := c.Endpoints()[0]; st.ConnectionsTotal != 2 || st.ConnectionsActive != 0 {
			t.Errorf("version %d: %+v", version, st)
		}
		c.Release()
	}
}
