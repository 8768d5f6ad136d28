// Package client speaks the control plane's API, for the command line and for tests. One method a path; answers are the
// structs of package rest, refusals are *rest.Error. It retries nothing.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/hauberk-mesh/hauberk/api"
	"github.com/hauberk-mesh/hauberk/controlplane/rest"
	"github.com/hauberk-mesh/hauberk/controlplane/why"
)

// Client calls one control plane.
type Client struct {
	base     *url.URL
	token    string
	registry *api.Registry
	http     *http.Client
}

// New makes a Client. base is https://host:port; anchors are the authorities of which the server must prove one.
func New(base *url.URL, anchors *x509.CertPool, token string, registry *api.Registry) *Client {
	return &Client{
		base:     base,
		token:    token,
		registry: registry,
		http: &http.Client{Transport: &http.Transport{
			TLSClientConfig:     &tls.Config{RootCAs: anchors, MinVersion: tls.VersionTLS13},
			TLSHandshakeTimeout: 10 * time.Second,
			ForceAttemptHTTP2:   true,
		}},
	}
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// Base is where the control plane is.
func (c *Client) Base() *url.URL { return c.base }

// Apply stores all documents of the body (YAML or JSON) or none.
func (c *Client) Apply(ctx context.Context, body []byte) (*rest.Applied, error) {
	return call[rest.Applied](ctx, c, http.MethodPost, "/apply", nil, body)
}

// Propagation waits, at most for timeout, until the generation has reached whom it concerns.
func (c *Client) Propagation(ctx context.Context, mesh string, generation uint64, timeout time.Duration) (*rest.Propagation, error) {
	return call[rest.Propagation](ctx, c, http.MethodGet, "/propagation", url.Values{
		"mesh": {mesh}, "generation": {strconv.FormatUint(generation, 10)}, "timeout": {timeout.String()},
	}, nil)
}

// List returns the resources of a kind. The mesh "*" is all of them.
func (c *Client) List(ctx context.Context, plural, mesh string) ([]*api.Resource, error) {
	raw, err := call[struct {
		Items []json.RawMessage `json:"items"`
	}](ctx, c, http.MethodGet, "/"+url.PathEscape(plural), inMesh(mesh), nil)
	if err != nil {
		return nil, err
	}
	items := make([]*api.Resource, len(raw.Items))
	for i, item := range raw.Items {
		if items[i], err = c.registry.DecodeJSON(item); err != nil {
			return nil, fmt.Errorf("answer of the control plane: %w", err)
		}
	}
	return items, nil
}

// Get returns one resource.
func (c *Client) Get(ctx context.Context, plural, name, mesh string) (*api.Resource, error) {
	raw, err := call[json.RawMessage](ctx, c, http.MethodGet, "/"+url.PathEscape(plural)+"/"+url.PathEscape(name), inMesh(mesh), nil)
	if err != nil {
		return nil, err
	}
	r, err := c.registry.DecodeJSON(*raw)
	if err != nil {
		return nil, fmt.Errorf("answer of the control plane: %w", err)
	}
	return r, nil
}

// Delete removes one resource.
func (c *Client) Delete(ctx context.Context, plural, name, mesh string) (*rest.Applied, error) {
	return call[rest.Applied](ctx, c, http.MethodDelete, "/"+url.PathEscape(plural)+"/"+url.PathEscape(name), inMesh(mesh), nil)
}

// Status lists the dataplanes of a mesh and what they run.
func (c *Client) Status(ctx context.Context, mesh string) (*rest.Status, error) {
	return call[rest.Status](ctx, c, http.MethodGet, "/status", inMesh(mesh), nil)
}

// Edges lists who talks to whom, in the last window or (0) since the control plane started.
func (c *Client) Edges(ctx context.Context, mesh string, window time.Duration) (*rest.Edges, error) {
	return call[rest.Edges](ctx, c, http.MethodGet, "/edges", inWindow(mesh, window), nil)
}

// Stat sums up by service.
func (c *Client) Stat(ctx context.Context, mesh string, window time.Duration) (*rest.Stat, error) {
	return call[rest.Stat](ctx, c, http.MethodGet, "/stat", inWindow(mesh, window), nil)
}

// Why explains a call. requestID may be empty.
func (c *Client) Why(ctx context.Context, mesh string, q why.Query, requestID string) (*why.Answer, error) {
	v := inMesh(mesh)
	for name, value := range map[string]string{
		"source": q.Source, "destination": q.Destination, "method": q.Method, "path": q.Path, "requestId": requestID,
	} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Port != 0 {
		v.Set("port", strconv.FormatUint(uint64(q.Port), 10))
	}
	return call[why.Answer](ctx, c, http.MethodGet, "/why", v, nil)
}

// InspectDataplane says where each field in force came from.
func (c *Client) InspectDataplane(ctx context.Context, name, mesh string) (*rest.InspectedDataplane, error) {
	return call[rest.InspectedDataplane](ctx, c, http.MethodGet, "/inspect/dataplanes/"+url.PathEscape(name), inMesh(mesh), nil)
}

// InspectPolicy says where a policy is in force.
func (c *Client) InspectPolicy(ctx context.Context, plural, name, mesh string) (*rest.InspectedPolicy, error) {
	return call[rest.InspectedPolicy](ctx, c, http.MethodGet, "/inspect/"+url.PathEscape(plural)+"/"+url.PathEscape(name), inMesh(mesh), nil)
}

// Check asks the control plane to look after itself. The mesh "*" is all of them.
func (c *Client) Check(ctx context.Context, mesh string) (*rest.Checks, error) {
	return call[rest.Checks](ctx, c, http.MethodGet, "/check", inMesh(mesh), nil)
}

// CreateToken issues a token.
func (c *Client) CreateToken(ctx context.Context, t rest.TokenRequest) (*rest.IssuedToken, error) {
	body, err := json.Marshal(t)
	if err != nil {
		return nil, err
	}
	return call[rest.IssuedToken](ctx, c, http.MethodPost, "/tokens", nil, body)
}

// Tokens lists the records of tokens. The mesh "*" is all of them.
func (c *Client) Tokens(ctx context.Context, mesh string) ([]*api.Resource, error) {
	return c.List(ctx, "tokens", mesh)
}

// RevokeToken ends a token by its id.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	_, err := call[map[string]string](ctx, c, http.MethodDelete, "/tokens/"+url.PathEscape(id), nil, nil)
	return err
}

