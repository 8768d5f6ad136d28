package resource

import (
	"strings"
	"testing"
)

func TestSPIFFEIDOf(t *testing.T) {
	template := func(domain, path string) *MeshIdentity {
		return &MeshIdentity{SpiffeID: &SpiffeIDTemplate{TrustDomain: domain, Path: path}}
	}
	for name, c := range map[string]struct {
		identity *MeshIdentity
		workload string
		want     string
		wantErr  string
	}{
		"nil has the defaults": {nil, "cart", "spiffe://m.z.mesh.local/workload/cart", ""},
		"own templates":        {template("example.org", "/{{.Zone}}/{{  .Mesh }}/{{ .Workload }}"), "cart", "spiffe://example.org/z/m/cart", ""},
		"unknown word":         {template("", "/{{ .Pod }}"), "cart", "", "{{ .Pod }}"},
		"a function":           {template("", "/{{ print .Mesh }}"), "cart", "", "{{ print .Mesh }}"},
		"workload in domain":   {template("{{ .Workload }}.org", ""), "cart", "", "{{ .Workload }}"},
		"open action":          {template("", "/{{ .Mesh"), "cart", "", "is not closed"},
		"upper-case domain":    {template("Example.org", ""), "cart", "", "lower-case"},
		"no slash":             {template("", "x"), "cart", "", "begin with a slash"},
		"slash in workload":    {nil, "a/b", "", "slash"},
		"dots":                 {nil, "..", "", "segment"},
		"percent":              {nil, "a%2Fb", "", "in its path"},
		"empty workload":       {nil, "", "", "segment"},
		"too long":             {nil, strings.Repeat("a", 2048), "", "2048"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.identity.SPIFFEIDOf("m", "z", c.workload)
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
			if c.wantErr == "" && err != nil || c.wantErr != "" && (err == nil || !strings.Contains(err.Error(), c.wantErr)) {
				t.Errorf("error %v, want %q", err, c.wantErr)
			}
		})
	}
}
