package telemetry

import (
	"os"
	"strings"
	"testing"
)

// Every operator and header is in the reference that errors point to.
func TestOperatorsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/access-log.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range operators {
		name = strings.TrimSuffix(name, "_WITHOUT_PORT") // said once for all of them
		if !strings.Contains(string(doc), "%"+name) {
			t.Errorf("%%%s%% is not in docs/access-log.md", name)
		}
	}
	for _, headers := range []map[string]*operator{requestHeaders, responseHeaders} {
		for name := range headers {
			if !strings.Contains(string(doc), name) {
				t.Errorf("header %s is not in docs/access-log.md", name)
			}
		}
	}
}