// RevokeIdentity ends a SPIFFE ID.
func (c *Client) RevokeIdentity(ctx context.Context, mesh, spiffeID string) error {
	body, err := json.Marshal(rest.IdentityRevocation{Mesh: mesh, SpiffeID: spiffeID})
	if err != nil {
		return err
	}
	_, err = call[rest.IdentityRevocation](ctx, c, http.MethodPost, "/identity/revoke", nil, body)
	return err
}

// Version is the control plane's.
func (c *Client) Version(ctx context.Context) (*rest.Version, error) {
	return call[rest.Version](ctx, c, http.MethodGet, "/version", nil, nil)
}

func inMesh(mesh string) url.Values { return url.Values{"mesh": {mesh}} }

func inWindow(mesh string, window time.Duration) url.Values {
	v := inMesh(mesh)
	if window > 0 {
		v.Set("window", window.String())
	}
	return v
}

// maxAnswer bounds what is read into memory: all resources of a big mesh fit.
const maxAnswer = 256 << 20

func call[T any](ctx context.Context, c *Client, method, path string, query url.Values, body []byte) (*T, error) {
	u := *c.base
	// A name may hold an escaped slash, so the path goes in escaped.
	u.RawPath, u.Path = "", ""
	target := u.String() + rest.Prefix + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.token)
	req.Header.Set("Accept", "application/json")
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("answer of %s: %w", c.base.Host, err)
	}
	if resp.StatusCode >= 300 {
		return nil, refusal(resp, text)
	}
	answer := new(T)
	if err := json.Unmarshal(text, answer); err != nil {
		return nil, fmt.Errorf("answer of %s is no JSON of this API: %w", c.base.Host, err)
	}
	return answer, nil
}

func refusal(resp *http.Response, text []byte) error {
	e := &rest.Error{}
	if err := json.Unmarshal(text, e); err != nil || e.Message == "" {
		e.Message = "answered " + resp.Status + " without a word of this API: is it the control plane's API port?"
	}
	e.Status = resp.StatusCode
	return e
}

// IsStatus tells whether err is a refusal of that HTTP status.
func IsStatus(err error, status int) bool {
	var e *rest.Error
	return errors.As(err, &e) && e.Status == status
}
