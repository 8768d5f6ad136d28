package rest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"time"

	"github.com/hauberk-mesh/hauberk/api"
)

func goVersion() string { return runtime.Version() }

// listTokens shows the records of tokens, never a token.
func (s *server) listTokens(q *http.Request) (int, any, error) {
	mesh := queryMesh(q)
	if mesh == "*" {
		mesh = ""
	}
	items, err := s.Resources.List(q.Context(), "Token", mesh)
	if err != nil {
		return 0, nil, err
	}
	if items == nil {
		items = []*api.Resource{}
	}
	return http.StatusOK, List{Items: items}, nil
}

func (s *server) createToken(q *http.Request) (int, any, error) {
	var t TokenRequest
	if err := strictJSON(q, &t); err != nil {
		return 0, nil, err
	}
	if t.Mesh == "" {
		t.Mesh = api.DefaultMesh
	}
	if t.ValidFor == nil {
		t.ValidFor = &api.Duration{Duration: 24 * time.Hour}
	}
	invalid := &api.InvalidError{}
	add := func(field, message, fix string) {
		if message != "" {
			invalid.Problems = append(invalid.Problems, api.Finding{Problem: api.Problem{Field: field, Message: message, Fix: fix}})
		}
	}
	check := func(field, value string) {
		message, fix := api.CheckDNSLabel(value)
		add(field, message, fix)
	}
	message, fix := api.CheckName(t.Name)
	add("name", message, fix)
	switch t.Type {
	case "dataplane":
		if t.Service != "" {
			check("service", t.Service)
		}
		if t.Workload != "" {
			check("workload", t.Workload)
		}
	case "user":
		if t.Service != "" || t.Workload != "" {
			add("type", "is user, which has neither service nor workload", "leave them out")
		}
	default:
		add("type", fmt.Sprintf("is %q", t.Type), "write dataplane or user")
	}
	if t.ValidFor.Duration < time.Second {
		add("validFor", fmt.Sprintf("is %v", t.ValidFor), "write a time of at least 1s, as 24h")
	}
	if len(invalid.Problems) > 0 {
		return 0, nil, &Error{Status: http.StatusBadRequest, Message: "no token was made", Problems: invalid.Problems}
	}
	if err := s.meshExists(q.Context(), t.Mesh); err != nil {
		return 0, nil, err
	}
	issued, err := s.Credentials.Issue(q.Context(), t)
	if err != nil {
		return 0, nil, err
	}
	return http.StatusCreated, issued, nil
}

func (s *server) revokeToken(q *http.Request) (int, any, error) {
	id := q.PathValue("name")
	err := s.Credentials.RevokeToken(q.Context(), id)
	if notFound(err) {
		return 0, nil, refuse(http.StatusNotFound, "there is no token %s: hauberk token list has their ids", id)
	}
	if err != nil {
		return 0, nil, err
	}
	return http.StatusOK, map[string]string{"id": id, "state": "revoked"}, nil
}

func (s *server) revokeIdentity(q *http.Request) (int, any, error) {
	var r IdentityRevocation
	if err := strictJSON(q, &r); err != nil {
		return 0, nil, err
	}
	if r.Mesh == "" {
		r.Mesh = api.DefaultMesh
	}
	if err := api.CheckSPIFFEID(r.SpiffeID); err != nil {
		return 0, nil, refuse(http.StatusBadRequest, "spiffeID: %v", err)
	}
	if err := s.meshExists(q.Context(), r.Mesh); err != nil {
		return 0, nil, err
	}
	if err := s.Credentials.RevokeIdentity(q.Context(), r.Mesh, r.SpiffeID); err != nil {
		return 0, nil, err
	}
	return http.StatusOK, r, nil
}

func strictJSON(q *http.Request, into any) error {
	d := json.NewDecoder(q.Body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		var tooLarge *http.MaxBytesError
		if errors.As(err, &tooLarge) {
			return err
		}
		return refuse(http.StatusBadRequest, "the body is not the JSON that is expected here: %v", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return refuse(http.StatusBadRequest, "the body has more after its JSON object")
	}
	return nil
}
