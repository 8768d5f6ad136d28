package identity

import (
	"context"
	cryptotls "crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

// connectTimeout ends an attempt to connect that gets no answer, soon enough for the next.
const connectTimeout = 5 * time.Second

// aliveness finds a control plane whose host has died without a word within half a minute, also for a stream that only
// listens. The control plane takes pings each 5 s for no offence.
func aliveness() keepalive.ClientParameters {
	return keepalive.ClientParameters{Time: 15 * time.Second, Timeout: 10 * time.Second, PermitWithoutStream: true}
}

// Dial returns a new connection to the control plane, over mutual TLS with the SVID of the moment of each handshake. The
// control plane takes no new stream on a connection whose leaf has expired: whoever opens a stream anew, dials anew.
func (c *Client) Dial(context.Context) (*grpc.ClientConn, error) {
	if c.o.Identity.Get() == nil {
		return nil, errors.New("control plane: there is no SVID yet to connect with")
	}
	return c.dial(true, c.o.Dial)
}

func (c *Client) dial(withSVID bool, connect func(context.Context, string) (net.Conn, error)) (*grpc.ClientConn, error) {
	config := &cryptotls.Config{MinVersion: cryptotls.VersionTLS13, RootCAs: c.o.CAs}
	if withSVID {
		config.GetClientCertificate = func(*cryptotls.CertificateRequestInfo) (*cryptotls.Certificate, error) {
			if s := c.o.Identity.Get(); s != nil {
				return &s.Certificate, nil
			}
			return nil, errors.New("there is no SVID yet")
		}
	}
	// The name to verify is the address's host, which gRPC fills in. passthrough leaves resolving to Dial.
	conn, err := grpc.NewClient("passthrough:///"+c.addr,
		grpc.WithTransportCredentials(credentials.NewTLS(config)),
		grpc.WithContextDialer(connect),
		grpc.WithKeepaliveParams(aliveness()),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: connectTimeout}),
	)
	if err != nil {
		return nil, fmt.Errorf("control plane %s: %w", c.addr, err)
	}
	return conn, nil
}
