package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/http1"
	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

// probeTimeout bounds one question. It is short: an endpoint that comes back is to be found within two seconds.
const probeTimeout = time.Second

// ask asks once, on a connection of its own.
func (c *Cluster) ask(ctx context.Context, e *Endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, max(probeTimeout, c.spec.Probe.Interval))
	defer cancel()
	config := c.httpTLS()
	if !c.spec.HTTP() {
		config = c.opaqueTLS()
	}
	conn, err := c.dial(ctx, e, config)
	if err != nil {
		return err
	}
	defer conn.Close()
	if c.spec.Probe.Kind == ProbeConnect {
		return nil
	}
	stream, end, err := c.alone(ctx, conn)
	if err != nil {
		return err
	}
	defer end()
	// A retired endpoint must not be waited for: the deadline follows the context.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	return c.question(stream, e)
}

// alone speaks HTTP on a connection that nothing else uses.
func (c *Cluster) alone(ctx context.Context, conn *Conn) (stream message.Client, end func(), err error) {
	if !c.speaksHTTP2(conn) {
		return http1.NewClient(conn.Conn), func() {}, nil
	}
	m, err := c.newMux(ctx, conn)
	if err != nil {
		return nil, nil, err
	}
	s, err := m.h2.Open()
	if err != nil {
		_ = m.h2.Close()
		return nil, nil, err
	}
	return s, func() { s.Abort(); s.Release(); _ = m.h2.Close() }, nil
}

// question asks as the probe's kind wants and judges the answer.
func (c *Cluster) question(stream message.Client, e *Endpoint) error {
	q := &message.Request{Method: "GET", Path: c.spec.Probe.Path, Length: message.Absent}
	q.Header.Add("user-agent", "hauberk")
	switch {
	case c.spec.Probe.Kind == ProbeMesh:
		q.Method, q.Path, q.Asterisk, q.Authority = "OPTIONS", "*", true, c.spec.Service
		q.Header.Add(probeHeader, "1")
	case e.key.unix != "":
		q.Authority = "localhost" // a path is no Host, and servers refuse it
	default:
		q.Authority = e.String()
	}
	if q.Path == "" {
		q.Path = "/"
	}
	status, err := answer(stream, q)
	switch {
	case err != nil:
		return err
	case c.spec.Probe.Kind == ProbeMesh && status >= 500, c.spec.Probe.Kind == ProbeHTTP && (status < 200 || status >= 400):
		return fmt.Errorf("probe of %s: %s %s: status %d", e, q.Method, q.Path, status)
	}
	return nil
}

// answer sends a request without content and returns the status of the final response.
func answer(stream message.Client, q *message.Request) (int, error) {
	defer stream.Abort()
	if err := stream.Request(q, true); err != nil {
		return 0, err
	}
	if err := stream.Flush(); err != nil {
		return 0, err
	}
	var a message.Response
	for interim := 0; interim < 5; interim++ {
		if err := stream.Response(&a); err != nil {
			return 0, err
		}
		if a.Status >= 200 {
			return a.Status, nil
		}
	}
	return 0, errors.New("probe: too many interim responses")
}
