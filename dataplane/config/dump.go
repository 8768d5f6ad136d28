package config

import (
	"encoding/json"
	"fmt"

	"google.golang.org/protobuf/encoding/protojson"
)

// Dump is the messages of a Graph as JSON, by type URL and name, as they came, without what is secret.
func (g *Graph) Dump() (map[string]map[string]json.RawMessage, error) {
	out := map[string]map[string]json.RawMessage{}
	for typeURL, byName := range g.Resources {
		out[typeURL] = map[string]json.RawMessage{}
		for name, a := range byName {
			m, err := a.UnmarshalNew()
			if err != nil {
				return nil, fmt.Errorf("%s %q: %w", typeURL, name, err)
			}
			text, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
			if err != nil {
				return nil, fmt.Errorf("%s %q: %w", typeURL, name, err)
			}
			var tree any
			if err := json.Unmarshal(text, &tree); err != nil {
				return nil, fmt.Errorf("%s %q: %w", typeURL, name, err)
			}
			clean, err := json.Marshal(redact(tree)) // which also takes out protojson's random white space
			if err != nil {
				return nil, fmt.Errorf("%s %q: %w", typeURL, name, err)
			}
			out[typeURL][name] = clean
		}
	}
	return out, nil
}

const redacted = "[redacted]"

// redact hides the members that Envoy marks as sensitive. The table lets none of them in; this is the second lock.
func redact(tree any) any {
	switch tree := tree.(type) {
	case []any:
		for i := range tree {
			tree[i] = redact(tree[i])
		}
	case map[string]any:
		for k, v := range tree {
			switch k {
			case "private_key", "password", "pkcs12", "session_ticket_keys", "generic_secret":
				tree[k] = redacted
			default:
				tree[k] = redact(v)
			}
		}
	}
	return tree
}
