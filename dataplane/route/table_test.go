package route

import (
	"testing"

	"github.com/hauberk-mesh/hauberk/dataplane/http/message"
)

func at(path string) *message.Request { return &message.Request{Path: path} }

func TestMatch(t *testing.T) {
	table := NewTable([]*Route{{Name: "admin", PathPrefix: "/admin"}, {Name: "api", PathPrefix: "/api/"}, {Name: "long", PathPrefix: "/admin/x"}, {Name: "root", PathPrefix: "/"}})
	for path, want := range map[string]string{
		"/admin": "admin", "/admin/": "admin", "/admin/x": "admin", "/administrator": "root", "/api": "api", "/api/v1": "api", "/apis": "root",
		"/": "root", "/x": "root", "*": "root",
	} {
		if got := table.Match(at(path)).Name; got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if NewTable([]*Route{{PathPrefix: "/a"}}).Match(at("/b")) != nil || (*Table)(nil).Match(at("/")) != nil || NewTable([]*Route{{PathPrefix: "/a"}}).Match(at("*")) != nil {
		t.Error("matched")
	}
}
