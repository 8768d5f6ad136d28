package upstream

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hauberk-mesh/hauberk/dataplane/http/http1"
)

// probeTimeout bounds one question. It is short: an endpoint that comes back is to be found within two seconds.
const probeTimeout = time.Second

// ask asks once, on a connection of its own.
func (c *Cluster) ask(ctx context.Context, e *Endpoint) error {
	ctx, cancel := context.WithTimeout(ctx, max(probeTimeout, c.spec.Probe.Interval))
	defer cancel()
	conn, err := c.dial(ctx, e)
	if err != nil {
		return err
	}
	defer conn.Close()
	// A retired endpoint must not be waited for: the deadline follows the context.
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	switch c.spec.Probe.Kind {
	case ProbeMesh:
		status, err := question(conn, "OPTIONS", "*", c.spec.Service, probeHeader)
		if err == nil && status >= 500 {
			err = fmt.Errorf("probe of %s: status %d", e, status)
		}
		return err
	case ProbeHTTP:
		path := c.spec.Probe.Path
		if path == "" {
			path = "/"
		}
		host := e.String()
		if e.key.unix != "" {
			host = "localhost" // a path is no Host, and servers refuse it
		}
		status, err := question(conn, "GET", path, host, "")
		if err == nil && (status < 200 || status >= 400) {
			err = fmt.Errorf("probe of %s: GET %s: status %d", e, path, status)
		}
		return err
	}
	return nil
}

// question sends a request without a body and returns the status of the answer.
func question(conn *Conn, method, path, host, header string) (int, error) {
	defer conn.R.Discard()
	var q http1.Request
	q.Method, q.Path, q.Authority = method, path, host
	q.Header.Add("user-agent", "hauberk")
	if header != "" {
		q.Header.Add(header, "1")
	}
	if _, err := conn.Write(http1.AppendRequest(nil, &q)); err != nil {
		return 0, err
	}
	var a http1.Response
	for interim := 0; interim < 5; interim++ {
		if err := conn.R.ReadResponse(&a, method); err != nil {
			return 0, err
		}
		if a.Status >= 200 {
			return a.Status, nil
		}
	}
	return 0, errors.New("probe: too many interim responses")
}
