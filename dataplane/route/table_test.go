package route

import "testing"

func TestMatch(t *testing.T) {
	table := NewTable([]*Route{{Name: "admin", PathPrefix: "/admin"}, {Name: "api", PathPrefix: "/api/"}, {Name: "long", PathPrefix: "/admin/x"}, {Name: "root", PathPrefix: "/"}})
	for path, want := range map[string]string{
		"/admin": "admin", "/admin/": "admin", "/admin/x": "admin", "/administrator": "root", "/api": "api", "/api/v1": "api", "/apis": "root",
		"/": "root", "/x": "root", "*": "root",
	} {
		if got := table.Match(path).Name; got != want {
			t.Errorf("%s: %s, want %s", path, got, want)
		}
	}
	if NewTable([]*Route{{PathPrefix: "/a"}}).Match("/b") != nil || (*Table)(nil).Match("/") != nil || NewTable([]*Route{{PathPrefix: "/a"}}).Match("*") != nil {
		t.Error("matched")
	}
}
