package api

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Duration is a time.Duration that users write as Go and the Gateway API do: 500ms, 10s, 1h30m; 0s is off where a field says so.
type Duration struct {
	time.Duration
}

// UnmarshalJSON takes a string. A bare number is refused, since nobody can tell its unit.
func (d *Duration) UnmarshalJSON(b []byte) error {
	var s string
	if err := json.Unmarshal(b, &s); err != nil {
		return fmt.Errorf("is not a duration: write it with a unit, as 500ms, 10s, 5m or 1h")
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration: write it with a unit, as 500ms, 10s, 5m or 1h", s)
	}
	if v < 0 {
		return fmt.Errorf("%q is negative: write 0s or more", s)
	}
	d.Duration = v
	return nil
}

// MarshalJSON writes what UnmarshalJSON reads.
func (d Duration) MarshalJSON() ([]byte, error) { return json.Marshal(d.Short()) }

// Short is the form that a person writes: 1h, not 1h0m0s.
func (d Duration) Short() string {
	s := d.Duration.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
