package demo

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// api is the control plane's REST API as an operator on the same machine uses it.
type api struct {
	base   string
	token  string
	client *http.Client
}

// openAPI reads the credentials that the control plane leaves in its data dir.
func openAPI(dataDir, addr string) (*api, error) {
	anchor, err := os.ReadFile(filepath.Join(dataDir, "ca.crt"))
	if err != nil {
		return nil, err
	}
	token, err := os.ReadFile(filepath.Join(dataDir, "admin.token"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(anchor) {
		return nil, errors.New("ca.crt holds no certificate")
	}
	return &api{
		base: "https://" + addr + "/api/v1alpha1", token: strings.TrimSpace(string(token)),
		client: &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13},
		}},
	}, nil
}

func (a *api) get(ctx context.Context, path string, query url.Values, into any) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, a.base+path+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	q.Header.Set("Authorization", "Bearer "+a.token)
	resp, err := a.client.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 16<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("GET %s: %s: %s", path, resp.Status, strings.TrimSpace(string(body)))
	}
	return json.Unmarshal(body, into)
}

// edge is one row of /edges.
type edge struct {
	Source        string  `json:"source"`
	Destination   string  `json:"destination"`
	SourceID      string  `json:"sourceID"`
	DestinationID string  `json:"destinationID"`
	TLSVersion    string  `json:"tlsVersion"`
	Requests      uint64  `json:"requests"`
	Errors        uint64  `json:"errors"`
	Denied        uint64  `json:"denied"`
	P50           float64 `json:"p50ms"`
	P99           float64 `json:"p99ms"`
}

func (a *api) edges(ctx context.Context) ([]edge, error) {
	var answer struct {
		Edges []edge `json:"edges"`
	}
	err := a.get(ctx, "/edges", url.Values{"mesh": {"default"}}, &answer)
	return answer.Edges, err
}

// refusal is what /why says of the call that policy refuses.
type refusal struct {
	Verdict  string `json:"verdict"`
	Policy   string `json:"policy"`
	Rule     string `json:"rule"`
	Identity string `json:"identity"`
	Observed []struct {
		Side      string `json:"side"`
		RequestID string `json:"requestId"`
		Status    int    `json:"status"`
		Reason    string `json:"reason"`
		Rule      string `json:"rule"`
		SourceID  string `json:"sourceID"`
	} `json:"observed"`
}

func (a *api) why(ctx context.Context, source, destination, path string) (refusal, error) {
	var r refusal
	err := a.get(ctx, "/why", url.Values{
		"mesh": {"default"}, "source": {source}, "destination": {destination}, "path": {path}, "method": {http.MethodGet},
	}, &r)
	return r, err
}

// eventually calls f until it succeeds, a child dies, or patience ends; the last error says what was waited for.
func (c *children) eventually(ctx context.Context, what string, patience time.Duration, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		select {
		case ch := <-c.died:
			return ch.obituary()
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				return fmt.Errorf("%s: not within %s: %w", what, patience, err)
			}
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// answers200 asks a plain HTTP address.
func answers200(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		q, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		q.Close = true
		resp, err := http.DefaultClient.Do(q)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if resp.StatusCode != http.StatusOK {
			body, _ := io.ReadAll(io.LimitReader(resp.Body, 512)) // only to explain
			return fmt.Errorf("%s answers %s %s", url, resp.Status, strings.TrimSpace(string(body)))
		}
		return nil
	}
}
