package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Encode is the form in which resources are stored and sent: JSON on one line, labels sorted.
func (r *Registry) Encode(res *Resource) ([]byte, error) {
	if _, known := r.Kind(res.Kind); !known {
		return nil, fmt.Errorf("kind %q is unknown to this build", res.Kind)
	}
	out := *res
	if out.APIVersion == "" {
		out.APIVersion = APIVersion
	}
	b, err := json.Marshal(&out)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", res.Key(), err)
	}
	return b, nil
}

// DecodeJSON reads what Encode wrote. It validates nothing, since what it reads was valid when it was written, but it
// refuses unknown fields: a store that a newer build has written must not lose them when this one writes it back.
func (r *Registry) DecodeJSON(data []byte) (*Resource, error) {
	var raw struct {
		APIVersion string          `json:"apiVersion"`
		Kind       string          `json:"kind"`
		Metadata   Meta            `json:"metadata"`
		Spec       json.RawMessage `json:"spec"`
	}
	if err := decodeStrict(data, &raw); err != nil {
		return nil, fmt.Errorf("resource: %w", err)
	}
	res := &Resource{APIVersion: raw.APIVersion, Kind: raw.Kind, Metadata: raw.Metadata}
	k, known := r.Kind(raw.Kind)
	if !known {
		return nil, fmt.Errorf("kind %q is unknown to this build", raw.Kind)
	}
	res.Spec = k.New()
	if len(raw.Spec) == 0 {
		return res, nil
	}
	if err := decodeStrict(raw.Spec, res.Spec); err != nil {
		return nil, fmt.Errorf("%s: spec: %w", res.Key(), err)
	}
	return res, nil
}

func decodeStrict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("has more than one JSON value")
	}
	return nil
}
